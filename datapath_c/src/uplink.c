// SPDX-License-Identifier: Apache-2.0
// uplink.c - plain frames from the Internet gateway.
//
//   in:   rx (uplink) -> [parse_uplink] -> parse_inner
//
// Two kinds of address are ours here: the secondary addresses that the cloud maps Elastic IPs to,
// and segments marked `routed`. Each names its VRF. The primary address is the kernel's.

#include "answer.h"
#include "dp.h"

// Before   p->off at the Ethernet header (a looped packet: at the IP header)
// After    p->vrf set, p->off at the IP header
// Drops    FRAME_*, MAC_NOT_OURS, ETHERTYPE, IP_BAD, NOT_OWNED, ARP_*
static inline enum pcgdp_verdict parse_one(const struct worker *w, struct pkt *p)
{
	struct reader r = pkt_read(p);
	const struct eth_hdr *eh;

	if (!(p->flags & PF_LOOPED)) {
		eh = pull(&r, ETH_HLEN_);
		if (!eh)
			return drop(p, R_FRAME_SHORT);
		if (p->flags & PF_TRUNCATED)
			return drop(p, R_FRAME_TRUNCATED);
		if (eh->type == htons(ETYPE_ARP))
			return arp_uplink(w, p, &r);
		if (memcmp(eh->dst, w->dp->nics[PCGDP_UPLINK].mac, 6))
			return drop(p, R_MAC_NOT_OURS);
		if (eh->type != htons(ETYPE_IPV4))
			return drop(p, R_ETHERTYPE);
	}
	pkt_read_to(p, &r);
	if (!pull(&r, IP_HLEN)) // looked at; pulled for good by parse_inner
		return drop(p, R_IP_BAD);
	p->flags |= PF_UPLINK;
	if (!uplink_owner(w->cfg, ((struct ip_hdr *)(p->data + p->off))->dst, &p->vrf))
		return drop(p, R_NOT_OWNED);
	return PCGDP_NEXT;
}

void parse_uplink(struct worker *w, struct burst *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		settle_one(b, &b->pkt[i], b->pkt[i].flags & PF_PARSED ? PCGDP_NEXT : parse_one(w, &b->pkt[i]));
	burst_settle(w, b, STAGE_parse_uplink);
}
