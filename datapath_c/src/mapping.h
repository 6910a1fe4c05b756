// SPDX-License-Identifier: Apache-2.0
// mapping.h - RFC 4787 mappings: an inside endpoint keeps its outside endpoint.
//
// Sessions of one inside endpoint (domain, address, port, protocol) under one rule share a mapping,
// whatever they talk to: endpoint-independent mapping (RFC 4787 REQ-1, RFC 5382 REQ-1). A packet from
// outside to the outside endpoint that belongs to no session is let in when its sender is an
// address that was contacted before: address-dependent filtering (REQ-8). A mapping lives as long
// as a session uses it; its port goes back to the public address with it.
//
// Inserting is find-or-insert under the bucket's lock, since two workers may open sessions from
// one inside endpoint at once. A mapping whose count has fallen to 0 is dead: nobody may raise it
// again (the count moves from 0 only by the thread that made the record).
//
// A record is three quarters of a line: with its two places in the indices and its session's cold
// record it stays below 100 bytes.
#pragma once

#include "sigtab.h"

enum { CONTACTS = 5 };

struct mapping {
	be32 src;              // inside endpoint
	be16 sport;
	uint16_t nat_id;       // part of the inside key, so that rules do not share mappings
	uint32_t domain_proto;
	be32 out_addr;         // the public address's secondary
	be16 out_port;
	uint16_t public_index;
	uint32_t sessions;     // 0: free or dying
	union {
		be32 contacted[CONTACTS]; // the latest; older ones fall out
		uint32_t next_free;
	};
	uint32_t next_contact : 8;
	uint32_t port : 24;    // of the workload that it counts for (fair.h)
} __attribute__((aligned(16)));

_Static_assert(sizeof(struct mapping) == 48, "four in three lines");

struct mapping_table {
	struct mapping *m;
	struct sigtab by_in, by_out;
	uint32_t n;
	const struct secret *secret;
	uint32_t *free_head, *lock, *high, *live;
};

INLINE union key mapping_in_key(be32 src, be16 sport, uint32_t domain_proto, uint32_t nat_id)
{
	return (union key){.src = src, .dst = htonl(nat_id), .sport = sport, .dport = 0, .domain_proto = domain_proto};
}

union key mapping_out_key(be32 addr, be16 port, uint8_t proto);
uint32_t mapping_find_in(const struct mapping_table *t, const union key *in, uint64_t hash);
uint32_t mapping_find_out(const struct mapping_table *t, be32 addr, be16 port, uint8_t proto);
bool mapping_hold(struct mapping_table *t, uint32_t m); // one more session; false: it is dying
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
void mapping_contact(struct mapping *m, be32 remote);
void mapping_forget(struct mapping *m, be32 remote); // as if it had never been contacted
bool mapping_contacted(const struct mapping *m, be32 remote);
