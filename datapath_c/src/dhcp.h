// SPDX-License-Identifier: Apache-2.0
// dhcp.h - DHCP of workloads: who may ask, what goes on to the relay; see dhcp.c.
#pragma once

#include "worker.h"

enum { DHCP_SERVER_PORT = 67, DHCP_CLIENT_PORT = 68 };

// To everybody, or to its segment's gateway: only such may be DHCP for us.
INLINE bool dhcp_may_be(const struct pkt *p, const struct ip_hdr *ip)
{
	return ip->proto == IPP_UDP && (ip->dst == 0xffffffff || (ip->dst == p->segment->rec.gateway_be && p->segment->rec.kind == PCGDP_SEGMENT));
}

// Does a sender of such a packet act as a DHCP server, or as a relay?
INLINE bool dhcp_from_server(const union key *k)
{
	return (uint8_t)k->domain_proto == IPP_UDP && (k->sport == htons(DHCP_SERVER_PORT) || k->dport == htons(DHCP_CLIENT_PORT));
}

// Before   dhcp_may_be(); p->l3, p->ip_len set, the inner Ethernet header right before p->l3
// After    NEXT: it is no DHCP; HELD: a fragment
// Punts    a request in order, of a known port, within its rates
// Drops    DHCP_*, PUNT_*, IP_MARTIAN, SOURCE_SPOOFED; of a fragment FRAGMENT*
enum pcgdp_verdict dhcp_one(struct worker *w, struct pkt *p);
