// SPDX-License-Identifier: Apache-2.0
// config.h - policy, as one immutable whole: segments, public addresses, routes, NAT, firewall.
//
// Built aside by policy.c, published by one pointer, freed when every worker has been quiescent.
// A worker reads the pointer once a burst, so all packets of a burst see one policy.
#pragma once

#include "classify.h"
#include "hash.h"
#include "lpm.h"
#include "places.h"

enum { VRFS_MAX = 1 << 20 };

struct vrf {
	struct pcgdp_vrfs rec;
	bool used;
	struct lpm routes;
	// Of the rules' indices. REFLEXIVE stands in both: as it is in `snat`, and once per address of
	// its pool in `dnat`, as what comes back.
	struct classifier dnat, snat, fw_in, fw_out;
	bool apart; // fw_out tells public addresses apart
};

struct segment {
	struct pcgdp_segments rec;
	uint32_t counter; // place in the workers' counters; the same VNI keeps it over commits
};

// A small open-addressing map from a 32-bit word to an index; at most half full.
struct wordmap {
	struct word {
		uint32_t key, value_plus_1;
	} *at;
	uint32_t mask;
};

struct public_address {
	struct pcgdp_publics rec;
	uint64_t *reserved; // 65,536 bits: ports that DNAT rules have promised; NULL: none
};

// Which sources a SNAT rule translates: its records have the rest in common, and 4,096 of them may be one rule.
struct rule_sources {
	uint32_t *at;     // places of indices of SNAT records + 1; 0: none
	uint32_t mask;
	uint64_t lengths; // of their prefixes, a bit each
};

struct config {
	struct pcgdp_local local;
	uint64_t revision;
	uint64_t serial; // one for each policy ever published

	struct vrf *vrfs; // by index
	uint32_t n_vrfs;  // highest index + 1
	struct segment *segments;
	uint32_t n_segments;
	struct public_address *publics; // in order of put
	uint32_t n_publics;
	struct pcgdp_routes *routes;
	uint32_t n_routes;
	struct pcgdp_nat *nat;
	uint32_t n_nat;
	struct pcgdp_firewall *fw;
	uint32_t n_fw;
	struct pcgdp_groups *groups;
	uint32_t n_groups;
	struct pcgdp_members *members;
	uint32_t n_members;

	struct wordmap by_vni;       // -> segments
	struct wordmap by_secondary; // -> publics
	struct wordmap by_elastic;   // -> publics
	struct wordmap by_public;    // index of a public -> publics
	struct rule_sources sources;
	struct lpm routed;           // prefixes of `routed` segments -> segments
	uint32_t n_routed;
	bool has_local;
};

// Every bit of the key reaches the low bits: addresses in network order differ in their high ones.
INLINE uint32_t word_hash(uint32_t x)
{
	x = (x ^ x >> 16) * 0x85ebca6bu;
	x = (x ^ x >> 13) * 0xc2b2ae35u;
	return x ^ x >> 16;
}

INLINE uint32_t wordmap_find(const struct wordmap *m, uint32_t key)
{
	if (!m->at)
		return NONE;
	for (uint32_t i = word_hash(key) & m->mask;; i = (i + 1) & m->mask) {
		if (!m->at[i].value_plus_1)
			return NONE;
		if (m->at[i].key == key)
			return m->at[i].value_plus_1 - 1;
	}
}

INLINE const struct segment *segment_of_vni(const struct config *c, uint32_t vni)
{
	uint32_t i = wordmap_find(&c->by_vni, vni);

	return i == NONE ? NULL : &c->segments[i];
}

INLINE const struct public_address *public_of_secondary(const struct config *c, be32 address)
{
	uint32_t i = wordmap_find(&c->by_secondary, address);

	return i == NONE ? NULL : &c->publics[i];
}

INLINE const struct public_address *public_of_elastic(const struct config *c, be32 address)
{
	uint32_t i = wordmap_find(&c->by_elastic, address);

	return i == NONE ? NULL : &c->publics[i];
}

