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
