// SPDX-License-Identifier: Apache-2.0
// keeper.c - housekeeping: ageing, and taking apart what has ended. What a commit concerns: marks.c.
//
// One thread (or a caller of pcgdp_sweep) walks the session table in slices. It alone moves a
// session from DYING to FREE, after every worker has been quiescent, so whoever found the session
// before it was unlinked is done with it.

#include <time.h>

#include "again.h"
#include "dp.h"
#include "events.h"
#include "path_mtu.h"
#include "fair.h"

enum { RECLAIM = 256, EACH_MS = 50, ROUNDS_PER_S = 1000 / EACH_MS };
// Turns without a walk after one for touches: ten commits a second share four walks, and each
// still reaches its sessions well within a second.
enum { MARK_REST = 4 };
// Turns of the round behind a walk that could not decide all it found (marks.c): with those that its commit
// may have waited before, and what deciding a million takes, it is over within a second.
enum { MARK_ROUND = 6 };
enum { QUIET_SLICE = (1 << 20) / ROUNDS_PER_S, HURRY = 4 * ROUNDS_PER_S };

void quiesce(struct pcgdp *dp)
{
	const uint64_t *seq[PCGDP_WORKERS_MAX + 3] = {&dp->deciding.seq};
	uint32_t n = 1;

	for (uint32_t i = 0; i < LOAD(&dp->n_workers); i++)
		seq[n++] = &dp->workers[i]->seq;
	if (dp->inject)
		seq[n++] = &dp->inject->seq;
	if (dp->dry)
		seq[n++] = &dp->dry->seq;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t seen = LOAD(seq[i]);

		while (seen & 1 && LOAD(seq[i]) == seen) {
			struct timespec t = {.tv_nsec = 20000};

			nanosleep(&t, NULL);
		}
	}
}

// ---- taking apart ----

struct reclaim {
	uint64_t now_ns;
	uint32_t session[RECLAIM], n;
	uint8_t end[RECLAIM]; // enum pcgdp_end
	uint32_t mapping[RECLAIM], n_mappings;
	uint32_t ask[AGAIN_BATCH], n_ask; // marked ones, to be decided again
};

static void add_totals(struct pcgdp *dp, uint32_t s)
{
	const struct session_table *t = &dp->arena.sessions;
	const struct entry *fwd = &t->e[2 * s], *rev = fwd + 1;
	const struct entry *in = session_from_uplink(t, s) ? fwd : rev, *out = session_from_uplink(t, s) ? rev : fwd;
	uint32_t fw_id = t->cold[s].fw_id;
	struct rule_totals *sums[2] = {&dp->nat_totals[t->cold[s].nat_id], &dp->fw_totals[fw_id < FW_COUNTED ? fw_id : 0]};

	for (unsigned i = 0; i < 2; i++) {
		ADD(&sums[i]->in_packets, in->packets);
		ADD(&sums[i]->in_bytes, in->bytes);
		ADD(&sums[i]->out_packets, out->packets);
		ADD(&sums[i]->out_bytes, out->bytes);
		ADD(&sums[i]->sessions, 1);
	}
}

static void drop_mapping(struct pcgdp *dp, struct reclaim *r, uint32_t m)
{
	struct mapping_table *t = &dp->arena.mappings;
	const struct mapping *map = &t->m[m];

	if (!mapping_release(t, m))
		return;
	fair_unmapped(&dp->arena, m);
	natport_give(&dp->natports, map->public_index, (uint8_t)map->domain_proto, ntohs(map->out_port));
	r->mapping[r->n_mappings++] = m;
}

static void reclaim(struct pcgdp *dp, struct reclaim *r)
{
	struct session_table *t = &dp->arena.sessions;
	uint32_t limbo;

	if (!r->n && LOAD(&dp->arena.mappings.limbo) == NONE)
		return;
	quiesce(dp);
	limbo = mapping_limbo_take(&dp->arena.mappings);
	for (uint32_t i = 0; i < r->n; i++) {
		uint32_t s = r->session[i], m = t->cold[s].mapping;

		if (t->cold[s].published) {
			add_totals(dp, s);
			event_ended(dp, s, r->end[i], r->now_ns);
			if (!t->cold[s].succeeded)
				fair_ended(&dp->arena, s);
			dp->sessions_ended++;
		}
		if (m != NONE)
			drop_mapping(dp, r, m);
	}
	session_give(t, r->session, r->n);
	if (r->n_mappings || limbo != NONE)
		quiesce(dp);
	mapping_give(&dp->arena.mappings, r->mapping, r->n_mappings);
	mapping_limbo_give(&dp->arena.mappings, limbo);
	r->n = r->n_mappings = 0;
}

// ---- one session ----

// Of a workload's port. A next hop that is gone ends nothing: the session finds another one when it
// is decided again, and keeps its addresses and ports.
static bool slot_dead(const struct arena *a, uint32_t slot)
{
	return slot && slot < nexthop_slot(a, 0) && !slot_get(&a->adjs, slot).adj;
}

static enum pcgdp_end ended(const struct pcgdp *dp, uint32_t s, uint32_t now_s)
{
	const struct session_table *t = &dp->arena.sessions;
	const struct entry *fwd = &t->e[2 * s], *rev = fwd + 1;
	uint32_t a = PEEK(&fwd->last_s), b = PEEK(&rev->last_s), last = a > b ? a : b;

	if (slot_dead(&dp->arena, fwd->slot) || slot_dead(&dp->arena, rev->slot))
		return PCGDP_END_PORT_GONE;
	if (now_s <= last || now_s - last <= session_timeout_s(t, s, dp->timeouts[t->cold[s].nat_id]))
		return PCGDP_END_NONE;
	return session_tcp_state(t, s) == PCGDP_TCP_CLOSING ? PCGDP_END_CLOSED : PCGDP_END_IDLE;
}

