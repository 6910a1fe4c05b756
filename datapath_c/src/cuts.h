// SPDX-License-Identifier: Apache-2.0
// cuts.h - TCP sessions that are over, and whose ends shall be told.
//
// A RST counts only with the number that its receiver expects (RFC 9293 section 3.10.7.4), and of a
// silent session nobody here knows it. So each end is sent an ACK, in the other's name, whose number
// is out of its window: it must answer with an ACK that says what it expects and what it will send
// next. By that answer both are reset, and by any other packet that comes first. Meanwhile the session
// forwards nothing. Who has not answered after CUT_NS is gone, or will be reset as a stranger.
//
// Bounded: CUTS_MAX at a time. One more ends at once: the workload learns it when it speaks (icmp.c,
// tcp_reset), the end beyond the uplink hears nothing, as any stranger there (RFC 5382 REQ-4).
#pragma once

#include "base.h"

enum { CUTS_MAX = 256 };

struct cut {
	uint64_t due_ns;
	uint32_t session;
	bool told;
};

struct cuts {
	uint32_t lock, n, untold;
	struct cut at[CUTS_MAX];
};

struct pcgdp;
struct worker;

// Housekeeping. `mark`: MARK_CUT or MARK_IDLE. false: it shall end at once, there is nothing to tell or no room.
bool cuts_add(struct pcgdp *dp, uint32_t session, uint8_t mark, uint64_t now_ns);
void cuts_end(struct pcgdp *dp, uint64_t now_ns); // those that have waited for long enough
void cuts_tell(struct worker *w); // a worker, with a policy, outside of a burst
