// SPDX-License-Identifier: Apache-2.0
// cuts.c - see cuts.h. Housekeeping adds and ends, one worker asks.

#include "cuts.h"

#include <stdlib.h>

#include "again.h"
#include "answer.h"
#include "dp.h"

#define CUT_NS 500000000ull // a round trip across the world, and half of the second within which all is over

enum { ASKED_AT_ONCE = BURST / 2, ENDED_AT_ONCE = 32 }; // asked: two packets each

int cuts_open(struct cuts *c)
{
	c->at = calloc(CUTS_MAX, sizeof(*c->at)); // takes no memory before it is used
	return c->at ? 0 : -ENOMEM;
}

static uint32_t whose(const union key *k)
{
	return (uint32_t)(k->q[0] ^ k->q[0] >> 32 ^ k->q[1] ^ k->q[1] >> 32);
}

// It has not been ended by a packet since.
static bool still(const struct session_table *t, const struct cut *c)
{
	const struct entry *fwd = &t->e[2 * c->session];

	return LOAD(&t->cold[c->session].state) == S_LIVE && fwd->mark >= MARK_CUT && whose(&fwd->key) == c->whose;
}

enum cuts_said cuts_add(struct pcgdp *dp, uint32_t s, uint8_t mark)
{
	const struct session_table *t = &dp->arena.sessions;
	struct entry *fwd = &t->e[2 * s];
	struct cuts *c = &dp->cuts;
	bool room;

	if (session_tcp_state(t, s) != PCGDP_TCP_ESTABLISHED)
		return CUTS_SILENT;
	spin_lock(&c->lock);
	room = cuts_room(c);
	if (room) {
		c->at[c->added % CUTS_MAX] = (struct cut){.session = s, .whose = whose(&fwd->key)};
		fwd[0].mark = fwd[1].mark = mark;
		STORE(&c->added, c->added + 1);
	} else if (fwd->mark != MARK_LATE) {
		fwd[0].mark = fwd[1].mark = MARK_LATE;
		c->late++;
	}
	spin_unlock(&c->lock);
	return room ? CUTS_TAKEN : CUTS_FULL;
}

// They were asked in the order in which they lie. One that a packet has ended makes room at once, unless it
// lies behind one that is waited for. A few at a time: the worker that asks waits for the lock.
static bool end_some(struct pcgdp *dp, uint64_t now_ns)
{
	struct cuts *c = &dp->cuts;
	uint32_t n = 0;

	spin_lock(&c->lock);
	for (; n < ENDED_AT_ONCE && c->ended != c->asked; n++) {
		const struct cut *at = &c->at[c->ended % CUTS_MAX];
		bool there = still(&dp->arena.sessions, at);

		if (there && at->due_ns > now_ns)
			break;
		c->unheard += there && again_end(&dp->arena, at->session);
		STORE(&c->ended, c->ended + 1);
	}
	spin_unlock(&c->lock);
	return n == ENDED_AT_ONCE;
}

void cuts_end(struct pcgdp *dp, uint64_t now_ns)
{
	while (end_some(dp, now_ns))
		;
}

static uint32_t take(struct cuts *c, struct cut *taken, uint32_t n, uint64_t now_ns)
{
	uint32_t got = 0;

	spin_lock(&c->lock);
	for (; c->asked != c->added && got < n; got++) {
		struct cut *at = &c->at[c->asked % CUTS_MAX];

		at->due_ns = now_ns + CUT_NS;
		taken[got] = *at;
		STORE(&c->asked, c->asked + 1);
	}
	spin_unlock(&c->lock);
	return got;
}

uint32_t cuts_ask(struct worker *w)
{
	const struct session_table *t = &w->dp->arena.sessions;
	struct cut taken[ASKED_AT_ONCE];
	uint32_t n = take(&w->dp->cuts, taken, ASKED_AT_ONCE, w->now_ns);

	for (uint32_t i = 0; i < n; i++) {
		const struct entry *fwd = &t->e[2 * taken[i].session], *rev = fwd + 1;

		if (!still(t, &taken[i]))
			continue;
		tcp_ask(w, fwd, rev, taken[i].session);
		tcp_ask(w, rev, fwd, taken[i].session);
	}
	send_made(w);
	return 2 * n;
}