static void decide_marked(struct pcgdp *dp, struct reclaim *r)
{
	decide_sessions(dp, r->ask, r->n_ask);
	r->n_ask = 0;
}

// Of an idle one, where its rule says so, both ends are told first. One for which there is no room yet is
// not over yet: a packet of its own that comes before the next round lets it live on, as of any that
// housekeeping has not come to.
static bool lingers(struct pcgdp *dp, uint32_t s)
{
	const struct session_table *t = &dp->arena.sessions;
	bool reset = LOAD(&dp->resets[t->cold[s].nat_id]) & PCGDP_RESET_IDLE;

	return t->e[2 * s].mark >= MARK_CUT || (reset && cuts_add(dp, s, MARK_IDLE) != CUTS_SILENT);
}

// Those that wait for room would only be told to wait on.
static bool to_be_asked(const struct pcgdp *dp, uint8_t mark)
{
	return mark == MARK_ASK || (mark == MARK_LATE && cuts_room(&dp->cuts));
}

// Who ended one that is no longer LIVE: a worker, or marks.c, or cuts.c.
static enum pcgdp_end ended_otherwise(const struct session_table *t, uint32_t s)
{
	return t->e[2 * s].mark == MARK_IDLE ? PCGDP_END_IDLE : PCGDP_END_DECIDED_AGAIN;
}

static void visit(struct pcgdp *dp, uint32_t s, uint32_t now_s, struct reclaim *r)
{
	struct session_table *t = &dp->arena.sessions;
	uint32_t state = LOAD(&t->cold[s].state);
	enum pcgdp_end end = state == S_LIVE ? ended(dp, s, now_s) : ended_otherwise(t, s);

	if (state == S_LIVE && end == PCGDP_END_IDLE && lingers(dp, s))
		return;
	if (state == S_LIVE && !end && UNLIKELY(t->e[2 * s].mark) && to_be_asked(dp, t->e[2 * s].mark)) {
		r->ask[r->n_ask++] = s;
		if (r->n_ask == AGAIN_BATCH)
			decide_marked(dp, r);
	}
	if (end && state == S_LIVE && again_end(&dp->arena, s))
		state = S_DYING;
	if (state != S_DYING)
		return;
	r->end[r->n] = (uint8_t)end;
	r->session[r->n++] = s;
	if (r->n == RECLAIM)
		reclaim(dp, r);
}

// Sessions first to first + n - 1; the slice that reaches the end completes a round.
void sweep(struct pcgdp *dp, uint64_t now_ns, uint32_t first, uint32_t n)
{
	struct reclaim r = {.now_ns = now_ns};
	uint32_t high, now_s = seconds_of(dp, now_ns);

	pthread_mutex_lock(&dp->sweeping);
	high = LOAD(dp->arena.sessions.high);
	for (uint32_t s = first; s < MIN(first + n, high); s++)
		visit(dp, s, now_s, &r);
	decide_marked(dp, &r);
	reclaim(dp, &r);
	if (first + n >= high)
		STORE(&dp->sweep_round, dp->sweep_round + 1);
	pthread_mutex_unlock(&dp->sweeping);
}

// ---- the thread ----

struct keeper {
	uint32_t cursor;  // of the next slice
	uint32_t rest;    // turns without a walk for touches
	uint32_t marks;   // turns in which a round takes MARK_ROUND of them, however large the table
	uint32_t hurry;   // turns in which a round takes a second, however large the table
	uint64_t changes; // seen so far
	uint64_t ended;
};

// While nothing changes and nothing ends, a large table is swept more slowly: a gateway of ten
// million sessions that has nothing to do shall do next to nothing. Any change may leave much to
// take apart, or a port's slot to free, so that the next rounds are whole ones again.
static uint32_t slice_of(const struct pcgdp *dp, struct keeper *k)
{
	uint32_t high = LOAD(dp->arena.sessions.high), turns = k->marks ? MARK_ROUND : ROUNDS_PER_S, whole = high / turns + 1024;
	uint64_t changes = PEEK(&dp->arena.head->changes);

	if (changes != k->changes || dp->sessions_ended != k->ended)
		k->hurry = HURRY;
	else if (k->hurry)
		k->hurry--;
	k->changes = changes;
	k->ended = dp->sessions_ended;
	if (k->marks) {
		k->marks--;
		return whole;
	}
	return k->hurry ? whole : MIN(whole, (uint32_t)QUIET_SLICE);
}

static void turn(struct pcgdp *dp, struct keeper *k)
{
	enum walked walked = k->rest ? WALKED_NOT : decide_touched(dp);
	uint32_t slice;

	if (k->rest)
		k->rest--;
	else if (walked != WALKED_NOT)
		k->rest = MARK_REST;
	if (walked == WALKED_MARKING)
		k->marks = MARK_ROUND + 1; // from wherever it stands
	slice = slice_of(dp, k);
	cuts_end(dp, clock_ns());
	path_mtu_turn(dp, clock_ns(), false);
	sweep(dp, clock_ns(), k->cursor, slice);
	k->cursor = k->cursor + slice >= LOAD(dp->arena.sessions.high) ? 0 : k->cursor + slice;
}

void *keeper_main(void *arg)
{
	struct pcgdp *dp = arg;
	struct keeper k = {.hurry = HURRY};

	while (!LOAD(&dp->stop)) {
		struct timespec t = {.tv_nsec = EACH_MS * 1000000l};

		nanosleep(&t, NULL);
		turn(dp, &k);
	}
	return NULL;
}
