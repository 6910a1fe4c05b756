// SPDX-License-Identifier: Apache-2.0
// recent.h - which flows were dropped lately: "this one N times, the last 2 s ago, by that rule".
//
// Beside the ledger, which knows kinds of drops: a table of each worker's own, written by it alone, of
// flows by addresses, protocol, destination's port, reason and rule; the source's port is the latest,
// or who tries again and again would be many. Its memory is all there is, so what enters takes the
// place of another:
//
//   who may enter   of each kind so many new flows in SAMPLE_NS; what is more is counted by its kind.
//                   A flood is known by a sample, and costs a look at its set of places
//   whose place     of its set, the kind's that has most places there: a flood takes its own places
//                   only, and what else was dropped stays to be read. Of that kind a flow that was met
//                   once before one that tries again, then the one that was silent longest
#pragma once

#include "pkt.h"

enum { RECENT_WAYS = 8, RECENT_SETS = PCGDP_RECENT_MAX / RECENT_WAYS, RECENT_NEW = 64 };

#define SAMPLE_NS 100000000ull
#define RECENT_KEEP_NS 60000000000ull // a flow that tries again is kept so long before one that does not

// What the ledger tells kinds apart by: rule << 32 | VNI of its segment << 8 | role << 7 | reason + 1
INLINE uint64_t kind_of(uint32_t rule, uint32_t vni, uint32_t role, uint32_t reason)
{
	return (uint64_t)rule << 32 | vni << 8 | role << 7 | (reason + 1u);
}

_Static_assert(N_REASONS < 127, "a reason has seven bits of a kind");

INLINE uint32_t kind_reason(uint64_t kind)
{
	return (kind & 127) - 1u;
}

INLINE uint32_t kind_role(uint64_t kind)
{
	return kind >> 7 & 1;
}

INLINE uint32_t kind_fw(uint64_t kind)
{
	return kind_reason(kind) == R_FIREWALL_DENIED ? (uint32_t)(kind >> 32) : 0;
}

INLINE uint32_t kind_nat(uint64_t kind)
{
	return kind_reason(kind) == R_FIREWALL_DENIED ? 0 : (uint32_t)(kind >> 32);
}

struct recent_flow {
	uint32_t seq; // odd while another flow moves in
	be32 outer_src;
	uint64_t kind;
	be32 src, dst;
	be16 sport, dport;
	uint32_t vrf;
	uint32_t vni_proto; // vni << 8 | protocol
	uint32_t length;
	uint64_t packets, first_ns, last_ns; // packets 0: free
};

struct recent_set {
	uint64_t tag[RECENT_WAYS]; // a keyed hash of all that makes the flow: 64 bits of it are the flow
	struct recent_flow flow[RECENT_WAYS];
};

struct recent {
	struct recent_set set[RECENT_SETS];
};

_Static_assert(sizeof(struct recent_flow) == LINE, "pcgdp.h says so");

struct recent_gate { // of one kind
	uint64_t since_ns;
	uint32_t entered;
};

struct recent_packet {
	uint64_t kind;
	const uint8_t *data;
	uint32_t len;
	uint32_t n; // packets like this one
};

// p NULL: a frame that was finished. False: its flow is new and may not enter.
bool recent_note(struct recent *t, const struct secret *secret, const struct pkt *p, const struct recent_packet *r, struct recent_gate *gate, uint64_t now_ns);

struct pcgdp;
uint32_t recent_read(const struct pcgdp *dp, uint32_t from, struct pcgdp_recent *out, uint32_t n);
