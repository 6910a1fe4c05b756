// SPDX-License-Identifier: Apache-2.0
// install.h - from a decision to a session that packets can use.
//
// In two steps, so that a burst's first packets wait for memory together: install_ahead() asks for
// the lines that a session will be written to, as far as they can be known, session_install()
// writes. Between them the burst takes as many free records as it may need, at once.
#pragma once

#include "decide.h"
#include "worker.h"

struct making { // a session on its way
	struct pkt *p;
	union key k;       // its forward key
	uint64_t hash;     // of that
	struct decision d;
	uint64_t in_hash;  // of its mapping's inside endpoint, if it draws a port
	uint64_t random;   // what that port is drawn by
	uint32_t draws;    // ports that were drawn in vain
	be32 addr;         // foreseen: what it rewrites to, and the reply's key
	be16 port;
	union key reply;
	uint64_t reply_hash;
};

struct stock { // free records taken for a burst; what is left goes back at its end
	uint32_t n_sessions, n_mappings;
	uint32_t session[BURST], mapping[BURST];
};

// Of mappings: of whom a session's outside endpoint is, a new one or its peer may need one.
INLINE uint32_t records_wanted(const struct decision *d)
{
	return d->draw_port || d->mapping != NONE;
}

void stock_take(struct worker *w, struct stock *st, uint32_t sessions, uint32_t mappings);
// For the lines of the record that comes `ahead` after the next. A few at a time: of more lines than
// the core can wait for some are lost.
void stock_ask(const struct worker *w, const struct stock *st, uint32_t ahead);
void stock_give(struct worker *w, const struct stock *st);
void install_ahead(struct worker *w, struct making *mk);
// The entry that the packet uses, or NULL with p->reason set.
struct entry *session_install(struct worker *w, struct making *mk, struct stock *st);
void cold_fill(struct cold *c, const struct decision *d, uint32_t mapping, uint32_t made_s);
// Translated to `addr`, would it be from an address to itself, on the wire or to a workload? What is turned
// round inside may be: two workloads behind one address.
INLINE bool lands(const union key *k, const struct decision *d, be32 addr)
{
	bool uplink = k->domain_proto >> 8 & 1;

	return d->kind != KIND_PLAIN && d->slot != SLOT_HAIRPIN && addr == (uplink ? k->src : k->dst);
}
// What the other side answers to: `addr` and `port` are what the session rewrites to.
union key reply_key(const union key *k, bool translated, be32 addr, be16 port);
// May the packet's source send from this TEP, on this VNI?
bool source_ok(const struct arena *a, const struct pkt *p, uint32_t port);
