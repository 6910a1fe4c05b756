// SPDX-License-Identifier: Apache-2.0
// outer.c - the underlay's headers around a tunnel packet.
//
//   in:   rx (downlink) -> [parse_outer] -> geneve_decap
//
// The port's filter has passed only UDP 6081 to our TEP, but a filter is installed while frames
// are under way, so everything is checked again here, once.

#include "csum.h"
#include "dp.h"
#include "path_mtu.h"
#include "plain.h"
#include "reassemble.h"

// RFC 8926 section 4.3: zero is allowed over IPv4; any other sum is verified or the packet dropped.
// The port may have done so already (a NIC that verifies). What is wrong only in a payload that a
// checksum of its own covers goes on, as it does by plain.c: its receiver drops it.
static bool udp_sum_wrong(const struct worker *w, const struct pkt *p, const struct udp_hdr *uh, uint16_t udp_len)
{
	const struct ip_hdr *ip = (const void *)(p->data + ETH_HLEN_);

	if (!uh->csum || p->flags & (PF_CSUM_OK | PF_CSUM_PARTIAL))
		return false;
	if (LIKELY(csum_fold(csum_add_bytes(csum_pseudo(ip->src, ip->dst, IPP_UDP, udp_len), (const uint8_t *)uh, udp_len)) == 0xffff))
		return false;
	return !plain_tunnel(w, p->data, p->len);
}

static enum pcgdp_verdict parse_one(struct worker *w, struct pkt *p);

// The underlay cut a tunnel packet (RFC 8926 section 4.1.1 wants it not to). Only known TEPs may
// fill our memory. The whole is parsed as if it had come so.
static enum pcgdp_verdict fragment_of_tunnel(struct worker *w, struct pkt *p, const struct ip_hdr *ip)
{
	enum pcgdp_verdict v;

	p->outer_src = ip->src;
	if (tep_find(&w->dp->arena, ip->src) == NONE)
		return drop(p, R_TEP_UNKNOWN);
	p->l3 = ETH_HLEN_;
	p->ip_len = ntohs(ip->len);
	v = reassemble(w, p, FRAGMENT_OUTER, 0);
	if (v != PCGDP_NEXT)
		return v;
	p->flags &= (uint16_t)~PF_WHOLE; // that is for the packet inside to be
	return parse_one(w, p);
}

// Before   p->off at the Ethernet header
// After    p->off at the Geneve header, p->len cut to the IP length, p->outer_src set
// Punts    ICMP that tells of a path MTU
// Drops    FRAME_*, MAC_NOT_OURS, ETHERTYPE, OUTER_*, TEP_UNKNOWN (a fragment), FRAGMENT*
static enum pcgdp_verdict parse_one(struct worker *w, struct pkt *p)
{
	struct reader r = pkt_read(p);
	const struct eth_hdr *eh = pull(&r, ETH_HLEN_);
	const struct ip_hdr *ip;
	const struct udp_hdr *uh;
	uint32_t ip_len, ihl, udp_len;

	if (!eh)
		return drop(p, R_FRAME_SHORT);
	if (p->flags & PF_TRUNCATED)
		return drop(p, R_FRAME_TRUNCATED);
	if (memcmp(eh->dst, w->dp->nics[PCGDP_DOWNLINK].mac, 6))
		return drop(p, R_MAC_NOT_OURS);
	if (eh->type != htons(ETYPE_IPV4))
		return drop(p, R_ETHERTYPE);

	ip = pull(&r, IP_HLEN);
	if (!ip || ip->ver_ihl >> 4 != 4 || (ip->ver_ihl & 15) < 5)
		return drop(p, R_OUTER_IP_BAD);
	ihl = (ip->ver_ihl & 15u) * 4;
	ip_len = ntohs(ip->len);
	if (ip_len < ihl + UDP_HLEN || ETH_HLEN_ + ip_len > p->len || !pull(&r, ihl - IP_HLEN))
		return drop(p, R_OUTER_IP_BAD);
	if ((LIKELY(ihl == IP_HLEN) ? csum_ip_words(ip) : csum_fold(csum_add_bytes(0, (const uint8_t *)ip, ihl))) != 0xffff)
		return drop(p, R_OUTER_IP_CHECKSUM);
	p->len = ETH_HLEN_ + ip_len; // what follows is Ethernet padding
	r.end = p->data + p->len;
	if (UNLIKELY(ip->proto == IPP_ICMP) && ip->dst == w->cfg->local.tep_be && !(ntohs(ip->frag) & (IP_MF | IP_OFFSET)))
		return path_mtu_told(w, p, ip, ihl);
	if (ip->dst != w->cfg->local.tep_be || ip->proto != IPP_UDP)
		return drop(p, R_OUTER_NOT_TUNNEL);
	if (UNLIKELY(ntohs(ip->frag) & (IP_MF | IP_OFFSET)))
		return fragment_of_tunnel(w, p, ip);

	uh = pull(&r, UDP_HLEN);
	udp_len = ip_len - ihl;
	if (!uh || ntohs(uh->len) != udp_len)
		return drop(p, R_OUTER_UDP_LENGTH);
	if (uh->dport != htons(GENEVE_PORT))
		return drop(p, R_OUTER_NOT_TUNNEL);
	if (udp_sum_wrong(w, p, uh, (uint16_t)udp_len))
		return drop(p, R_OUTER_UDP_CHECKSUM);
	p->outer_src = ip->src;
	p->ecn = ip->tos & ECN_MASK;
	pkt_read_to(p, &r);
	return PCGDP_NEXT;
}

void parse_outer(struct worker *w, struct burst *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		settle_one(b, &b->pkt[i], b->pkt[i].flags & PF_PARSED ? PCGDP_NEXT : parse_one(w, &b->pkt[i]));
	burst_settle(w, b, STAGE_parse_outer);
}
