// SPDX-License-Identifier: Apache-2.0
// outside.h - the outside endpoint of a session to be: what its rule says, or a mapping's.
#pragma once

#include "dp.h"
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

// Publishes session s: from before its packets can be answered until it ends it holds its mapping open to its
// peer. 0; -ENFILE: there is no record for the peer; or as session_publish()
INLINE int outside_publish(struct worker *w, const struct making *mk, struct stock *st, uint32_t s, uint32_t *there)
{
	struct arena *a = &w->dp->arena;
	struct mapping_table *t = &a->mappings;
	uint32_t m = a->sessions.cold[s].mapping;
	be32 peer = peer_of(&mk->k);
	int rc = m == NONE ? 0 : mapping_open_to(t, m, peer, st->n_mappings ? st->mapping[st->n_mappings - 1] : NONE);

	if (rc < 0)
		return -ENFILE;
	st->n_mappings -= (uint32_t)rc;
	rc = session_publish(&a->sessions, s, mk->hash, mk->reply_hash, there);
	if (rc && m != NONE)
		mapping_close_to(t, m, peer);
	return rc;
}
