// SPDX-License-Identifier: Apache-2.0
// rewrite.c - make the packet what the receiver shall see.
//
//   in:   session_lookup -> [rewrite] -> egress
//
// Everything was worked out when the session was made; here are one address, one port, the TTL
// and two checksums by their differences. What may still refuse the packet (TTL, way, size) is asked
// before the first byte changes, because an ICMP error quotes it as it came.

#include "answer.h"
#include "decide.h"
#include "dp.h"
#include "rewrite.h"

static inline void session_touch(const struct worker *w, const struct pkt *p, struct entry *e)
{
	uint32_t last_s = e->last_s;

	session_count(e, p->ip_len, w->now_s);
	if (UNLIKELY(p->tcp_flags & TCP_SYN && e->tcp_flags & (TCP_FIN | TCP_RST)))
		e->tcp_flags = 0; // a new connection: what the old one ended by is over
	e->tcp_flags = flags_after(e->tcp_flags, p->tcp_flags);
	if (UNLIKELY(p->tcp_flags & TCP_RST)) // does not keep a session alive
		e->last_s = last_s;
}

// RFC 1191 section 4; RFC 4787 REQ-13. Without DF egress cuts it.
static enum pcgdp_verdict too_big(struct worker *w, struct pkt *p, uint16_t mtu)
{
	icmp_error(w, p, ICMP_UNREACH, UNREACH_FRAG, mtu);
	return drop(p, R_TOO_BIG);
}

// What egress would find, asked while the packet is still as it came; R_OK: a way. The sender is told once it is
// known that nobody answers: while a neighbour is being asked for (a start, a takeover) the next packet may pass.
static enum reason lost_way(struct worker *w, struct pkt *p, const struct adj *a)
{
	const struct arena *ar = &w->dp->arena;
	bool gone = !a && p->slot < ar->adjs.n_slots, port = p->slot < nexthop_slot(ar, 0);

	if (a ? a->resolved : !gone) // not gone: turned round inside
		return (enum reason)R_OK;
	if (a ? a->silent : port)
		no_way(w, p, UNREACH_HOST);
	return gone && port ? R_PORT_UNKNOWN : R_NEIGHBOUR_UNRESOLVED; // gone: removed, and no sweep has been since
}

// Before   p->entry or PF_STATELESS; a is where it leaves, NULL when egress has to say
// After    the IPv4 packet at p->l3 is final
// Drops    TTL_EXPIRED, PORT_UNKNOWN, NEIGHBOUR_UNRESOLVED, TOO_BIG, IP_CHECKSUM (of an ICMP error)
static inline enum pcgdp_verdict rewrite_one(struct worker *w, struct pkt *p, const struct adj *a)
{
	struct ip_hdr *ip = pkt_ip(p);
	struct entry *e = p->entry;

	if (UNLIKELY(ip->ttl <= 1)) {
		icmp_error(w, p, ICMP_TIME, 0, 0);
		return drop(p, R_TTL_EXPIRED);
	}
	if (UNLIKELY(!a || !a->resolved)) {
		enum reason lost = lost_way(w, p, a);

		if (lost != (enum reason)R_OK)
			return drop(p, lost);
	}
	if (a && UNLIKELY(p->ip_len > a->mtu) && !may_fragment(w, p, a->mtu))
		return too_big(w, p, a->mtu);
	if (UNLIKELY(p->tcp_flags & TCP_SYN) && w->cfg->local.mss_clamp)
		mss_clamp(w, p, a ? a->mtu : 65535);
	if (p->flags & PF_STATELESS || (p->flags & PF_ICMP_ERROR && !e->op)) {
		decrement_ttl(ip);
		return PCGDP_NEXT;
	}
	if (UNLIKELY(p->flags & PF_ICMP_ERROR)) // neither refreshes nor ends anything (RFC 5508 REQ-5)
		return icmp_error_translate(p, e);
	if (UNLIKELY(w->dry)) {
		translate(ip, e);
		return PCGDP_NEXT;
	}
	session_touch(w, p, e);
	translate(ip, e);
	return PCGDP_NEXT;
}

void rewrite(struct worker *w, struct burst *b)
{
	const struct adj_table *t = &w->dp->arena.adjs;
	const struct adj *adj[BURST];

	for (uint32_t i = 0; i < b->n; i++) {
		const struct pkt *p = &b->pkt[i];
		uint32_t at = p->slot < t->n_slots ? slot_get(t, p->slot).adj : 0;

		adj[i] = NULL;
		if (!at) // a hairpin, or what it left by is gone: egress says so
			continue;
		adj[i] = &t->adj[at];
		PREFETCH(adj[i]);
		PREFETCH((const uint8_t *)adj[i] + LINE);
		PREFETCH_W(p->data + p->l3 - ADJ_TMPL); // where the new header goes
	}
	for (uint32_t i = 0; i < b->n; i++) {
		struct pkt *p = &b->pkt[i];

		settle_one(b, p, UNLIKELY(p->flags & PF_ANSWER) ? PCGDP_NEXT : rewrite_one(w, p, adj[i]));
	}
	burst_settle(w, b, STAGE_rewrite);
}
