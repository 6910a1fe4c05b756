// SPDX-License-Identifier: Apache-2.0
// egress.c - the header in front, and out.
//
//   in:   rewrite -> [egress] -> tx
//
// The adjacency's template ends where the IPv4 header begins, so it is copied backwards from
// there with constant length; what is older in front of it is overwritten. Only lengths, TOS,
// source port and checksums differ from packet to packet.

#include "csum.h"
#include "dp.h"

// Sum of the inner packet from its headers alone: an IPv4 header with a right checksum sums to
// zero, a TCP, UDP or ICMP segment with a right one to minus its pseudo header. A wrong inner
// checksum makes the outer one wrong too, which is as it should be.
static inline uint64_t inner_sum(const struct pkt *p, const struct ip_hdr *ip)
{
	if (UNLIKELY(p->flags & (PF_ARP | PF_HAS_UDP_SUM0)))
		return csum_add_bytes(0, (const uint8_t *)ip, p->ip_len);
	if (p->proto == IPP_ICMP)
		return 0;
	// minus each word is its complement: 0xffff and 0xffffffff are zero in this arithmetic
	return (uint64_t)(uint32_t)~ip->src + (uint32_t)~ip->dst + (uint16_t)~htons(p->proto) +
		(uint16_t)~htons((uint16_t)(p->ip_len - IP_HLEN));
}

static inline void finish_tunnel(const struct pkt *p, const struct adj *a, uint8_t *ip)
{
	uint8_t *outer = ip - a->len + ETH_HLEN_, *udp = outer + IP_HLEN;
	uint16_t ip_len = htons((uint16_t)(a->len - ETH_HLEN_ + p->ip_len));
	uint16_t udp_len = htons((uint16_t)(a->len - ETH_HLEN_ - IP_HLEN + p->ip_len));
	// RFC 8926 section 3.3: the source port carries the flow's entropy for the underlay's hashing
	uint16_t sport = htons((uint16_t)(0xc000 | (p->hash >> 20 & 0x3fff)));
	uint8_t tos = p->flags & PF_ARP ? 0 : ip[1]; // RFC 6040 section 4.1, normal mode
	uint64_t sum;
	uint16_t csum;

	outer[1] = tos;
	wr16(outer + 2, ip_len);
	wr16(outer + 10, (uint16_t)~csum_fold((uint64_t)a->ip_sum + ip_len + htons(tos)));
	wr16(udp, sport);
	wr16(udp + 4, udp_len);
	if (p->flags & PF_ARP)
		wr16(ip - 2, htons(ETYPE_ARP));
	if (!a->udp_checksum)
		return;
	sum = (uint64_t)a->udp_sum + sport + 2u * udp_len + inner_sum(p, (const void *)ip);
	if (p->flags & PF_ARP)
		sum += delta16(htons(ETYPE_IPV4), htons(ETYPE_ARP));
	csum = (uint16_t)~csum_fold(sum);
	wr16(udp + 6, csum ? csum : 0xffff);
}

static void tx_put(struct worker *w, uint32_t role, const struct pkt *p)
{
	struct txq *q = &w->tx[role];

	q->frame[q->n++] = (struct frame){.data = p->data, .len = p->len};
	if (q->n == TX_MAX)
		tx_flush(w);
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

	if (p->flags & (PF_LOOPED | PF_ICMP_ERROR) || !to || w->loop.n == BURST)
		return drop(p, R_HAIRPIN_LOOP);
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
	l->flags = PF_LOOPED | (p->flags & PF_TRUNCATED);
	l->segment = NULL;
	l->entry = NULL;
	l->number = NONE;
	l->slot = 0;
	l->outer_src = 0;
	return PCGDP_LOOPED;
}

// Before   the packet at p->l3 is final, p->slot says where to
// After    sent, or turned round inside
// Drops    PORT_UNKNOWN, NEIGHBOUR_UNRESOLVED, EGRESS_NO_PORT, HAIRPIN_LOOP
static inline enum pcgdp_verdict leave_one(struct worker *w, struct pkt *p)
{
	const struct adj_table *t = &w->dp->arena.adjs;
	uint8_t *ip = p->data + p->l3;
	const struct adj *a;
	struct slot s;

	if (UNLIKELY(p->slot >= t->n_slots)) {
		if (p->slot != SLOT_RAW)
			return hairpin(w, p);
		tx_put(w, p->nic, p);
		return PCGDP_SENT;
	}
	s = slot_get(t, p->slot);
	a = &t->adj[s.adj];
	if (UNLIKELY(!s.adj)) // removed, and no sweep has been since
		return drop(p, p->slot < nexthop_slot(&w->dp->arena, 0) ? R_PORT_UNKNOWN : R_NEIGHBOUR_UNRESOLVED);
	if (UNLIKELY(!a->resolved))
		return drop(p, R_NEIGHBOUR_UNRESOLVED);
	if (UNLIKELY(!w->dp->nics[a->role].ops))
		return drop(p, R_EGRESS_NO_PORT);
	if (a->kind == ADJ_PLAIN) {
		memcpy(ip - 16, a->tmpl + ADJ_TMPL - 16, 16);
	} else {
		memcpy(ip - ADJ_TMPL, a->tmpl, ADJ_TMPL);
		finish_tunnel(p, a, ip);
		BUMP(&w->seg[a->counter].out_packets, 1);
		BUMP(&w->seg[a->counter].out_bytes, p->ip_len);
	}
	p->data = ip - a->len;
	p->len = a->len + (uint32_t)p->ip_len;
	tx_put(w, a->role, p);
	return PCGDP_SENT;
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
