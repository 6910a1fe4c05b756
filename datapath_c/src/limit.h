// SPDX-License-Identifier: Apache-2.0
// limit.h - how many packets we make ourselves (RFC 1812 section 4.3.2.8): for one source, and in all.
//
// Each side has a total of its own, and one for "too big" alone: a flood from the uplink must not keep workloads from hearing of
// their path's MTU, nor must workloads that scan. All workers share the rates; only who is about to make a packet comes here.
//
// A rate is one word: whose it is (16 bits of a keyed hash) and the time, in microseconds, up to
// which packets have been paid for, each with its share of a second. That lags behind by a reserve
// at most. Sources lie eight by eight; one that has made use of nothing lately gives way to
// another. Where all eight are busy, a ninth pays into one of theirs, so that many sources together
// never get more than those eight.
#pragma once

#include "hash.h"

enum { LIMIT_LINES = 512, LIMIT_WAYS = 8 };

struct limits {
	uint64_t total[4]; // by role; then those that say "too big", by role
	uint64_t source[LIMIT_LINES][LIMIT_WAYS];
};

#define LIMIT_TIME 0xffffffffffffull

INLINE uint64_t *limit_source(struct limits *l, uint64_t hash, uint64_t floor_us)
{
	uint64_t *line = l->source[hash % LIMIT_LINES], tag = hash >> 48;

	for (unsigned i = 0; i < LIMIT_WAYS; i++)
		if (PEEK(&line[i]) >> 48 == tag)
			return &line[i];
	for (unsigned i = 0; i < LIMIT_WAYS; i++)
		if ((PEEK(&line[i]) & LIMIT_TIME) <= floor_us)
			return &line[i];
	return &line[tag % LIMIT_WAYS];
}

// Of what may come every `each_us`, one now.
INLINE bool limit_pay(uint64_t *rate, uint64_t hash, uint64_t now_us, uint64_t each_us, uint64_t floor_us)
{
	uint64_t before = PEEK(rate), paid;

	do {
		paid = before & LIMIT_TIME;
		paid = (paid > floor_us ? paid : floor_us) + each_us;
		if (paid > now_us)
			return false;
	} while (!__atomic_compare_exchange_n(rate, &before, hash >> 48 << 48 | paid, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return true;
}
