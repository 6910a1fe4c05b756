// SPDX-License-Identifier: Apache-2.0
// csum.h - the Internet checksum (RFC 1071) and its incremental form (RFC 1624).
//
// Sums are kept unfolded in uint32_t or uint64_t and are in memory order: adding a big-endian
// word as it lies in memory is right on any host (RFC 1071 section 2(B)).
#pragma once

#include "base.h"

// The upper half of x + (x rotated by half) is both halves added with the carry brought round.
INLINE uint32_t csum_fold32(uint64_t s)
{
	return (uint32_t)((s + (s << 32 | s >> 32)) >> 32);
}

INLINE uint16_t csum_fold(uint64_t s)
{
	uint32_t x = csum_fold32(s);

	return (uint16_t)((x + (x << 16 | x >> 16)) >> 16);
}

INLINE uint64_t csum_add_8(uint64_t sum, uint64_t x)
{
	sum += x;
	return sum + (sum < x);
}

// 32 bytes more, the carry brought round. The compiler makes ten instructions of each 8 bytes of
// the portable form; this is one.
INLINE uint64_t csum_add_32(uint64_t sum, const uint8_t *p)
{
#ifdef __x86_64__
	__asm__("addq 0(%1), %0\n\t"
		"adcq 8(%1), %0\n\t"
		"adcq 16(%1), %0\n\t"
		"adcq 24(%1), %0\n\t"
		"adcq $0, %0"
		: "+r"(sum)
		: "r"(p), "m"(*(const uint8_t(*)[32])p)
		: "cc");
	return sum;
#else
	for (uint32_t i = 0; i < 32; i += 8)
		sum = csum_add_8(sum, rd64(p + i));
	return sum;
#endif
}

// 16 bytes more, the carry brought round.
INLINE uint64_t csum_add_16(uint64_t sum, const uint8_t *p)
{
#ifdef __x86_64__
	__asm__("addq 0(%1), %0\n\t"
		"adcq 8(%1), %0\n\t"
		"adcq $0, %0"
		: "+r"(sum)
		: "r"(p), "m"(*(const uint8_t(*)[16])p)
		: "cc");
	return sum;
#else
	return csum_add_8(csum_add_8(sum, rd64(p)), rd64(p + 8));
#endif
}

// Sum of any number of bytes; an odd last byte is padded with zero. The result is below 2^33.
static inline uint64_t csum_add_bytes(uint64_t sum, const uint8_t *p, uint32_t len)
{
	uint64_t big = sum, small = 0;

	for (; len >= 32; len -= 32, p += 32)
		big = csum_add_32(big, p);
	// Steps instead of a loop, which the compiler would turn into vectors that cost more here.
	if (len & 16) {
		small += (uint64_t)rd32(p) + rd32(p + 4) + rd32(p + 8) + rd32(p + 12);
		p += 16;
	}
	if (len & 8) {
		small += (uint64_t)rd32(p) + rd32(p + 4);
		p += 8;
	}
	if (len & 4) {
		small += rd32(p);
		p += 4;
	}
	if (len & 2) {
		small += rd16(p);
		p += 2;
	}
	if (len & 1) {
		uint8_t last[2] = {*p, 0};

		small += rd16(last);
	}
	return (uint64_t)csum_fold32(big) + csum_fold32(small);
}

INLINE uint32_t csum_ip_words(const void *ip)
{
	const uint8_t *p = ip;
	uint64_t a = (uint64_t)rd32(p) + rd32(p + 4) + rd32(p + 8) + rd32(p + 12) + rd32(p + 16);

	return csum_fold(a);
}

// What changes a sum when `before` becomes `after`: one's complement of the old plus the new.
INLINE uint16_t delta16(uint16_t before, uint16_t after)
{
	return csum_fold((uint32_t)(uint16_t)~before + after);
}

INLINE uint16_t delta32(uint32_t before, uint32_t after)
{
	return csum_fold((uint64_t)(uint32_t)~before + after);
}

INLINE uint16_t delta_add(uint16_t a, uint16_t b)
{
	return csum_fold((uint32_t)a + b);
}

// RFC 1624 equation 3: HC' = ~(~HC + ~m + m')
INLINE uint16_t csum_apply(uint16_t csum, uint16_t delta)
{
	uint32_t s = (uint32_t)(uint16_t)~csum + delta;

	return (uint16_t)~(s + (s >> 16)); // at most one carry
}

// Of the pseudo header of TCP and UDP over IPv4, unfolded; l4_len in host order.
INLINE uint64_t csum_pseudo(be32 src, be32 dst, uint8_t proto, uint16_t l4_len)
{
	return (uint64_t)src + dst + htons(proto) + htons(l4_len);
}
