// SPDX-License-Identifier: Apache-2.0
// cuts.c - see cuts.h. Housekeeping adds and ends, one worker tells.

#include "cuts.h"

#include "again.h"
#include "answer.h"
#include "dp.h"

#define CUT_NS 500000000ull // a round trip across the world, and half of the second within which all is over

bool cuts_add(struct pcgdp *dp, uint32_t s, uint8_t mark, uint64_t now_ns)
{
	const struct session_table *t = &dp->arena.sessions;
	struct entry *fwd = &t->e[2 * s];
	struct cuts *c = &dp->cuts;
	bool room;

	if (session_tcp_state(t, s) != PCGDP_TCP_ESTABLISHED)
		return false;
	spin_lock(&c->lock);
	room = c->n < CUTS_MAX;
	if (room) {
		c->at[c->n++] = (struct cut){.due_ns = now_ns + CUT_NS, .session = s};
		fwd[0].mark = fwd[1].mark = mark;
		STORE(&c->untold, c->untold + 1);
	}
	spin_unlock(&c->lock);
	return room;
}

void cuts_end(struct pcgdp *dp, uint64_t now_ns)
{
	struct cuts *c = &dp->cuts;
	uint32_t kept = 0;

	if (!LOAD(&c->n))
		return;
	spin_lock(&c->lock);
	for (uint32_t i = 0; i < c->n; i++) {
		const struct cut at = c->at[i];

		if (at.due_ns > now_ns) {
			c->at[kept++] = at;
			continue;
		}
		STORE(&c->untold, c->untold - !at.told);
		if (dp->arena.sessions.e[2 * at.session].mark >= MARK_CUT) // else a packet has ended it, and the place has another
			again_end(&dp->arena, at.session);
	}
	STORE(&c->n, kept);
	spin_unlock(&c->lock);
}

static uint32_t take_untold(struct cuts *c, uint32_t *sessions, uint32_t n)
{
	uint32_t got = 0;

	spin_lock(&c->lock);
	for (uint32_t i = 0; i < c->n && got < n; i++) {
		if (c->at[i].told)
			continue;
		c->at[i].told = true;
		sessions[got++] = c->at[i].session;
	}
	STORE(&c->untold, c->untold - got);
	spin_unlock(&c->lock);
	return got;
}

void cuts_tell(struct worker *w)
{
	const struct session_table *t = &w->dp->arena.sessions;
	uint32_t sessions[BURST / 2], n = take_untold(&w->dp->cuts, sessions, BURST / 2);

	for (uint32_t i = 0; i < n; i++) {
		const struct entry *fwd = &t->e[2 * sessions[i]], *rev = fwd + 1;

		if (LOAD(&t->cold[sessions[i]].state) != S_LIVE || fwd->mark < MARK_CUT)
			continue;
		tcp_ask(w, fwd, rev, sessions[i]);
		tcp_ask(w, rev, fwd, sessions[i]);
	}
	send_made(w);
}
