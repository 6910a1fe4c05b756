// SPDX-License-Identifier: Apache-2.0
// egress.c - the header in front, and out.
//
//   in:   rewrite -> [egress] -> tx
//
// The adjacency's template ends where the IPv4 header begins, so it is copied backwards from
// there with constant length; what is older in front of it is overwritten. Only lengths, TOS,
// source port and checksums differ from packet to packet.
//
// Whatever was decided before, no overlay source leaves by the uplink but by a NO_SNAT rule or from a
// `routed` segment: it is asked here, of the policy itself. Packets that pass the stages by (plain.c)
// need not ask again. What their session makes of a source never changes, and of each session the
// first packet from its workload came through here. After a change that concerns it, it is decided again
// by the policy in force, which yields no session that sends anything else out; until that has been done,
// those packets are asked the same, one by one.

#include "answer.h"
#include "dp.h"
#include "rewrite.h"

static inline uint64_t inner_sum(const struct pkt *p, const struct ip_hdr *ip)
{
	if (UNLIKELY(p->flags & (PF_ARP | PF_HAS_UDP_SUM0)))
		return csum_add_bytes(0, (const uint8_t *)ip, p->ip_len);
	return p->proto == IPP_ICMP ? 0 : sum_by_headers(ip, p->ip_len); // ICMP has no pseudo header
}

static inline void put_tunnel(const struct pkt *p, const struct adj *a, uint8_t *ip)
{
	uint64_t sum = inner_sum(p, (const void *)ip);
	bool arp = p->flags & PF_ARP;

	if (UNLIKELY(arp))
		sum += delta16(htons(ETYPE_IPV4), htons(ETYPE_ARP));
	put_tunnel_header(a, ip, p->ip_len, arp ? 0 : ip[1], p->hash, sum);
	if (UNLIKELY(arp))
		wr16(ip - 2, htons(ETYPE_ARP));
}

// An Elastic IP of ours as destination: the packet would go to the Internet gateway and come back
// with its source made the sender's Elastic IP and its destination the secondary address. That is
// done here, and the packet enters the uplink's path once.
static enum pcgdp_verdict hairpin(struct worker *w, struct pkt *p)
{
	struct ip_hdr *ip = pkt_ip(p);
	const struct public_address *from = public_of_secondary(w->cfg, ip->src), *to = public_of_elastic(w->cfg, ip->dst);
	uint32_t at = p->proto == IPP_TCP ? 16 : 6;
	uint8_t *l4 = (uint8_t *)ip + IP_HLEN;
	uint16_t delta = 0;
	struct pkt *l;

	// A burst turns round no more than itself: of each packet itself, or what is said about it.
	if (p->flags & PF_LOOPED || !to || w->loop.n == BURST)
		return drop(p, R_HAIRPIN_LOOP);
	if (p->flags & PF_ICMP_ERROR) // what it quotes went the other way (RFC 5508 REQ-7)
		icmp_error_quote(p, to->rec.secondary_be, from ? from->rec.address_be : ip->src);
	if (from) {
		delta = delta32(ip->src, from->rec.address_be);
		ip->src = from->rec.address_be;
	}
	delta = delta_add(delta, delta32(ip->dst, to->rec.secondary_be));
	ip->dst = to->rec.secondary_be;
	ip->csum = csum_apply(ip->csum, delta);
	if (p->proto == IPP_TCP || (p->proto == IPP_UDP && rd16(l4 + at))) {
		uint16_t sum = csum_apply(rd16(l4 + at), delta);

		wr16(l4 + at, sum || p->proto == IPP_TCP ? sum : 0xffff); // RFC 768: zero says there is none
	}
	l = &w->loop.pkt[w->loop.n++];
	*l = *p;
	l->off = p->l3;
	l->flags = PF_LOOPED | (p->flags & (PF_TRUNCATED | PF_WHOLE | PF_TOLD));
	l->segment = NULL;
	l->entry = NULL;
	l->number = NONE;
	l->slot = 0;
	l->told = 0;
	l->ecn = 0; // of the tunnel, whose congestion the packet bears already; of pieces it is the last one's
	l->outer_src = 0;
	return PCGDP_LOOPED;
}

static inline enum pcgdp_verdict leave_by(struct worker *w, struct pkt *p, const struct adj *a)
{
	uint8_t *ip = p->data + p->l3;

	if (UNLIKELY(!a->resolved))
		return drop(p, R_NEIGHBOUR_UNRESOLVED);
	if (UNLIKELY(!w->dp->nics[a->role].ops))
		return drop(p, R_EGRESS_NO_PORT);
	if (a->kind == ADJ_PLAIN && UNLIKELY(!source_may_leave(w->cfg, &p->key, ((struct ip_hdr *)ip)->src)))
		return drop(p, R_EGRESS_SOURCE);
	if (UNLIKELY(p->ip_len > a->mtu) && !(p->flags & PF_ARP))
		return fragment_out(w, p, a);
	if (a->kind == ADJ_PLAIN) {
		put_plain_header(a, ip);
	} else {
		put_tunnel(p, a, ip);
		BUMP(&w->seg[a->counter].out_packets, 1);
		BUMP(&w->seg[a->counter].out_bytes, p->ip_len);
	}
	p->data = ip - a->len;
	p->len = a->len + (uint32_t)p->ip_len;
	tx_put(w, a->role, p->data, p->len);
	return PCGDP_SENT;
}

// Before   the packet at p->l3 is final, p->slot says where to
// After    sent, or turned round inside
// Drops    PORT_UNKNOWN, NEIGHBOUR_UNRESOLVED, EGRESS_SOURCE, EGRESS_NO_PORT, HAIRPIN_*, TOO_BIG (an answer of ours)
static inline enum pcgdp_verdict leave_one(struct worker *w, struct pkt *p)
{
	const struct adj_table *t = &w->dp->arena.adjs;
	struct slot s;

	if (UNLIKELY(p->slot >= t->n_slots)) {
		if (p->slot != SLOT_RAW)
			return hairpin(w, p);
		tx_put(w, p->nic, p->data, p->len);
		return PCGDP_SENT;
	}
	s = slot_get(t, p->slot);
	if (UNLIKELY(!s.adj)) // removed, and no sweep has been since
		return drop(p, p->slot < nexthop_slot(&w->dp->arena, 0) ? R_PORT_UNKNOWN : R_NEIGHBOUR_UNRESOLVED);
	return leave_by(w, p, &t->adj[s.adj]);
}

enum pcgdp_verdict egress_by(struct worker *w, struct pkt *p, const struct adj *a)
{
	return leave_by(w, p, a);
}

enum pcgdp_verdict egress_one(struct worker *w, struct pkt *p)
{
	return leave_one(w, p);
}

void egress(struct worker *w, struct burst *b)
{
	for (uint32_t i = 0; i < b->n; i++) {
		struct pkt *p = &b->pkt[i];

		p->verdict = (uint8_t)leave_one(w, p);
		b->ended += p->verdict != PCGDP_SENT; // nothing goes on from here: only these are settled
	}
	burst_settle(w, b, STAGE_egress);
}
