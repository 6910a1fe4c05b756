// SPDX-License-Identifier: Apache-2.0
// keeper.c - housekeeping: ageing, marking what a commit touched, taking apart what has ended.
//
// One thread (or a caller of pcgdp_sweep) walks the session table in slices. It alone moves a
// session from DYING to FREE, after every worker has been quiescent, so whoever found the session
// before it was unlinked is done with it.

#include <stdlib.h>
#include <time.h>

#include "dp.h"
#include "install.h"

enum { RECLAIM = 256, EACH_MS = 50, ROUNDS_PER_S = 1000 / EACH_MS };

void quiesce(struct pcgdp *dp)
{
	struct worker *w[PCGDP_WORKERS_MAX + 2];
	uint32_t n = 0;

	for (uint32_t i = 0; i < LOAD(&dp->n_workers); i++)
		w[n++] = dp->workers[i];
	if (dp->inject)
		w[n++] = dp->inject;
	if (dp->dry)
		w[n++] = dp->dry;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t seen = LOAD(&w[i]->seq);

		while (seen & 1 && LOAD(&w[i]->seq) == seen) {
			struct timespec t = {.tv_nsec = 20000};

			nanosleep(&t, NULL);
		}
	}
}

// ---- taking apart ----

struct reclaim {
	uint32_t session[RECLAIM], n;
	uint32_t mapping[RECLAIM], n_mappings;
};

static void add_totals(struct pcgdp *dp, uint32_t s)
{
	const struct session_table *t = &dp->arena.sessions;
	const struct entry *fwd = &t->e[2 * s], *rev = fwd + 1;
	const struct entry *in = t->cold[s].from_uplink ? fwd : rev, *out = t->cold[s].from_uplink ? rev : fwd;
	struct nat_totals *sum = &dp->nat_totals[t->cold[s].nat_id];

	ADD(&sum->in_packets, in->packets);
	ADD(&sum->in_bytes, in->bytes);
	ADD(&sum->out_packets, out->packets);
	ADD(&sum->out_bytes, out->bytes);
	ADD(&sum->sessions, 1);
}

static void drop_mapping(struct pcgdp *dp, struct reclaim *r, uint32_t m)
{
	struct mapping_table *t = &dp->arena.mappings;
	const struct mapping *map = &t->m[m];

	if (!mapping_release(t, m))
		return;
	natport_give(&dp->natports, map->public_index, (uint8_t)map->in.domain_proto, ntohs(map->out_port));
	r->mapping[r->n_mappings++] = m;
}

static void reclaim(struct pcgdp *dp, struct reclaim *r)
{
	struct session_table *t = &dp->arena.sessions;

	if (!r->n)
		return;
	quiesce(dp);
	for (uint32_t i = 0; i < r->n; i++) {
		uint32_t s = r->session[i], m = t->cold[s].mapping;

		if (t->cold[s].published) {
			add_totals(dp, s);
			dp->sessions_ended++;
		}
		if (m != NONE)
			drop_mapping(dp, r, m);
		session_free(t, s);
	}
	if (r->n_mappings)
		quiesce(dp);
	for (uint32_t i = 0; i < r->n_mappings; i++)
		mapping_free(&dp->arena.mappings, r->mapping[i]);
	r->n = r->n_mappings = 0;
}

// ---- one session ----

static bool touched(const struct pcgdp_touch *t, uint32_t n, uint32_t vrf, const struct entry *fwd)
{
	const struct entry *rev = fwd + 1;
	// as the initiator sent it, as the other side sees it, and the reply: routes and rules may
	// speak of any of them
	const be32 pair[3][2] = {{fwd->key.src, fwd->key.dst}, {rev->key.dst, rev->key.src}, {rev->key.src, rev->key.dst}};

	for (uint32_t i = 0; i < n; i++)
		for (unsigned k = 0; t[i].vrf == vrf && k < 3; k++)
			if (in_prefix(pair[k][0], t[i].src_be, t[i].src_len) && in_prefix(pair[k][1], t[i].dst_be, t[i].dst_len))
				return true;
	return false;
}

