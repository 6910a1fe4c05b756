// SPDX-License-Identifier: Apache-2.0
// find.h - TEPs and workload ports by their keys, for loops that ask early and look later.
#pragma once

#include "arena.h"
#include "config.h"

struct table_query { // context of the indices' comparisons
	const struct arena *a;
	uint32_t vrf;
	be32 address;
};

INLINE uint64_t hash_pair(const struct arena *a, uint32_t x, uint32_t y)
{
	union key k = {.src = x, .dst = y};

	return hash_key(&a->head->secret, &k);
}

static inline bool port_is(const void *query, uint32_t port)
{
	const struct table_query *q = query;

	return q->a->ports[port].rec.vrf == q->vrf && q->a->ports[port].rec.address_be == q->address;
}

static inline bool tep_is(const void *query, uint32_t tep)
{
	const struct table_query *q = query;

	return q->a->teps[tep].rec.address_be == q->address;
}

// hash: hash_pair(a, vrf, address). NONE: there is none.
INLINE uint32_t port_find_hashed(const struct arena *a, uint64_t hash, uint32_t vrf, be32 address)
{
	struct table_query q = {a, vrf, address};

	return sigtab_find(&a->port_index, hash, port_is, &q);
}

// The first port that may be it: whoever takes it looks at its key. NONE: there is none.
INLINE uint32_t port_candidate(const struct arena *a, uint64_t hash)
{
	const struct bucket *b = bucket_of(&a->port_index, hash);
	unsigned m = sig_match(b, sig_of(hash));

	return m ? PEEK(&b->idx[__builtin_ctz(m)]) : NONE;
}

// May what comes from this TEP, on this VNI, have the port as its source? On a transit any port of
// the TEP, on a segment's own VNI one of that segment.
INLINE bool source_fits(const struct port *port, be32 outer_src, uint32_t vni, bool transit)
{
	return port->rec.tep_be == outer_src && (transit || port->rec.vni == vni);
}

// Does the VRF route this destination to a segment?
INLINE bool routed_to_segment(const struct config *c, uint32_t vrf, be32 dst)
{
	const struct vrf *v = vrf_of(c, vrf);
	const struct pcgdp_routes *r = v ? route_find(c, v, dst) : NULL;

	return r && r->kind == PCGDP_VIA_SEGMENT;
}
