// SPDX-License-Identifier: Apache-2.0
// again.c - see again.h.
//
// Housekeeping decides again what a change concerns (marks.c). What goes on as it is goes on without
// noticing; what has to be made anew, or may have been missed in a large table, carries a mark, and
// its next packet comes here.

#include "again.h"

#include "answer.h"
#include "cuts.h"
#include "dp.h"
#include "find.h"
#include "install.h"
#include "pool.h"
#include "successor.h"

static be32 workload_of(const struct entry *fwd)
{
	bool uplink = fwd->key.domain_proto >> 8 & 1;

	return !uplink ? fwd->key.src : fwd->op ? fwd->new_addr : fwd->key.dst;
}

void again_ask(const struct arena *a, const uint32_t *sessions, uint32_t n)
{
	const struct session_table *t = &a->sessions;
	uint64_t hash[AGAIN_BATCH];

	for (uint32_t i = 0; i < n; i++) {
		const struct entry *fwd = &t->e[2 * sessions[i]];

		PREFETCH(&t->cold[sessions[i]]);
		PREFETCH(fwd + 1);
		hash[i] = hash_pair(a, fwd->key.domain_proto >> 9, workload_of(fwd));
		PREFETCH(bucket_of(&a->port_index, hash[i]));
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t port = port_candidate(a, hash[i]), mapping = PEEK(&t->cold[sessions[i]].mapping);

		if (port != NONE)
			PREFETCH(&a->ports[port]);
		if (mapping != NONE)
			PREFETCH(&a->mappings.m[mapping]);
	}
}

static bool same_translation(const struct config *cfg, const struct arena *a, uint32_t s, const struct decision *d)
{
	const struct entry *fwd = &a->sessions.e[2 * s];
	const struct cold *c = &a->sessions.cold[s];

	bool allowed = d->reason == R_OK || d->reason == R_NEIGHBOUR_UNRESOLVED;

	if (!allowed || d->stateless || d->to_gateway || d->kind != c->kind)
		return false;
	if (d->kind == KIND_PLAIN)
		return true;
	if (!d->draw_port)
		return d->new_addr == fwd->new_addr && (d->kind != PCGDP_DNAT || d->new_port == fwd->new_port);
	if (c->mapping == NONE)
		return overflow_fits(cfg, d->rule, c->nat_id, fwd->new_addr, fwd->new_port);
	return mapping_fits(cfg, d->rule, &a->mappings.m[c->mapping]);
}

static bool same_rules(const struct cold *c, const struct decision *d)
{
	return d->reason != R_OK || (d->nat_id == c->nat_id && d->fw_id == c->fw_id && d->log == log_of(c));
}

// A route to a segment is stateless as well, but leads elsewhere, and says nothing of a way back.
static bool needs_no_session(const struct cold *c, const struct decision *d)
{
	return d->reason == R_OK && d->stateless && d->back_slot && c->kind == KIND_PLAIN;
}

enum again again_judge(const struct config *c, const struct arena *a, uint32_t s, struct decision *d)
{
	const struct entry *fwd = &a->sessions.e[2 * s], *rev = fwd + 1;

	decide(c, a, &fwd->key, fwd->new_addr, d);
	if (needs_no_session(&a->sessions.cold[s], d))
		return AGAIN_STATELESS;
	if (!same_translation(c, a, s, d))
		return AGAIN_ENDS;
	if (!d->slot || !d->back_slot)
		return AGAIN_WAITS;
	if (lands(&fwd->key, d, fwd->new_addr))
		return AGAIN_ENDS;
	return d->slot == fwd->slot && d->back_slot == rev->slot && d->ours == fwd->ours && same_rules(&a->sessions.cold[s], d) ? AGAIN_SAME : AGAIN_OTHER;
}

bool again_end(struct arena *a, uint32_t s)
{
	const struct session_table *t = &a->sessions;

	if (!session_unlink(&a->sessions, s))
		return false;
	if (t->cold[s].mapping != NONE)
		mapping_close_to(&a->mappings, t->cold[s].mapping, peer_of(&t->e[2 * s].key));
	return true;
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

// Of a session that is over the ends are told by its next packet, if that says what they wait for. One that
// says nothing of it leaves the session to another that may. Nor does what we asked of its other half.
static bool says_nothing(const struct pkt *p)
{
	return p->flags & (PF_ICMP_ERROR | PF_TOLD) || p->tcp_flags & TCP_RST;
}

static struct entry *cut_by(struct worker *w, struct pkt *p, struct entry *e)
{
	if (w->dry)
		w->dry_ended = p->number / 2;
	else if (!says_nothing(p) && again_end(&w->dp->arena, p->number / 2))
		tcp_cut(w, p, e, entry_other(e, p->number));
	return NULL;
}

// Or to housekeeping, where that comes by anyway.
static struct entry *end_by(struct worker *w, struct pkt *p, struct entry *e)
{
	uint32_t s = p->number / 2;
	bool reset = LOAD(&w->dp->resets[w->dp->arena.sessions.cold[s].nat_id]) & PCGDP_RESET_CHANGE;

	if (w->dry) {
		w->dry_ended = s;
	} else if (reset && e->mark != MARK_KEPT && says_nothing(p)) {
		return NULL;
	} else if (again_end(&w->dp->arena, s)) {
		BUMP(&w->c.sessions_cut, 1);
		if (reset)
			tcp_cut(w, p, e, entry_other(e, p->number));
	}
	return NULL;
}

// Decided by its forward key, whichever direction this packet has.
struct entry *again_packet(struct worker *w, struct pkt *p, struct entry *e)
{
	struct entry *fwd = &w->dp->arena.sessions.e[p->number & ~1u], *rev = fwd + 1;
	struct decision d;

	if (e->mark >= MARK_CUT)
		return cut_by(w, p, e);
	BUMP(&w->c.decisions, 1);
	switch (again_judge(w->cfg, &w->dp->arena, p->number / 2, &d)) {
	case AGAIN_ENDS:
		return end_by(w, p, e);
	case AGAIN_STATELESS:
		if (w->dry)
			w->dry_ended = p->number / 2;
		else
			again_end(&w->dp->arena, p->number / 2);
		return NULL;
	case AGAIN_WAITS:
		p->nat_id = d.nat_id;
		return e;
	case AGAIN_OTHER:
		return w->dry ? other_way(w, p, &d) : successor_make(w, p, &d);
	case AGAIN_SAME:
		break;
	}
	if (w->dry)
		return other_way(w, p, &d);
	fwd->mark = rev->mark = MARK_NONE;
	fwd->in_vni = rev->in_vni = 0; // the source, too, is checked again in full
	return e;
}
