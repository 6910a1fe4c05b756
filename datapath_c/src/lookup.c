// SPDX-License-Identifier: Apache-2.0
// lookup.c - find the packet's session, or decide what a new one is to be.
//
//   in:   parse_inner -> [session_lookup] -> rewrite
//
// Loops over the burst, so that each packet's cache misses overlap with the others': bucket
// (asked for by parse_inner), entry, then slot. What one packet needs is in lookup_one().

#include "answer.h"
#include "dp.h"
#include "first.h"

static uint32_t first_candidate(const struct session_table *t, const struct pkt *p)
{
	const struct bucket *b = bucket_of(&t->index, p->hash);
	unsigned m = sig_match(b, sig_of(p->hash));

	return m ? PEEK(&b->idx[__builtin_ctz(m)]) : NONE;
}

static bool same_translation(const struct worker *w, uint32_t s, const struct decision *d)
{
	const struct session_table *t = &w->dp->arena.sessions;
	const struct entry *fwd = &t->e[2 * s];
	const struct cold *c = &t->cold[s];

	// whoever was let in stays, though the mapping has forgotten the address since
	bool allowed = d->reason == R_OK || d->reason == R_NEIGHBOUR_UNRESOLVED || (d->reason == R_NAT_FILTERED && d->mapping == c->mapping);

	if (!allowed || d->stateless || d->to_gateway || d->kind != c->kind)
		return false;
	if (d->kind == KIND_PLAIN)
		return true;
	if (!d->draw_port)
		return d->new_addr == fwd->new_addr && (d->kind != PCGDP_DNAT || d->new_port == fwd->new_port);
	if (c->mapping == NONE)
		return overflow_fits(w->cfg, d->rule, c->nat_id, fwd->new_addr, fwd->new_port);
	return mapping_fits(w->cfg, d->rule, &w->dp->arena.mappings.m[c->mapping]);
}

// Another answer: the session ends. Nor may its peer come back in by the mapping, which lives until
// housekeeping has been here.
static void end_session(struct worker *w, uint32_t s)
{
	struct session_table *t = &w->dp->arena.sessions;
	const struct cold *c = &t->cold[s];
	const union key *k = &t->e[2 * s].key;

	if (session_unlink(t, s) && c->mapping != NONE)
		mapping_forget(&w->dp->arena.mappings.m[c->mapping], session_from_uplink(t, s) ? k->src : k->dst);
}

static bool same_rules(const struct cold *c, const struct decision *d)
{
	return d->reason != R_OK || (d->nat_id == c->nat_id && d->fw_id == c->fw_id && !!d->log == c->log);
}

// For explain: the session as it would be made anew.
static struct entry *other_way(struct worker *w, struct pkt *p, const struct decision *d)
{
	uint32_t way = p->number & 1;

	memcpy(w->dry_entry, &w->dp->arena.sessions.e[p->number & ~1u], sizeof(w->dry_entry));
	w->dry_entry[0].slot = d->slot;
	w->dry_entry[1].slot = d->back_slot;
	p->number = NONE; // in another rule's name, perhaps: the old session does not speak for it
	p->nat_id = d->nat_id;
	p->fw_id = d->fw_id;
	return &w->dry_entry[way];
}

static struct entry *make_again(struct worker *w, struct pkt *p, uint32_t s, const struct decision *d)
{
	const struct session_table *t = &w->dp->arena.sessions;
	struct making mk = {.p = p, .k = t->e[2 * s].key, .d = *d};
	struct stock st;
	struct entry *e;

	mk.hash = hash_key(t->secret, &mk.k);
	stock_take(w, &st, 1, d->draw_port);
	install_ahead(w, &mk);
	e = session_install(w, &mk, &st, s);
	stock_give(w, &st);
	return e;
}

// A marked session is decided again by its forward key, whichever direction this packet has.
// Returns the entry to use, or NULL: the session has ended, treat the packet as a first one.
static struct entry *decide_again(struct worker *w, struct pkt *p, struct entry *e)
{
	struct session_table *t = &w->dp->arena.sessions;
	uint32_t s = p->number / 2;
	struct entry *fwd = &t->e[2 * s], *rev = fwd + 1;
	struct decision d;

	decide(w->cfg, &w->dp->arena, &fwd->key, &d);
	BUMP(&w->c.decisions, 1);
	if (same_translation(w, s, &d)) {
		if (!d.slot || !d.back_slot) { // it keeps its way, and its mark, until the new one is known
			p->nat_id = d.nat_id;
			return e;
		}
		if (w->dry)
			return other_way(w, p, &d);
		if (d.slot == fwd->slot && d.back_slot == rev->slot && same_rules(&t->cold[s], &d)) {
			fwd->mark = rev->mark = 0;
			fwd->in_vni = rev->in_vni = 0; // the source, too, is checked again in full
			return e;
		}
		// Same addresses, another way or in another rule's name: nothing but marks is written in
		// place, so a new session takes over what the old one had.
		if (session_unlink(t, s)) {
			p->entry = make_again(w, p, s, &d);
			return p->entry;
		}
	} else if (w->dry) {
		w->dry_ended = s;
	} else {
		if (LOAD(&w->dp->resets[t->cold[s].nat_id]))
			tcp_cut(w, p, e, entry_other(e, p->number));
		end_session(w, s);
		BUMP(&w->c.sessions_cut, 1);
	}
	return NULL;
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
		e = decide_again(w, p, e);
		if (!e)
			return first_one(w, p);
	}
	if (!(p->flags & PF_UPLINK) && UNLIKELY(!source_of_session_ok(w, p, e)))
		return drop(p, R_SOURCE_SPOOFED);
	p->entry = e;
	p->slot = e->slot;
	return PCGDP_NEXT;
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
	for (uint32_t i = 0; i < b->n; i++) {
		struct pkt *p = &b->pkt[i];

		settle_one(b, p, settled(p) ? PCGDP_NEXT : lookup_one(w, p));
		if (p->slot < adjs->n_slots)
			PREFETCH(&adjs->slots[p->slot]);
	}
	burst_settle(w, b, STAGE_session_lookup);
}
