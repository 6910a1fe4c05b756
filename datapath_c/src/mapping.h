// SPDX-License-Identifier: Apache-2.0
// mapping.h - RFC 4787 mappings: an inside endpoint keeps its outside endpoint.
//
// Sessions of one inside endpoint (domain, address, port, protocol) under one rule share a mapping,
// whatever they talk to: endpoint-independent mapping (RFC 4787 REQ-1, RFC 5382 REQ-1). A packet from
// outside to the outside endpoint that belongs to no session is let in when a session of the mapping
// with its sender's address lives: address-dependent filtering (REQ-8). A mapping lives as long as a
// session uses it; its port goes back to the public address with it.
//
// How many sessions live with the peer that it was made for stands in the mapping itself. Each
// further peer has a record of its own among the mappings, found by the outside endpoint and the
// peer's address: most mappings have none, and there is no bound but the table's.
//
// Inserting is find-or-insert under the bucket's lock, since two workers may open sessions from
// one inside endpoint at once. A record whose count has fallen to 0 is dead: nobody may raise it
// again (the count moves from 0 only by the thread that made the record). It serves again after
// quiescence, since a reader may still stand on it.
#pragma once

#include "sigtab.h"

struct mapping {
	be32 src;              // inside endpoint; none of a further peer
	be16 sport;
	uint16_t nat_id;       // part of the inside key, so that rules do not share mappings
	uint32_t domain_proto;
	be32 out_addr;         // the public address's secondary
	be16 out_port;
	uint16_t public_index;
	be32 peer;             // whom it was made for, or the further peer
	uint32_t sessions;     // of a further peer only those that live; 0: free or dying
	union {
		uint32_t open;     // of a mapping: sessions with `peer` that live
		uint32_t next_free;
	};
	uint32_t further : 1;  // this is a further peer of another record
	uint32_t port : 24;    // of the workload that it counts for (fair.h)
};

_Static_assert(sizeof(struct mapping) == 36, "with its indices and a cold record below 100 bytes");

struct mapping_table {
	struct mapping *m;
	struct sigtab by_in, by_out;
	uint32_t n;
	const struct secret *secret;
	uint32_t *free_head, *lock, *high, *live, *further; // `live` has those, too
	uint32_t limbo; // further peers that nobody finds any more; NONE: none
};

INLINE union key mapping_in_key(be32 src, be16 sport, uint32_t domain_proto, uint32_t nat_id)
{
	return (union key){.src = src, .dst = htonl(nat_id), .sport = sport, .dport = 0, .domain_proto = domain_proto};
}

union key mapping_out_key(be32 addr, be16 port, uint8_t proto);
uint32_t mapping_find_in(const struct mapping_table *t, const union key *in, uint64_t hash);
uint32_t mapping_find_out(const struct mapping_table *t, be32 addr, be16 port, uint8_t proto);
bool mapping_hold(struct mapping_table *t, uint32_t m); // one more session; false: it is dying
bool mapping_unhold(struct mapping_table *t, uint32_t m); // one less; false: it is the last, which is released
// Up to n free records, of which there may be fewer.
uint32_t mapping_take(struct mapping_table *t, uint32_t *numbers, uint32_t n);
// After quiescence, or never published.
void mapping_give(struct mapping_table *t, const uint32_t *numbers, uint32_t n);
// Publish a filled record that holds one session; `hash` is of its inside key. 0; -EEXIST: *there
// has the inside key; -ENOSPC; or not to be found any more, but somebody may have, so to be released, not
// given back: -EADDRINUSE: the outside endpoint is another's; -EXFULL: the index is full
int mapping_publish(struct mapping_table *t, uint32_t m, uint64_t hash, uint32_t *there);
bool mapping_release(struct mapping_table *t, uint32_t m); // true: that was the last; unlinked, to be freed
// Its inside endpoint may be mapped anew beside it; it lives on for the sessions that use it.
void mapping_retire(struct mapping_table *t, uint32_t m);
int mapping_open_to_further(struct mapping_table *t, const struct mapping *m, be32 peer, uint32_t spare);
// A session with this peer is about to live, and no longer lives: meanwhile the peer may come in from its other
// ports. The caller holds the mapping. 0; 1: the peer has taken the record `spare`; -ENOSPC: it would have to,
// and that is NONE, or the index is full
static inline int mapping_open_to(struct mapping_table *t, uint32_t m, be32 peer, uint32_t spare)
{
	struct mapping *r = &t->m[m];

	if (UNLIKELY(r->peer != peer))
		return mapping_open_to_further(t, r, peer, spare);
	__atomic_fetch_add(&r->open, 1, __ATOMIC_ACQ_REL);
	return 0;
}

void mapping_close_to(struct mapping_table *t, uint32_t m, be32 peer);
bool mapping_may_open_to(const struct mapping_table *t, uint32_t m, be32 peer); // for explain
uint32_t mapping_open_sessions(const struct mapping_table *t, uint32_t m, be32 peer);
// Those of further peers in limbo, as a list; to be given back after quiescence.
uint32_t mapping_limbo_take(struct mapping_table *t);
void mapping_limbo_give(struct mapping_table *t, uint32_t list);
