// SPDX-License-Identifier: Apache-2.0
// inner.c - the packet that is to be forwarded: is it whole, and which session does it ask for.
//
//   in:   geneve_decap | parse_uplink -> [parse_inner] -> session_lookup

#include "answer.h"
#include "csum.h"
#include "dhcp.h"
#include "dp.h"
#include "install.h"
#include "reassemble.h"

// RFC 6040 section 4.2: what the underlay said about congestion must reach the receiver, who can
// be told only if it speaks ECN.
static enum pcgdp_verdict ecn_merge(struct pkt *p, struct ip_hdr *ip)
{
	uint16_t before = rd16(ip);
	uint8_t inner = ip->tos & ECN_MASK;

	if (p->ecn == ECN_CE && !inner)
		return drop(p, R_ECN_CONGESTED);
	if (p->ecn == ECN_ECT1 && inner != ECN_ECT0)
		return PCGDP_NEXT;
	ip->tos = (uint8_t)((ip->tos & ~ECN_MASK) | p->ecn);
	ip->csum = csum_apply(ip->csum, delta16(before, rd16(ip)));
	return PCGDP_NEXT;
}

static inline enum pcgdp_verdict parse_icmp(struct pkt *p, const struct icmp_hdr *ic, uint32_t domain)
{
	switch (ic->type) {
	case ICMP_ECHO:
	case ICMP_ECHO_REPLY:
		p->key.sport = p->key.dport = ic->id;
		return PCGDP_NEXT;
	case ICMP_UNREACH:
	case ICMP_TIME:
	case ICMP_PARAM:
		p->flags |= PF_ICMP_ERROR;
		if (!icmp_error_key(p, domain, &p->key))
			return drop(p, R_L4_SHORT);
		// an error goes to whoever sent what it quotes (RFC 1812 section 4.3.2); to any other
		// address it would ride on a session that has nothing to do with it
		return pkt_ip(p)->dst == p->key.dst ? PCGDP_NEXT : drop(p, R_ICMP_NO_SESSION);
	default:
		return drop(p, R_ICMP_UNSUPPORTED);
	}
}

static inline enum pcgdp_verdict parse_l4(struct pkt *p, const struct ip_hdr *ip, uint32_t domain)
{
	uint32_t l4_len = p->ip_len - IP_HLEN;
	const uint8_t *l4 = p->data + p->l3 + IP_HLEN;

	switch (ip->proto) {
	case IPP_TCP: {
		const struct tcp_hdr *th = (const void *)l4;

		if (l4_len < sizeof(*th) || (th->off >> 4) < 5 || (th->off >> 4) * 4u > l4_len)
			return drop(p, R_L4_SHORT);
		p->tcp_flags = th->flags;
		break;
	}
	case IPP_UDP: {
		const struct udp_hdr *uh = (const void *)l4;
		uint32_t udp_len = l4_len < UDP_HLEN ? 0 : ntohs(uh->len);

		if (udp_len < UDP_HLEN || udp_len > l4_len)
			return drop(p, R_L4_SHORT);
		if (!uh->csum || udp_len != l4_len) // no sum, or bytes behind that it does not cover
			p->flags |= PF_HAS_UDP_SUM0;
		break;
	}
	case IPP_ICMP:
		if (l4_len < sizeof(struct icmp_hdr))
			return drop(p, R_L4_SHORT);
		return parse_icmp(p, (const void *)l4, domain);
	default:
		p->flags |= PF_HAS_UDP_SUM0;
		return PCGDP_NEXT;
	}
	memcpy(&p->key.sport, l4, 4); // both ports
	return PCGDP_NEXT;
}

// A local sender (a container on the gateway's peer, a hypervisor) may leave the sum unfinished.
static void finish_csum(const struct pkt *p, const struct ip_hdr *ip)
{
	uint8_t *l4 = p->data + p->l3 + IP_HLEN;
	uint32_t n = p->ip_len - IP_HLEN, at = ip->proto == IPP_TCP ? 16 : 6;
	uint16_t sum;

	if (ip->proto != IPP_TCP && ip->proto != IPP_UDP)
		return;
	wr16(l4 + at, 0);
	sum = (uint16_t)~csum_fold(csum_add_bytes(csum_pseudo(ip->src, ip->dst, ip->proto, (uint16_t)n), l4, n));
	wr16(l4 + at, sum ? sum : 0xffff);
}

// Where no cloud stands between, an Elastic IP is its own secondary address. Two workloads behind it
// speak to each other by it, and each is to see it as the other's (RFC 4787 REQ-9).
static inline bool hairpin_by_one_address(const struct pkt *p, const struct ip_hdr *ip)
{
	return p->flags & PF_LOOPED && ip->src == ip->dst && !martian_alone(ip->src);
}

// RFC 2827 section 4: nobody outside sends from an address of ours. Neither a rule that names it nor a session
// that was turned round inside is for whoever says so.
static inline bool forged(const struct worker *w, const struct pkt *p, be32 src)
{
	return stranger(p) && never_by_uplink(w->cfg, p->vrf, src);
}

// Of a tunnel only pieces whose source may send them are kept: the same is asked of the whole.
static enum pcgdp_verdict fragment_of_packet(struct worker *w, struct pkt *p, uint32_t domain)
{
	uint32_t port;

