// SPDX-License-Identifier: Apache-2.0
// sigtab.c - inserting into and removing from the index of sigtab.h.

#include "sigtab.h"

// Places for 1.6 times the records: at five of eight on average seven chains in a hundred overflow,
// and there are overflow buckets for a quarter.
static uint32_t main_buckets(uint32_t records)
{
	uint32_t n = 16;

	while ((uint64_t)n * 5 < records)
		n <<= 1;
	return n;
}

static uint32_t over_buckets(uint32_t records)
{
	return main_buckets(records) / 4 + 16;
}

size_t sigtab_bytes(uint32_t records)
{
	// one more line in front for over_next; bucket number 0 is a real one, never a chain's next
	return LINE + ((size_t)main_buckets(records) + over_buckets(records)) * sizeof(struct bucket);
}

void sigtab_init(struct sigtab *t, void *memory, uint32_t records, bool fresh)
{
	uint32_t n = main_buckets(records);

	t->over_next = memory;
	t->b = (struct bucket *)((uint8_t *)memory + LINE);
	t->mask = n - 1;
	t->n_total = n + over_buckets(records);
	if (fresh)
		*t->over_next = n; // the memory is zero: every place empty
}

static struct bucket *chain_more(struct sigtab *t, struct bucket *last)
{
	uint32_t n = ADD(t->over_next, 1);

	if (n >= t->n_total) {
		__atomic_fetch_sub(t->over_next, 1, __ATOMIC_RELAXED);
		return NULL;
	}
	STORE(&last->next, n);
	return &t->b[n];
}

int sigtab_insert(struct sigtab *t, uint64_t h, uint32_t idx, sigtab_equal equal, const void *ctx, uint32_t *there)
{
	struct bucket *first = bucket_of(t, h), *b = first, *room = NULL;
	uint16_t sig = sig_of(h);
	int rc = 0;

	spin_lock(&first->lock);
	for (;; b = &t->b[b->next]) {
		for (unsigned m = sig_match(b, sig); m; m &= m - 1) {
			uint32_t at = b->idx[__builtin_ctz(m)];

			if (equal(ctx, at)) {
				*there = at;
				rc = 1;
				goto out;
			}
		}
		if (!room && sig_match(b, 0))
			room = b;
		if (!b->next)
			break;
	}
	if (!room)
		room = chain_more(t, b);
	if (!room) {
		rc = -ENOSPC;
		goto out;
	}
	unsigned place = (unsigned)__builtin_ctz(sig_match(room, 0));

	STORE(&room->idx[place], idx);
	STORE(&room->sig[place], sig);
out:
	spin_unlock(&first->lock);
	return rc;
}

bool sigtab_remove(struct sigtab *t, uint64_t h, uint32_t idx)
{
	struct bucket *first = bucket_of(t, h), *b = first;
	bool found = false;

	spin_lock(&first->lock);
	for (;; b = &t->b[b->next]) {
		for (unsigned m = sig_match(b, sig_of(h)); m && !found; m &= m - 1) {
			unsigned place = (unsigned)__builtin_ctz(m);

			if (b->idx[place] == idx) {
				STORE(&b->sig[place], 0);
				found = true;
			}
		}
		if (found || !b->next)
			break;
	}
	spin_unlock(&first->lock);
	return found;
}

void sigtab_unlock_all(struct sigtab *t)
{
	for (uint32_t i = 0; i <= t->mask; i++)
		t->b[i].lock = 0;
}

void sigtab_clear(struct sigtab *t)
{
	memset(t->b, 0, t->n_total * sizeof(*t->b));
	*t->over_next = t->mask + 1;
}
