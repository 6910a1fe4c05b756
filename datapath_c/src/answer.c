// SPDX-License-Identifier: Apache-2.0
// answer.c - ARP and ping for segment gateways, ARP for secondary addresses. The packet itself is
// turned round, so it is counted as received and sent, not as made.

#include "answer.h"

#include "csum.h"
#include "dp.h"

static struct arp_hdr *arp_request(struct reader *r)
{
	struct arp_hdr *ar = pull(r, sizeof(*ar));
	bool whole = ar && ar->hw == htons(1) && ar->proto == htons(ETYPE_IPV4) && ar->hw_len == 6 && ar->proto_len == 4;

	return whole ? ar : NULL;
}

static void arp_turn(struct arp_hdr *ar, const uint8_t *mac)
{
	be32 asked = ar->tpa;

	ar->op = htons(2);
	memcpy(ar->tha, ar->sha, 6);
	ar->tpa = ar->spa;
	memcpy(ar->sha, mac, 6);
	ar->spa = asked;
}

// From a workload: answered for its segment's gateway only. Other workloads are answered for by
// their own host from the controller's table, so nothing is flooded and nothing is learnt.
enum pcgdp_verdict arp_overlay(const struct worker *w, struct pkt *p, struct reader *r)
{
	const struct pcgdp_segments *seg = &p->segment->rec;
	struct arp_hdr *ar = arp_request(r);
	const struct pcgdp_ports *from;
	uint32_t port;

	if (!ar)
		return drop(p, R_ARP_BAD);
	if (!ar->spa) // RFC 5227 section 1.1: whoever asks before it has an address claims none
		return drop(p, R_ARP_NOT_OURS);
	port = port_find(&w->dp->arena, p->vrf, ar->spa);
	if (port == NONE)
		return drop(p, R_SOURCE_SPOOFED);
	from = &w->dp->arena.ports[port].rec;
	if (from->tep_be != p->outer_src || from->vni != p->vni || memcmp(from->mac, ar->sha, 6))
		return drop(p, R_SOURCE_SPOOFED);
	if (ar->op != htons(1) || seg->kind != PCGDP_SEGMENT || ar->tpa != seg->gateway_be)
		return drop(p, R_ARP_NOT_OURS);
	pkt_read_to(p, r);
	p->l3 = (uint16_t)(p->off - sizeof(*ar));
	p->ip_len = sizeof(*ar);
	p->len = p->off;
	arp_turn(ar, seg->gateway_mac);
	p->slot = port_slot(port);
	p->flags |= PF_ANSWER | PF_ARP;
	return PCGDP_NEXT;
}

// From the uplink: the kernel does not know the secondary addresses, so it stays silent.
enum pcgdp_verdict arp_uplink(const struct worker *w, struct pkt *p, struct reader *r)
{
	const uint8_t *mac = w->dp->nics[PCGDP_UPLINK].mac;
	struct eth_hdr *eh = (struct eth_hdr *)p->data;
	struct arp_hdr *ar = arp_request(r);

	if (!ar)
		return drop(p, R_ARP_BAD);
	if (ar->op != htons(1) || !public_of_secondary(w->cfg, ar->tpa))
		return drop(p, R_ARP_NOT_OURS);
	arp_turn(ar, mac);
	memcpy(eh->dst, eh->src, 6);
	memcpy(eh->src, mac, 6);
	pkt_read_to(p, r);
	p->len = p->off;
	p->slot = SLOT_RAW;
	p->flags |= PF_ANSWER | PF_ARP;
	return PCGDP_NEXT;
}

// To the address of a segment's gateway: ping is answered (RFC 792), nothing else is served there.
enum pcgdp_verdict gateway_addressed(const struct worker *w, struct pkt *p, uint32_t port)
{
	struct ip_hdr *ip = pkt_ip(p);
	struct icmp_hdr *ic = (struct icmp_hdr *)((uint8_t *)ip + IP_HLEN);
	be32 src = ip->src;

	(void)w;
	if (p->proto != IPP_ICMP || p->flags & PF_ICMP_ERROR || ic->type != ICMP_ECHO)
		return drop(p, R_GATEWAY_ADDRESSED);
	ic->type = ICMP_ECHO_REPLY;
	ic->csum = csum_apply(ic->csum, delta16(htons(ICMP_ECHO << 8), 0));
	ip->src = ip->dst;
	ip->dst = src;
	ip->ttl = 64;
	ip->csum = 0;
	ip->csum = (uint16_t)~csum_ip_words(ip);
	p->slot = port_slot(port);
	p->flags |= PF_ANSWER;
	return PCGDP_NEXT;
}
