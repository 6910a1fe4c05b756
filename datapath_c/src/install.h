// SPDX-License-Identifier: Apache-2.0
// install.h - from a decision to a session that packets can use.
#pragma once

#include "decide.h"
#include "worker.h"

// The entry that packet p uses, or NULL with p->reason set. `old`: a session whose translation
// goes on (its route changed), NONE: none.
struct entry *session_install(struct worker *w, struct pkt *p, const union key *fwd_key, const struct decision *d, uint32_t old);
// May the packet's source send from this TEP, on this VNI?
bool source_ok(const struct arena *a, const struct pkt *p, uint32_t port);
