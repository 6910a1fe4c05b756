// SPDX-License-Identifier: Apache-2.0
// lpm.h - longest prefix match: a trie of 8 bits a level, 1 KiB a node, built aside and never changed.
//
// At most four dependent loads; the prefixes in use share nodes that stay in the cache. A value
// sits in every place its prefix covers, so there is no walking back.
#pragma once

#include "base.h"

struct lpm_node {
	uint32_t at[256]; // 0: nothing; LPM_CHILD | node; else value + 1
};

#define LPM_CHILD 0x80000000u

struct lpm {
	struct lpm_node *nodes;
	uint32_t n, room;
};

int lpm_init(struct lpm *t);
void lpm_free(struct lpm *t);
// Prefixes must be inserted from short to long. value below 2^31 - 1. 0 or -ENOMEM
int lpm_insert(struct lpm *t, be32 prefix, unsigned len, uint32_t value);

INLINE uint32_t lpm_find(const struct lpm *t, be32 address)
{
	uint32_t a = ntohl(address), node = 0;

	for (int shift = 24; shift >= 0; shift -= 8) {
		uint32_t v = t->nodes[node].at[a >> shift & 0xff];

		if (!(v & LPM_CHILD))
			return v ? v - 1 : NONE;
		node = v & ~LPM_CHILD;
	}
	return NONE; // not reached: the last level holds no children
}
