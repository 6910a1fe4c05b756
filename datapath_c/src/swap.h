// SPDX-License-Identifier: Apache-2.0
// swap.h - replacing what a slot points to, and freeing the old once nobody holds it.
// Control thread only.
#pragma once

#include "dp.h"
#include "find.h"

enum { SWAPS_MAX = 4096 }; // adjacencies that wait for quiescence at once

struct swaps {
	uint32_t old[SWAPS_MAX], n;
};

void slot_swap(struct pcgdp *dp, struct swaps *s, uint32_t slot, struct slot to);
void swaps_flush(struct pcgdp *dp, struct swaps *s);
// Towards a port, in the name of `speaker`: a MAC, NULL: its segment's gateway.
void port_template(struct pcgdp *dp, const struct pcgdp_ports *r, const uint8_t *speaker, struct adj *adj);
void port_adjacency(struct pcgdp *dp, uint32_t port, struct swaps *s);
void nexthop_adjacency(struct pcgdp *dp, uint32_t nexthop, struct swaps *s);
// -ENOSPC, in words: which record of those that were given found no place.
int table_full(char *error, uint32_t error_len, const char *table, uint32_t record, be32 address, const char *why);
