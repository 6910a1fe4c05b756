// SPDX-License-Identifier: Apache-2.0
// sigtab.c - inserting into and removing from the index of sigtab.h.

#include "sigtab.h"

// Four and a half records to a bucket of eight when all are used. Records come and go, and what
// once went to an overflow bucket stays there: in the long run three buckets in twenty have one
// (simulated; four in a hundred when a table is filled once), and there are four for twenty.
static uint32_t main_buckets(uint32_t records)
{
	return (uint32_t)((uint64_t)records * 2 / 9) + 16;
}

static uint32_t over_buckets(uint32_t records)
{
	return main_buckets(records) / 5 + 16;
}

size_t sigtab_bytes(uint32_t records)
{
	// one more line in front for the head; bucket number 0 is a real one, never a chain's next
	return LINE + ((size_t)main_buckets(records) + over_buckets(records)) * sizeof(struct bucket);
}

void sigtab_init(struct sigtab *t, void *memory, uint32_t records, bool fresh)
{
	t->head = memory;
	t->b = (struct bucket *)((uint8_t *)memory + LINE);
	t->n_main = main_buckets(records);
	t->n_total = t->n_main + over_buckets(records);
	if (fresh)
		t->head->over_high = t->n_main; // the memory is zero: every place empty
}

static struct bucket *chain_more(struct sigtab *t, struct bucket *last)
{
	struct sigtab_head *h = t->head;
	uint32_t n = 0;

	spin_lock(&h->lock);
	if (h->over_free) {
		n = h->over_free;
		h->over_free = t->b[n].next_free;
	} else if (h->over_high < t->n_total) {
		n = h->over_high++;
	}
	spin_unlock(&h->lock);
	if (!n)
		return NULL;
	STORE(&last->next, n);
	return &t->b[n];
}

static bool is_empty(const struct bucket *b)
{
	return sig_match(b, 0) == 0xff;
}

// Under the chain's lock: its last buckets go back as long as they are empty.
static void chain_trim(struct sigtab *t, struct bucket *first)
{
	while (first->next) {
		struct bucket *last = first;
		uint32_t n = 0;

		while (last->next && t->b[last->next].next)
			last = &t->b[last->next];
		n = last->next;
		if (!is_empty(&t->b[n]))
			return;
		STORE(&last->next, 0);
		spin_lock(&t->head->lock);
		t->b[n].next_free = t->head->over_free;
		t->head->over_free = n;
		spin_unlock(&t->head->lock);
	}
}

// Under the chain's lock.
int sigtab_insert_slowly(struct sigtab *t, uint64_t h, uint32_t idx, sigtab_equal equal, const void *ctx, uint32_t *there)
{
	struct bucket *b = bucket_of(t, h), *room = NULL;
	unsigned place = 0; // in `room`
	uint16_t sig = sig_of(h);

	for (;; b = &t->b[b->next]) {
		for (unsigned m = sig_match(b, sig); m; m &= m - 1) {
			uint32_t at = b->idx[__builtin_ctz(m)];

			if (equal(ctx, at)) {
				*there = at;
				return 1;
			}
		}
		if (!room) {
			unsigned empty = sig_match(b, 0);

			room = empty ? b : NULL;
			place = empty ? (unsigned)__builtin_ctz(empty) : 0;
		}
		if (!b->next)
			break;
	}
	if (!room)
		room = chain_more(t, b);
	if (!room)
		return -ENOSPC;
	bucket_set(room, place, sig, idx);
	return 0;
}

// Under the chain's lock: where it stands. NULL: nowhere.
static struct bucket *bucket_with(const struct sigtab *t, uint64_t h, uint32_t idx, unsigned *place)
{
	for (struct bucket *b = bucket_of(t, h);; b = &t->b[b->next]) {
		for (unsigned m = sig_match(b, sig_of(h)); m; m &= m - 1) {
			*place = (unsigned)__builtin_ctz(m);
			if (b->idx[*place] == idx)
				return b;
		}
		if (!b->next)
			return NULL;
	}
}

bool sigtab_remove(struct sigtab *t, uint64_t h, uint32_t idx)
{
	struct bucket *first = bucket_of(t, h), *b;
	unsigned place;

	spin_lock(&first->lock);
	b = bucket_with(t, h, idx, &place);
	if (b)
		STORE(&b->sig[place], 0);
	if (b && UNLIKELY(first->next))
		chain_trim(t, first);
	spin_unlock(&first->lock);
	return b;
}

void sigtab_replace(struct sigtab *t, uint64_t h, uint32_t idx, uint32_t by)
{
	struct bucket *first = bucket_of(t, h), *b;
	unsigned place;

	spin_lock(&first->lock);
	b = bucket_with(t, h, idx, &place);
	if (b)
		STORE(&b->idx[place], by);
	spin_unlock(&first->lock);
}

// Chains are whole at any time, the list of free overflow buckets may not be: it is made anew.
void sigtab_attach(struct sigtab *t)
{
	struct sigtab_head *h = t->head;
	uint32_t high = MIN(h->over_high, t->n_total);

	for (uint32_t i = t->n_main; i < high; i++)
		t->b[i].next_free = 0;
	for (uint32_t i = 0; i < t->n_main; i++) {
		t->b[i].lock = 0;
		for (uint32_t n = t->b[i].next; n >= t->n_main && n < high; n = t->b[n].next)
			t->b[n].next_free = NONE; // in use
	}
	h->over_high = high;
	h->over_free = h->lock = 0;
	for (uint32_t i = t->n_main; i < high; i++) {
		if (t->b[i].next_free == NONE)
			continue;
		t->b[i].next = 0;
		t->b[i].next_free = h->over_free;
		h->over_free = i;
	}
}

void sigtab_clear(struct sigtab *t)
{
	memset(t->b, 0, t->n_total * sizeof(*t->b));
	*t->head = (struct sigtab_head){.over_high = t->n_main};
}
