// SPDX-License-Identifier: Apache-2.0
// successor.h - a session that goes on by another way, or in another rule's name: nothing but marks is
// written in place, so another takes its place, with its keys, its translation and its mapping.
#pragma once

#include "decide.h"
#include "worker.h"

// By a packet of session p->number / 2, of which decision d has been made again (AGAIN_OTHER). The entry to use:
// the successor's, or, when it cannot be had, the session's own. NULL: somebody else has ended it.
struct entry *successor_make(struct worker *w, struct pkt *p, const struct decision *d);