INLINE const struct public_address *public_of_index(const struct config *c, uint32_t index)
{
	uint32_t i = wordmap_find(&c->by_public, index);

	return i == NONE ? NULL : &c->publics[i];
}

INLINE const struct vrf *vrf_of(const struct config *c, uint32_t index)
{
	return index < c->n_vrfs && c->vrfs[index].used ? &c->vrfs[index] : NULL;
}

INLINE const struct pcgdp_routes *route_find(const struct config *c, const struct vrf *v, be32 dst)
{
	uint32_t i = lpm_find(&v->routes, dst);

	return i == NONE ? NULL : &c->routes[i];
}

// The VRF that owns a destination on the uplink: by a secondary address, or by a `routed` segment.
INLINE bool uplink_owner(const struct config *c, be32 dst, uint32_t *vrf)
{
	const struct public_address *pub = public_of_secondary(c, dst);
	uint32_t seg;

	if (pub) {
		*vrf = pub->rec.vrf;
		return true;
	}
	seg = c->n_routed ? lpm_find(&c->routed, dst) : NONE;
	if (seg == NONE)
		return false;
	*vrf = c->segments[seg].rec.vrf;
	return true;
}

INLINE bool public_either(const struct config *c, be32 address)
{
	return public_of_elastic(c, address) || public_of_secondary(c, address);
}

// Does nobody send from this address on the uplink, to what that VRF owns? It is a public address of ours,
// of any VRF (whose packets are turned round inside), or the VRF itself routes it to a segment.
INLINE bool never_by_uplink(const struct config *c, uint32_t vrf, be32 src)
{
	const struct vrf *v = vrf_of(c, vrf);
	const struct pcgdp_routes *r = v ? route_find(c, v, src) : NULL;

	return (r && r->kind == PCGDP_VIA_SEGMENT) || public_either(c, src);
}

INLINE bool same_source(const struct pcgdp_nat *r, uint32_t nat_id, be32 src, uint32_t len)
{
	return r->id == nat_id && r->match.src_be == src && r->match.src_len == len;
}

// A record of SNAT rule `nat_id` whose source has this address in it, or NULL.
INLINE const struct pcgdp_nat *snat_of_source(const struct config *c, uint32_t nat_id, be32 src)
{
	const struct rule_sources *s = &c->sources;

	for (uint64_t left = s->lengths; left; left &= left - 1) {
		uint32_t len = (uint32_t)__builtin_ctzll(left), i;
		be32 prefix = src & mask_be(len);

		for (i = places_hash(prefix, nat_id, len) & s->mask; s->at[i]; i = (i + 1) & s->mask)
			if (same_source(&c->nat[s->at[i] - 1], nat_id, prefix, len))
				return &c->nat[s->at[i] - 1];
	}
	return NULL;
}

// One that is no public address: it is of a `routed` segment of its VRF, or the flow's own and a NO_SNAT rule
// exempts it.
bool source_exempt(const struct config *c, const union key *k, be32 src);

// May this source leave by the uplink? `k`: its flow, as its sender says it; of what the gateway itself has
// to say no more than the VRF.
INLINE bool source_may_leave(const struct config *c, const union key *k, be32 src)
{
	const struct public_address *pub = public_of_secondary(c, src);

	return LIKELY(pub != NULL) ? pub->rec.vrf == k->domain_proto >> 9 : source_exempt(c, k, src);
}

struct config *config_new(void);
void config_free(struct config *c);
int config_put(struct config *c, uint32_t table, const void *records, uint32_t n, char *error, uint32_t error_len);
int config_build(struct config *c, char *error, uint32_t error_len); // the indices over what was put
uint32_t config_read(const struct config *c, uint32_t table, uint32_t from, void *records, uint32_t n);
size_t record_size(uint32_t table); // 0: no such table
