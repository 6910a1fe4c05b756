// SPDX-License-Identifier: Apache-2.0
// ring.h - bytes in a ring whose size is a power of two: `at` counts all that was ever written.
#pragma once

#include "base.h"

INLINE void ring_in(uint8_t *ring, uint32_t size, uint64_t at, const void *from, uint32_t n)
{
	uint32_t off = (uint32_t)at & (size - 1), first = MIN(n, size - off);

	memcpy(ring + off, from, first);
	memcpy(ring, (const uint8_t *)from + first, n - first);
}

INLINE void ring_out(const uint8_t *ring, uint32_t size, uint64_t at, void *to, uint32_t n)
{
	uint32_t off = (uint32_t)at & (size - 1), first = MIN(n, size - off);

	memcpy(to, ring + off, first);
	memcpy((uint8_t *)to + first, ring, n - first);
}

INLINE uint32_t padded(uint32_t n) // records stay aligned
{
	return (n + 7) & ~7u;
}

// ---- items in one piece: none goes across the ring's end ----

struct ring_item {
	uint32_t len;  // of its frame; 0: nothing up to the ring's end
	uint32_t size; // of all of it
};

INLINE void *ring_at(uint8_t *ring, uint32_t size, uint64_t at)
{
	return ring + (at & (size - 1));
}

// The writer's: room for an item of `bytes`, or NULL. What is left before the ring's end is passed over.
INLINE void *ring_room(uint8_t *ring, uint32_t size, uint64_t *head, const uint64_t *tail, uint32_t bytes)
{
	uint32_t to_end = size - ((uint32_t)*head & (size - 1)), skip = to_end < bytes ? to_end : 0;

	if (size - (*head - LOAD(tail)) < bytes + skip)
		return NULL;
	if (skip) {
		*(struct ring_item *)ring_at(ring, size, *head) = (struct ring_item){.size = skip};
		STORE(head, *head + skip);
	}
	return ring_at(ring, size, *head);
}
