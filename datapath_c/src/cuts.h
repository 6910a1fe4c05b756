// SPDX-License-Identifier: Apache-2.0
// cuts.h - TCP sessions that are over, and whose ends shall be told.
//
// A RST counts only with the number that its receiver expects (RFC 9293 section 3.10.7.4), and of a
// silent session nobody here knows it. So each end is sent an ACK, in the other's name, whose number
// is out of its window: it must answer with an ACK that says what it expects and what it will send
// next. By that answer both are reset, and by any other packet that comes first. Meanwhile the session
// forwards nothing. Who has not answered CUT_NS after it was asked is gone, or will be reset as a stranger.
//
// A ring in order of time: housekeeping adds, worker 0 asks a few between two looks at its ports, so that
// forwarding goes on beside it, housekeeping ends. Bounded: CUTS_MAX at a time, as many as one walk decides.
// What more is to end waits for room, marked to be decided again (MARK_LATE), and forwards nothing either.
#pragma once

#include "base.h"

enum { CUTS_MAX = 1 << 17 };

struct cut {
	uint64_t due_ns; // once it was asked
	uint32_t session;
	uint32_t whose; // of its key: the place may have another session by then
};

struct cuts {
	uint32_t lock;
	uint32_t added, asked, ended; // ever; at their place modulo CUTS_MAX
	uint64_t late, unheard; // sessions that waited for room; that nobody of answered
	struct cut *at;
};

enum cuts_said { CUTS_TAKEN, CUTS_SILENT, CUTS_FULL }; // SILENT: there is nothing to tell, it shall end at once

struct pcgdp;
struct worker;

int cuts_open(struct cuts *c);
// Housekeeping. `mark`: MARK_CUT or MARK_IDLE. FULL: it has been marked MARK_LATE.
enum cuts_said cuts_add(struct pcgdp *dp, uint32_t session, uint8_t mark);
void cuts_end(struct pcgdp *dp, uint64_t now_ns); // those that have waited for long enough
uint32_t cuts_ask(struct worker *w); // a worker, with a policy, outside of a burst; packets made

INLINE uint32_t cuts_waiting(const struct cuts *c)
{
	return LOAD(&c->added) - LOAD(&c->asked);
}

INLINE bool cuts_room(const struct cuts *c)
{
	return LOAD(&c->added) - LOAD(&c->ended) < CUTS_MAX;
}