// Of a workload's port. A next hop that is gone ends nothing: the session finds another one when it
// is decided again, and keeps its addresses and ports.
static bool slot_dead(const struct arena *a, uint32_t slot)
{
	return slot && slot < nexthop_slot(a, 0) && !slot_get(&a->adjs, slot).adj;
}

static bool ended(const struct pcgdp *dp, uint32_t s, uint32_t now_s)
{
	const struct session_table *t = &dp->arena.sessions;
	const struct entry *fwd = &t->e[2 * s], *rev = fwd + 1;
	uint32_t a = PEEK(&fwd->last_s), b = PEEK(&rev->last_s), last = a > b ? a : b;

	if (slot_dead(&dp->arena, fwd->slot) || slot_dead(&dp->arena, rev->slot))
		return true; // its workload is gone
	return now_s > last && now_s - last > session_timeout_s(t, s);
}

struct round {
	const struct pcgdp_touch *touches;
	uint32_t n_touches;
	bool all;
	uint32_t now_s;
};

static void visit(struct pcgdp *dp, uint32_t s, const struct round *round, struct reclaim *r)
{
	struct session_table *t = &dp->arena.sessions;
	uint32_t state = LOAD(&t->cold[s].state);
	struct entry *fwd = &t->e[2 * s];

	if (state == S_LIVE && ended(dp, s, round->now_s) && session_unlink(t, s))
		state = S_DYING;
	if (state == S_LIVE && (round->all || touched(round->touches, round->n_touches, t->cold[s].vrf, fwd)))
		fwd[0].mark = fwd[1].mark = 1;
	if (state != S_DYING)
		return;
	r->session[r->n++] = s;
	if (r->n == RECLAIM)
		reclaim(dp, r);
}

static void walk(struct pcgdp *dp, const struct round *round, uint32_t first, uint32_t last)
{
	struct reclaim r = {.n = 0};

	for (uint32_t s = first; s < last; s++)
		visit(dp, s, round, &r);
	reclaim(dp, &r);
}

int touch_add(struct pcgdp *dp, const struct pcgdp_touch *t, uint32_t n)
{
	struct pcgdp_touch *more;

	pthread_mutex_lock(&dp->sweeping);
	more = n ? realloc(dp->touches, (dp->n_touches + n) * sizeof(*t)) : NULL;
	if (!more) {
		dp->touch_all = true; // also when memory is short: to decide too much again is harmless
	} else {
		dp->touches = more;
		memcpy(dp->touches + dp->n_touches, t, n * sizeof(*t));
		dp->n_touches += n;
	}
	pthread_mutex_unlock(&dp->sweeping);
	return 0;
}

// Sessions first to first + n - 1; the slice that reaches the end completes a round. With touches
// waiting the whole table is walked: they must reach every session within a second.
void sweep(struct pcgdp *dp, uint64_t now_ns, uint32_t first, uint32_t n)
{
	struct round round = {.now_s = seconds_of(dp, now_ns)};
	uint32_t high;
	bool last;

	pthread_mutex_lock(&dp->sweeping);
	high = LOAD(dp->arena.sessions.high);
	round.touches = dp->touches;
	round.n_touches = dp->n_touches;
	round.all = dp->touch_all;
	if (round.n_touches || round.all) {
		first = 0;
		n = high;
	}
	last = first + n >= high;
	walk(dp, &round, first, MIN(first + n, high));
	if (last)
		STORE(&dp->sweep_round, dp->sweep_round + 1);
	free(dp->touches);
	dp->touches = NULL;
	dp->n_touches = 0;
	dp->touch_all = false;
	pthread_mutex_unlock(&dp->sweeping);
}

void *keeper_main(void *arg)
{
	struct pcgdp *dp = arg;
	uint32_t cursor = 0;

	while (!LOAD(&dp->stop)) {
		struct timespec t = {.tv_nsec = EACH_MS * 1000000l};
		uint32_t high = LOAD(dp->arena.sessions.high), slice = high / ROUNDS_PER_S + 1024;

		nanosleep(&t, NULL);
		sweep(dp, clock_ns(), cursor, slice);
		cursor = cursor + slice >= high ? 0 : cursor + slice;
	}
	return NULL;
}
