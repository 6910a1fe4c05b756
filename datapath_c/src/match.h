// SPDX-License-Identifier: Apache-2.0
// match.h - does a rule's match fit a packet's addresses, protocol and ports.
#pragma once

#include "hash.h"

INLINE bool match_fits(const struct pcgdp_match *m, be32 src, be32 dst, uint8_t proto, be16 sport, be16 dport)
{
	uint16_t sp = ntohs(sport), dp = ntohs(dport);

	return (m->protocol == 0 || m->protocol == proto) && in_prefix(src, m->src_be, m->src_len) &&
		in_prefix(dst, m->dst_be, m->dst_len) && sp >= m->sport_first && sp <= m->sport_last && dp >= m->dport_first &&
		dp <= m->dport_last;
}
