// SPDX-License-Identifier: Apache-2.0
// arena.h - the memory that outlives the process.
//
// One mapping, of a file on a tmpfs or hugetlbfs (or anonymous), holds everything that existing
// traffic needs: sessions, mappings, workload ports, TEPs, next hops, adjacencies, the hash
// secret. All references in it are indices, so a new process attaches wherever it maps. Policy
// (rules, routes, segments) is not in it: after a start nothing is forwarded before somebody has
// said what is allowed.
#pragma once

#include "adjacency.h"
#include "mapping.h"
#include "session.h"

enum { TEPS_MAX = 65536, NEXTHOPS_MAX = 1024 };

struct tep {
	struct pcgdp_teps rec;
	uint32_t live;
	uint32_t next_free;
} __attribute__((aligned(32)));

struct port {
	struct pcgdp_ports rec;
	uint32_t live;
	uint32_t next_free;
	uint32_t dead_round; // sweep round it was removed in; see limbo_over()
	uint32_t sessions, mappings; // that count for it; here and below: fair.h
	uint32_t refused, refused_s, refused_public;
	uint16_t refused_nat;
	uint8_t refused_reason;
} __attribute__((aligned(LINE)));

struct nexthop {
	struct pcgdp_nexthops rec;
	uint32_t live;
	uint32_t next_free;
} __attribute__((aligned(8)));

struct arena_head {
	uint64_t magic;
	uint32_t layout;
	uint32_t complete; // 1: initialised to the end; else a crash left it half made
	struct pcgdp_params params; // sizes only; a process with other sizes starts fresh
	struct secret secret;
	uint64_t born_ns;
	uint32_t sessions_free, sessions_lock, sessions_high, sessions_live;
	uint32_t mappings_free, mappings_lock, mappings_high, mappings_live, mappings_further;
	uint32_t adjs_free, adjs_high;
	uint32_t ports_high, ports_live;
	uint32_t teps_high, teps_live;
	uint32_t nexthops_high;
	uint64_t changes;
} __attribute__((aligned(LINE)));

struct arena {
	struct arena_head *head;
	size_t bytes;
	bool attached; // it held a previous process's sessions

	struct session_table sessions;
	struct mapping_table mappings;
	struct adj_table adjs;

	struct tep *teps;
	struct sigtab tep_index; // by address
	struct port *ports;
	struct sigtab port_index; // by vrf, address
	uint32_t limbo_first, limbo_last; // removed ports, oldest first; NONE: none
	struct nexthop *nexthops;
};

int arena_open(struct arena *a, const struct pcgdp_params *params, char *error, uint32_t error_len);
void arena_close(struct arena *a);

// Slot 0 is none; workload port i has slot i + 1; next hop j the ones behind.
INLINE uint32_t port_slot(uint32_t port)
{
	return port + 1;
}

INLINE uint32_t nexthop_slot(const struct arena *a, uint32_t nexthop)
{
	return a->head->params.ports + 1 + nexthop;
}
