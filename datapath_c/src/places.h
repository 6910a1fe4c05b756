// SPDX-License-Identifier: Apache-2.0
// places.h - hashed places, half empty at least. Those of a tuple (of rules: classify.h; of touches:
// touch.h) are a part of an array that all tuples share.
#pragma once

#include "hash.h"

// How many places n things need: a power of two, at least 2.
INLINE uint32_t places_for(uint32_t n)
{
	uint32_t size = 2;

	while (size < 2 * n)
		size <<= 1;
	return size;
}

struct places {
	uint32_t n, mask, first; // things; of their places in the array
};

// For p->n things, from `at` on. Returns where the next ones begin.
INLINE uint32_t places_lay(struct places *p, uint32_t at)
{
	p->mask = places_for(p->n) - 1;
	p->first = at;
	return at + p->mask + 1;
}

// Where to look for two masked addresses, and what else they go with; then one place on.
INLINE uint32_t places_hash(be32 src, be32 dst, uint32_t what)
{
	return (uint32_t)(mul_fold((uint64_t)src << 32 | dst, 0x9e3779b97f4a7c15ull + what) >> 7);
}

INLINE uint32_t places_at(const struct places *p, uint32_t hash)
{
	return p->first + (hash & p->mask);
}
