// SPDX-License-Identifier: Apache-2.0
// base.h - the few words every file uses: byte order as a type, likely, prefetch, atomics.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../include/pcgdp.h"

typedef uint16_t be16;
typedef uint32_t be32;

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#ifndef PCG_UNASKED // bench/ablations.py asks what each prefetch of plain.c is worth
#define PCG_UNASKED 0
#endif
enum { ASK_HEADERS = 1, ASK_HEADROOM = 2, ASK_BUCKET = 4, ASK_ENTRY = 8 };
#define ASKED(what) (!(PCG_UNASKED & (what)))
#ifdef PCG_NO_PREFETCH // and what all are
#define PREFETCH(p) ((void)(p))
#define PREFETCH_W(p) ((void)(p))
#else
#define PREFETCH(p) __builtin_prefetch((p), 0, 3)
#define PREFETCH_W(p) __builtin_prefetch((p), 1, 3)
#endif
#define INLINE static inline __attribute__((always_inline))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define LINE 64
#define NONE 0xffffffffu

#define LOAD(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define ADD(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
// A counter with one writer: readers may see it late, never torn.
#define BUMP(p, v) __atomic_store_n((p), *(p) + (v), __ATOMIC_RELAXED)
#define PEEK(p) __atomic_load_n((p), __ATOMIC_RELAXED)

INLINE uint16_t rd16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

INLINE uint32_t rd32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

INLINE uint64_t rd64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

INLINE void wr16(void *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

INLINE void wr32(void *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

INLINE be32 mask_be(unsigned len)
{
	return len ? htonl(0xffffffffu << (32 - len)) : 0;
}

INLINE bool in_prefix(be32 address, be32 prefix, unsigned len)
{
	return ((address ^ prefix) & mask_be(len)) == 0;
}

INLINE void cpu_relax(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#endif
}

INLINE void spin_lock(uint32_t *lock)
{
	while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE))
		while (PEEK(lock))
			cpu_relax();
}

INLINE void spin_unlock(uint32_t *lock)
{
	STORE(lock, 0);
}