	p->flags |= PF_COUNTED; // also when another worker reads it again
	if (p->flags & PF_UPLINK)
		return reassemble(w, p, FRAGMENT_UPLINK, domain);
	port = port_find(&w->dp->arena, p->vrf, p->key.src);
	if (port == NONE || !source_ok(&w->dp->arena, p, port))
		return drop(p, R_SOURCE_SPOOFED);
	return reassemble(w, p, FRAGMENT_INNER, domain);
}

// Before   overlay: p->off at the inner Ethernet header; uplink: at the IP header
// After    p->l3, p->ip_len, p->key, p->hash set; p->len cut to the IP length
// Punts    DHCP
// Drops    MAC_NOT_OURS, ETHERTYPE, ARP_*, IP_*, LAND, UPLINK_SPOOFED, L4_SHORT, ICMP_UNSUPPORTED, DHCP_*, PUNT_*;
//          of a fragment SOURCE_SPOOFED, FRAGMENT*
static inline enum pcgdp_verdict parse_one(struct worker *w, struct pkt *p)
{
	struct reader r = pkt_read(p);
	struct ip_hdr *ip;
	enum pcgdp_verdict v;
	bool broadcast = false;

	if (!(p->flags & PF_UPLINK)) {
		const struct eth_hdr *eh = pull(&r, ETH_HLEN_);

		if (!eh)
			return drop(p, R_FRAME_SHORT);
		if (eh->type == htons(ETYPE_ARP))
			return arp_overlay(w, p, &r);
		if (eh->type != htons(ETYPE_IPV4))
			return drop(p, R_ETHERTYPE);
		// broadcast passes here only to be named for what it is (DHCP, martian)
		broadcast = eh->dst[0] & 1;
		if (memcmp(eh->dst, p->segment->rec.gateway_mac, 6) && !broadcast)
			return drop(p, R_MAC_NOT_OURS);
	}
	pkt_read_to(p, &r);
	p->l3 = p->off;
	ip = pull(&r, IP_HLEN);
	if (!ip)
		return drop(p, R_IP_BAD);
	if (ip->ver_ihl != 0x45)
		return drop(p, ip->ver_ihl >> 4 == 4 && (ip->ver_ihl & 15) > 5 ? R_IP_OPTIONS : R_IP_BAD);
	p->ip_len = ntohs(ip->len);
	if (p->ip_len < IP_HLEN || (uint32_t)p->l3 + p->ip_len > p->len)
		return drop(p, R_IP_BAD);
	p->len = (uint32_t)p->l3 + p->ip_len;
	if (csum_ip_words(ip) != 0xffff)
		return drop(p, R_IP_CHECKSUM);
	if (UNLIKELY(p->ecn & 1) && ecn_merge(p, ip) != PCGDP_NEXT)
		return PCGDP_DROPPED;
	if (!(p->flags & PF_UPLINK) && dhcp_may_be(p, ip)) {
		v = dhcp_one(w, p);
		if (v != PCGDP_NEXT)
			return v;
		ip = pkt_ip(p); // it may have been one of several pieces
	}
	if (martian(ip->src, ip->dst) && !hairpin_by_one_address(p, ip))
		return drop(p, martian_alone(ip->src) || martian_alone(ip->dst) ? R_IP_MARTIAN : R_LAND);
	if (broadcast) // never forwarded, nor answered by an error (RFC 1812 section 5.3.4)
		return drop(p, R_MAC_NOT_OURS);
	if (forged(w, p, ip->src)) // a fragment, too, before it is kept
		return drop(p, R_UPLINK_SPOOFED);
	p->proto = ip->proto;
	uint32_t domain = 2 * p->vrf + !!(p->flags & PF_UPLINK);

	p->key.src = ip->src;
	p->key.dst = ip->dst;
	if (UNLIKELY(ntohs(ip->frag) & (IP_MF | IP_OFFSET))) {
		v = fragment_of_packet(w, p, domain);
		if (v != PCGDP_NEXT)
			return v;
		ip = pkt_ip(p);
	}
	p->key.sport = p->key.dport = 0;
	p->key.domain_proto = domain << 8 | ip->proto;
	v = parse_l4(p, ip, domain);
	if (v != PCGDP_NEXT)
		return v;
	if (UNLIKELY((p->flags & (PF_CSUM_PARTIAL | PF_UPLINK)) == (PF_CSUM_PARTIAL | PF_UPLINK)))
		finish_csum(p, ip); // the header is whole: parse_l4() looked
	p->hash = hash_key(&w->dp->arena.head->secret, &p->key);
	PREFETCH(bucket_of(&w->dp->arena.sessions.index, p->hash));
	return PCGDP_NEXT;
}

static inline enum pcgdp_verdict inner_one(struct worker *w, struct pkt *p)
{
	if (p->flags & PF_ANSWER) // to an ARP request; the rest of the path lets it pass
		return PCGDP_NEXT;
	if (!(p->flags & PF_PARSED))
		return parse_one(w, p);
	return forged(w, p, p->key.src) ? drop(p, R_UPLINK_SPOOFED) : PCGDP_NEXT;
}

void parse_inner(struct worker *w, struct burst *b)
{
	for (uint32_t i = 0; i < b->n; i++) {
		struct pkt *p = &b->pkt[i];

		if (p->segment && !(p->flags & PF_COUNTED)) {
			struct seg_counter *c = &w->seg[p->segment->counter];

			BUMP(&c->in_packets, 1);
			BUMP(&c->in_bytes, p->len - p->off);
		}
		settle_one(b, p, inner_one(w, p));
	}
	burst_settle(w, b, STAGE_parse_inner);
}
