// SPDX-License-Identifier: Apache-2.0
// marks.c - housekeeping: what a commit, or a port that moved, makes of the sessions that it concerns.
//
// The table is walked once for all changes that wait; what they concern is decided again at once, a
// batch at a time with prefetch, so that forwarding does not pay for it and a session that is silent
// ends as soon as one that is not. Most go on as they are and never notice. Past DIRECT_MAX in one walk
// the others are only marked: whoever speaks is decided again by its own packet, the silent ones
// by ageing's next round, which comes sooner then (keeper.c): within a second for a million.

#include <stdlib.h>

#include "again.h"
#include "cuts.h"
#include "dp.h"
#include "find.h"

enum { DIRECT_MAX = 1 << 17 };

// Called once every worker sees what has changed. Never waits for a walk: what comes during one is
// for the next. Before the first session there is nothing to walk for.
void touch_add(struct pcgdp *dp, const struct pcgdp_touch *t, uint32_t n)
{
	uint64_t policy = LOAD(&dp->cfg)->serial;

	if (!LOAD(dp->arena.sessions.high)) {
		STORE(&dp->judged, policy);
		return;
	}
	pthread_mutex_lock(&dp->touching);
	dp->touches.policy = policy;
	if (!n || touch_list_add(&dp->touches, t, n))
		dp->touches.all = true; // also when memory is short: to decide too much again is harmless
	pthread_mutex_unlock(&dp->touching);
}

static bool touches_take(struct pcgdp *dp, struct touch_list *l)
{
	pthread_mutex_lock(&dp->touching);
	*l = dp->touches;
	memset(&dp->touches, 0, sizeof(dp->touches));
	pthread_mutex_unlock(&dp->touching);
	return l->n || l->all;
}

// As the initiator sent it, as the other side sees it, and the reply: routes and rules may speak of
// any of them. One line of the session is read, not both: what the reply's holds follows from it.
static bool touched(const struct touch_index *x, const struct entry *fwd)
{
	uint32_t vrf = fwd->key.domain_proto >> 9;
	be32 src = fwd->op == OP_SRC ? fwd->new_addr : fwd->key.src, dst = fwd->op == OP_DST ? fwd->new_addr : fwd->key.dst;

	return touch_fits(x, vrf, fwd->key.src, fwd->key.dst) || touch_fits(x, vrf, dst, src) || (fwd->op && touch_fits(x, vrf, src, dst));
}

// ---- one session ----

static void mark(struct entry *fwd, uint8_t what)
{
	if (fwd->mark < MARK_CUT)
		fwd[0].mark = fwd[1].mark = what;
}

// May what was let in on this VNI still come from there? If not, its next packet is asked in full.
static void check_source(const struct config *c, const struct arena *a, struct entry *e)
{
	const struct segment *seg = e->in_vni ? segment_of_vni(c, e->in_vni) : NULL;

	if (!e->src_slot || !e->in_vni)
		return;
	if (!seg || seg->rec.vrf != e->key.domain_proto >> 9 ||
		!source_fits(&a->ports[e->src_slot - 1], slot_get(&a->adjs, e->src_slot).tep, e->in_vni, seg->rec.kind == PCGDP_TRANSIT))
		e->in_vni = 0;
}

static void end(struct pcgdp *dp, uint32_t s)
{
	bool reset = LOAD(&dp->resets[dp->arena.sessions.cold[s].nat_id]) & PCGDP_RESET_CHANGE;
	enum cuts_said said = reset ? cuts_add(dp, s, MARK_CUT) : CUTS_SILENT;

	if (said == CUTS_TAKEN || (said == CUTS_SILENT && again_end(&dp->arena, s)))
		BUMP(&dp->deciding.cut, 1);
}

// A session that is LIVE now keeps its content until `deciding` is even.
static void decide_one(struct pcgdp *dp, const struct config *c, uint32_t s)
{
	struct arena *a = &dp->arena;
	struct entry *fwd = &a->sessions.e[2 * s];
	struct decision d;

	if (LOAD(&a->sessions.cold[s].state) != S_LIVE || fwd->mark >= MARK_CUT)
		return;
	BUMP(&dp->deciding.decisions, 1);
	switch (again_judge(c, a, s, &d)) {
	case AGAIN_SAME:
		check_source(c, a, fwd);
		check_source(c, a, fwd + 1);
		mark(fwd, MARK_NONE);
		break;
	case AGAIN_WAITS:
	case AGAIN_OTHER:
		mark(fwd, MARK_KEPT);
		break;
	case AGAIN_STATELESS:
		again_end(a, s);
		break;
	case AGAIN_ENDS:
		end(dp, s);
	}
}

// Before the first policy nothing is known of what is allowed, so nothing ends.
void decide_sessions(struct pcgdp *dp, const uint32_t *sessions, uint32_t n)
{
	const struct config *c;

	pthread_mutex_lock(&dp->deciding.lock);
	__atomic_store_n(&dp->deciding.seq, dp->deciding.seq + 1, __ATOMIC_RELAXED); // as worker_begin()
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	c = LOAD(&dp->cfg);
	again_ask(&dp->arena, sessions, n);
	for (uint32_t i = 0; i < n && c->has_local; i++)
		decide_one(dp, c, sessions[i]);
	STORE(&dp->deciding.seq, dp->deciding.seq + 1);
	pthread_mutex_unlock(&dp->deciding.lock);
}

// ---- the walk ----

// A session that is being made or taken apart may be seen half written: it was decided by what is in
// force now, or nobody will find it, so to decide it again or not does no harm.
static enum walked walk(struct pcgdp *dp, const struct touch_index *x)
{
	enum walked walked = WALKED_WHOLE;
	const struct session_table *t = &dp->arena.sessions;
	uint32_t batch[AGAIN_BATCH], n = 0, left = DIRECT_MAX;

	for (uint32_t s = 0, high = LOAD(t->high); s < high; s++) {
		struct entry *fwd = &t->e[2 * s];

		if ((x && !touched(x, fwd)) || LOAD(&t->cold[s].state) != S_LIVE)
			continue;
		if (!left) {
			mark(fwd, MARK_ASK);
			walked = WALKED_MARKING;
			continue;
		}
		left--;
		batch[n++] = s;
		if (n == AGAIN_BATCH || !left) {
			decide_sessions(dp, batch, n);
			n = 0;
		}
	}
	decide_sessions(dp, batch, n);
	return walked;
}

static enum walked walk_for(struct pcgdp *dp, const struct touch_list *l)
{
	struct touch_index x;
	enum walked walked;

	if (l->all || touch_index_build(&x, l))
		return walk(dp, NULL);
	walked = walk(dp, &x);
	touch_index_free(&x);
	return walked;
}

// The whole table, once for all touches that wait. Neither a commit nor ageing waits for it.
enum walked decide_touched(struct pcgdp *dp)
{
	enum walked walked = WALKED_NOT;
	struct touch_list l;

	pthread_mutex_lock(&dp->walking);
	if (touches_take(dp, &l))
		walked = walk_for(dp, &l);
	if (l.policy) // 0: nothing was published since
		STORE(&dp->judged, l.policy);
	pthread_mutex_unlock(&dp->walking);
	free(l.at);
	return walked;
}
