// SPDX-License-Identifier: Apache-2.0
// sigtab.h - an index from hashes to record numbers: sessions, mappings, workload ports.
//
// A bucket is one cache line: eight 16-bit signatures, eight 32-bit record numbers, the number of
// an overflow bucket. A signature of 0 is an empty place. The records themselves lie elsewhere,
// so a hit costs the bucket's line and the record's.
//
// Readers take no lock: they see a place either with its old or its new signature, compare the
// record's key themselves, and records are not reused before every reader has been quiescent
// (worker.h). Writers hold the spin bit of the chain's first bucket.
//
// An overflow bucket goes back when it is empty and the last of its chain, and may at once serve
// another one: a reader that still stands in it has seen all of its own chain, and what it meets
// there has other keys. Never returned, they would all be used up in time, since each bucket is
// fuller than eight at some time.
#pragma once

#include "hash.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct bucket {
	uint16_t sig[8];
	uint32_t idx[8];
	uint32_t next; // bucket number, 0: none
	uint32_t lock;
	uint32_t next_free; // of an overflow bucket that nobody uses
	uint32_t pad;
} __attribute__((aligned(LINE)));

_Static_assert(sizeof(struct bucket) == LINE, "a bucket is one line");

struct sigtab_head { // lies in front of the buckets
	uint32_t over_high; // first overflow bucket never used
	uint32_t over_free; // the latest that was returned, 0: none
	uint32_t lock;      // of these two
};

struct sigtab {
	struct bucket *b; // n_main of the hash, then n_over for chains
	uint32_t n_main, n_total;
	struct sigtab_head *head;
};

// Does record `idx` have the key that `ctx` describes?
typedef bool (*sigtab_equal)(const void *ctx, uint32_t idx);

INLINE uint16_t sig_of(uint64_t h)
{
	uint16_t s = (uint16_t)(h >> 48);

	return s | !s;
}

INLINE struct bucket *bucket_of(const struct sigtab *t, uint64_t h)
{
	return &t->b[(uint64_t)(uint32_t)h * t->n_main >> 32];
}

// Bit i: place i has this signature.
INLINE unsigned sig_match(const struct bucket *b, uint16_t sig)
{
#ifdef __SSE2__
	__m128i m = _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)b->sig), _mm_set1_epi16((short)sig));

	return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(m, _mm_setzero_si128()));
#else
	unsigned m = 0;

	for (unsigned i = 0; i < 8; i++)
		m |= (unsigned)(PEEK(&b->sig[i]) == sig) << i;
	return m;
#endif
}

static inline uint32_t sigtab_find(const struct sigtab *t, uint64_t h, sigtab_equal equal, const void *ctx)
{
	const struct bucket *b = bucket_of(t, h);
	uint16_t sig = sig_of(h);

	for (;;) {
		for (unsigned m = sig_match(b, sig); m; m &= m - 1) {
			uint32_t idx = LOAD(&b->idx[__builtin_ctz(m)]);

			if (equal(ctx, idx))
				return idx;
		}
		if (!LOAD(&b->next))
			return NONE;
		b = &t->b[LOAD(&b->next)];
	}
}

INLINE void bucket_set(struct bucket *b, unsigned place, uint16_t sig, uint32_t idx)
{
	STORE(&b->idx[place], idx);
	STORE(&b->sig[place], sig);
}

size_t sigtab_bytes(uint32_t records);
void sigtab_init(struct sigtab *t, void *memory, uint32_t records, bool fresh);
int sigtab_insert_slowly(struct sigtab *t, uint64_t h, uint32_t idx, sigtab_equal equal, const void *ctx, uint32_t *there);
bool sigtab_remove(struct sigtab *t, uint64_t h, uint32_t idx);
// Record `by`, which has the same key, in the place of `idx`, which is there: whoever looks finds one of them.
void sigtab_replace(struct sigtab *t, uint64_t h, uint32_t idx, uint32_t by);
void sigtab_clear(struct sigtab *t); // nobody reads
void sigtab_attach(struct sigtab *t); // after a crash of the process that held the memory

// 0: inserted; 1: a record with that key is there, its number in *there; -ENOSPC
static inline int sigtab_insert(struct sigtab *t, uint64_t h, uint32_t idx, sigtab_equal equal, const void *ctx, uint32_t *there)
{
	struct bucket *b = bucket_of(t, h);
	uint16_t sig = sig_of(h);
	int rc = 0;

	spin_lock(&b->lock);
	if (LIKELY(!b->next && !sig_match(b, sig) && sig_match(b, 0))) // room, and nothing that may be it
		bucket_set(b, (unsigned)__builtin_ctz(sig_match(b, 0)), sig, idx);
	else
		rc = sigtab_insert_slowly(t, h, idx, equal, ctx, there);
	spin_unlock(&b->lock);
	return rc;
}
