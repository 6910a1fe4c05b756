// SPDX-License-Identifier: Apache-2.0
// lookup.c - find the packet's session, or decide what a new one is to be.
//
//   in:   parse_inner -> [session_lookup] -> rewrite
//
// Loops over the burst, so that each packet's cache misses overlap with the others': bucket
// (asked for by parse_inner), entry, then slot. What one packet needs is in lookup_one().

#include "again.h"
#include "dp.h"
#include "first.h"
#include "install.h"

static uint32_t first_candidate(const struct session_table *t, const struct pkt *p)
{
	const struct bucket *b = bucket_of(&t->index, p->hash);
	unsigned m = sig_match(b, sig_of(p->hash));

	return m ? PEEK(&b->idx[__builtin_ctz(m)]) : NONE;
}

// An ICMP error finds a session by what it quotes, so its own source stands in no key: it is the
// session's workload, or another one of that TEP (a router) whose address the rewrite replaces.
static bool error_source_ok(const struct worker *w, const struct pkt *p, const struct entry *e)
{
	be32 src = pkt_ip(p)->src;
	uint32_t port;

	if (src == p->key.src)
		return true;
	port = e->op ? port_find(&w->dp->arena, p->vrf, src) : NONE;
	return port != NONE && source_ok(&w->dp->arena, p, port);
}

static inline bool source_of_session_ok(const struct worker *w, const struct pkt *p, struct entry *e)
{
	struct slot s = slot_get(&w->dp->arena.adjs, e->src_slot);

	if (UNLIKELY(s.tep != p->outer_src))
		return false;
	if (UNLIKELY(p->flags & PF_ICMP_ERROR) && !error_source_ok(w, p, e))
		return false;
	if (LIKELY(e->in_vni == p->vni))
		return true;
	if (!source_ok(&w->dp->arena, p, e->src_slot - 1))
		return false;
	if (!w->dry)
		e->in_vni = p->vni;
	return true;
}

// Before   p->key, p->hash
// After    p->entry or PF_STATELESS or PF_ANSWER; p->slot
// Drops    SOURCE_SPOOFED, every reason of decide(), TCP_NO_SESSION, ICMP_NO_SESSION, SESSION*
static inline enum pcgdp_verdict lookup_one(struct worker *w, struct pkt *p)
{
	struct session_table *t = &w->dp->arena.sessions;
	struct session_query q = {t, &p->key};
	struct entry *e;

	if (UNLIKELY(p->number == NONE || !key_equal(&p->key, &t->e[p->number].key)))
		p->number = sigtab_find(&t->index, p->hash, session_key_is, &q);
	if (UNLIKELY(p->number == NONE))
		return first_one(w, p);
	e = &t->e[p->number];
	if (UNLIKELY(e->mark)) {
		e = again_packet(w, p, e);
		if (!e)
			return first_one(w, p);
	}
	if (!(p->flags & PF_UPLINK) && UNLIKELY(!source_of_session_ok(w, p, e)))
		return drop(p, R_SOURCE_SPOOFED);
	p->entry = e;
	p->slot = e->slot;
	return PCGDP_NEXT;
}

_Static_assert((int)BURST <= (int)AGAIN_BATCH, "a burst of marked sessions is asked for at once");

// Marked ones are about to be decided again: what that reads is asked for, for all of them.
static void ask_marked(const struct session_table *t, const struct worker *w, const struct burst *b)
{
	uint32_t marked[BURST], n = 0;

	for (uint32_t i = 0; i < b->n; i++)
		if (b->pkt[i].number != NONE && UNLIKELY(t->e[b->pkt[i].number].mark))
			marked[n++] = b->pkt[i].number / 2;
	if (n)
		again_ask(&w->dp->arena, marked, n);
}

// Nothing to look up: turned round already, or a first packet.
static inline bool settled(const struct pkt *p)
{
	return p->flags & (PF_ANSWER | PF_DECIDED);
}

void session_lookup(struct worker *w, struct burst *b)
{
	struct session_table *t = &w->dp->arena.sessions;
	struct adj_table *adjs = &w->dp->arena.adjs;
	struct pkt *strangers[BURST];
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->n; i++) {
		struct pkt *p = &b->pkt[i];

		if (UNLIKELY(settled(p)))
			continue;
		p->number = first_candidate(t, p);
		if (p->number != NONE)
			PREFETCH_W(&t->e[p->number]);
		else
			strangers[n++] = p;
	}
	if (n)
		first_burst(w, b, strangers, n);
	ask_marked(t, w, b);
	for (uint32_t i = 0; i < b->n; i++) {
		struct pkt *p = &b->pkt[i];

		settle_one(b, p, settled(p) ? PCGDP_NEXT : lookup_one(w, p));
		if (p->slot < adjs->n_slots)
			PREFETCH(&adjs->slots[p->slot]);
	}
	burst_settle(w, b, STAGE_session_lookup);
}
