// SPDX-License-Identifier: Apache-2.0
// outside.h - the outside endpoint of a session to be: what its rule says, or a mapping's.
#pragma once

#include "install.h"

struct outside {
	uint32_t mapping; // NONE: none
	be32 addr;        // as given, unless a mapping says otherwise
	be16 port;
};

// Draws the number that a new mapping's port would come from, and asks for the lines that it would
// be written to. Returns that port; it may turn out to be taken.
be16 outside_ahead(struct worker *w, struct making *mk);
// Holds the mapping for one session. 0; or *reason, and out->mapping, if it is not NONE, must be released
// all the same: -EADDRINUSE, another port may do; else -1.
int outside_take(struct worker *w, struct making *mk, struct stock *st, struct outside *out, enum reason *reason);
// For explain: as what the session would leave, though the port is one of many; or why it would not.
enum reason outside_dry(struct worker *w, struct making *mk, struct outside *out);
