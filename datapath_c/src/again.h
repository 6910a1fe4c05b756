// SPDX-License-Identifier: Apache-2.0
// again.h - sessions that live, decided again: what policy makes of them now.
#pragma once

#include "decide.h"
#include "worker.h"

enum { AGAIN_BATCH = 64 };

enum again {
	AGAIN_SAME,  // as it is
	AGAIN_WAITS, // where it leaves to is not known yet: it keeps its way until then
	AGAIN_OTHER, // the same addresses and ports by another way, or in another rule's name
	AGAIN_ENDS,
	AGAIN_STATELESS, // its packets go on without it, by a stateless rule: it ends, and nobody need know
};

// Asks for the lines that deciding these will read, before the first of them is decided.
void again_ask(const struct arena *a, const uint32_t *sessions, uint32_t n);
// Pure, as decide(). Who asks is among those that quiesce() waits for, or nothing ends beside it.
enum again again_judge(const struct config *c, const struct arena *a, uint32_t session, struct decision *d);
// It ends, and if none other lives with its peer, that one does not come back in by their mapping. false: it
// had ended before.
bool again_end(struct arena *a, uint32_t session);
// A packet of a marked session: the entry to use, or NULL: the session has ended, treat the packet as
// a first one.
struct entry *again_packet(struct worker *w, struct pkt *p, struct entry *e);
