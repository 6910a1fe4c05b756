// SPDX-License-Identifier: Apache-2.0
// mss.c - what a TCP end says it takes (MSS, RFC 9293 section 3.7.1), made no more than its way takes.
//
//   in:   rewrite: a SYN, its own header not translated yet -> [mss_clamp]
//
// Path MTU discovery needs ICMP errors to come through, and much of the world drops them. Both ends
// hear a value that fits both sides of the gateway, so that no segment is ever too big here. A SYN
// never is plain, so the fast path pays nothing. Only a value that is there is changed: without one
// the other end takes 536, which fits.

#include "csum.h"
#include "decide.h"
#include "dp.h"

enum { OPT_END = 0, OPT_NOP = 1, OPT_MSS = 2, OPT_MSS_LEN = 4 };

static uint32_t mtu_of_slot(const struct arena *a, uint32_t slot)
{
	uint32_t at = slot && slot < a->adjs.n_slots ? slot_get(&a->adjs, slot).adj : 0;

	return at ? a->adjs.adj[at].mtu : 65535;
}

// Of the way back to the sender.
static uint32_t mtu_back(const struct worker *w, const struct pkt *p)
{
	const struct arena *a = &w->dp->arena;
	be32 src = pkt_ip(p)->src;
	uint32_t port;

	if (p->number != NONE)
		return mtu_of_slot(a, a->sessions.e[p->number ^ 1].slot);
	if (p->flags & PF_UPLINK)
		return mtu_of_slot(a, slot_outwards(w->cfg, a, vrf_of(w->cfg, p->vrf), src));
	port = port_find(a, p->vrf, src);
	return port == NONE ? 65535 : mtu_of_slot(a, port_slot(port));
}

// Where the option's value lies; NULL: there is none, or the options are malformed before it.
static uint8_t *mss_at(struct tcp_hdr *th)
{
	uint8_t *at = (uint8_t *)(th + 1), *end = (uint8_t *)th + (th->off >> 4) * 4;

	while (at < end && *at != OPT_END) {
		if (*at == OPT_NOP) {
			at++;
			continue;
		}
		if (end - at < 2 || at[1] < 2 || at[1] > end - at)
			return NULL;
		if (at[0] == OPT_MSS)
			return at[1] == OPT_MSS_LEN ? at + 2 : NULL;
		at += at[1];
	}
	return NULL;
}

// Before   a whole TCP header (parse_inner); mtu: of where it leaves, 65535 when that is not known
void mss_clamp(struct worker *w, struct pkt *p, uint32_t mtu)
{
	struct tcp_hdr *th = (struct tcp_hdr *)((uint8_t *)pkt_ip(p) + IP_HLEN);
	uint32_t most = MIN(mtu, mtu_back(w, p)), odd;
	uint8_t *at = mss_at(th);
	uint16_t before, after;

	if (!at || most < IP_HLEN + sizeof(*th))
		return;
	before = rd16(at);
	after = htons((uint16_t)(most - IP_HLEN - sizeof(*th)));
	if (ntohs(before) <= ntohs(after))
		return;
	wr16(at, after);
	odd = (uint32_t)(at - (uint8_t *)th) & 1; // at an odd offset its bytes count the other way round
	th->csum = csum_apply(th->csum, odd ? delta16(__builtin_bswap16(before), __builtin_bswap16(after)) : delta16(before, after));
}
