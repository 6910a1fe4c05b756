// SPDX-License-Identifier: Apache-2.0
// touch.c - see touch.h. An index belongs to whoever built it, for one walk.

#include "touch.h"

#include <stdlib.h>

enum { ROOM_FIRST = 64, STEP = 8 };

// One that names no VRF concerns nobody: that is how a commit says that it touches nothing.
int touch_list_add(struct touch_list *l, const struct pcgdp_touch *t, uint32_t n)
{
	uint32_t room = l->room ? l->room : ROOM_FIRST;
	struct pcgdp_touch *more;

	while (room < l->n + n)
		room *= 2;
	more = room == l->room ? l->at : realloc(l->at, room * sizeof(*more));
	if (!more)
		return -ENOMEM;
	l->at = more;
	l->room = room;
	for (uint32_t i = 0; i < n; i++)
		if (t[i].vrf != NONE)
			l->at[l->n++] = t[i];
	return 0;
}

// ---- the index ----

// In steps of `step` bits downwards: a touch becomes wider, never narrower.
static uint8_t rounded(uint8_t len, uint8_t step)
{
	return (uint8_t)(MIN(len, 32) / step * step);
}

static struct touch_tuple *tuple_of(struct touch_index *x, const struct pcgdp_touch *t, uint8_t step)
{
	uint8_t src_len = rounded(t->src_len, step), dst_len = rounded(t->dst_len, step);
	struct touch_tuple *next = &x->tuples[x->n_tuples];

	for (uint32_t i = 0; i < x->n_tuples; i++)
		if (x->tuples[i].src_len == src_len && x->tuples[i].dst_len == dst_len)
			return &x->tuples[i];
	if (x->n_tuples == TOUCH_TUPLES)
		return NULL;
	*next = (struct touch_tuple){.src_len = src_len, .dst_len = dst_len, .src_mask = mask_be(src_len), .dst_mask = mask_be(dst_len)};
	x->n_tuples++;
	return next;
}

static bool find_tuples(struct touch_index *x, const struct touch_list *l, uint8_t step)
{
	x->n_tuples = 0;
	for (uint32_t i = 0; i < l->n; i++) {
		struct touch_tuple *t = tuple_of(x, &l->at[i], step);

		if (!t)
			return false;
		t->in.n++;
	}
	return true;
}

// The place of these masked addresses, or the empty one where they belong.
static inline struct touch_place *place_of(const struct touch_index *x, const struct touch_tuple *t, uint32_t vrf, be32 src, be32 dst)
{
	for (uint32_t i = places_hash(src, dst, vrf);; i++) {
		struct touch_place *p = &x->places[places_at(&t->in, i)];

		if (!p->used || (p->src == src && p->dst == dst && p->vrf == vrf))
			return p;
	}
}

static uint32_t half(be32 address)
{
	return ntohl(address) >> 16;
}

static void say_halves(uint32_t *halves, uint32_t *any, be32 prefix, uint8_t len, uint32_t bit)
{
	uint32_t n = len < 16 ? 1u << (16 - len) : 1;

	if (!len) {
		*any |= bit;
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		halves[half(prefix) + i] |= bit;
}

static void index_add(struct touch_index *x, const struct touch_tuple *t, const struct pcgdp_touch *touch)
{
	be32 src = touch->src_be & t->src_mask, dst = touch->dst_be & t->dst_mask;
	struct touch_place *p = place_of(x, t, touch->vrf, src, dst);
	uint32_t bit = 1u << (t - x->tuples);

	if (p->used)
		return; // the same once more
	*p = (struct touch_place){.src = src, .dst = dst, .vrf = touch->vrf, .used = 1};
	say_halves(x->src, &x->any_src, src, t->src_len, bit);
	say_halves(x->dst, &x->any_dst, dst, t->dst_len, bit);
}

int touch_index_build(struct touch_index *x, const struct touch_list *l)
{
	uint32_t n_places = 0;
	uint8_t step = 1;

	memset(x, 0, sizeof(*x));
	if (!find_tuples(x, l, step)) {
		step = STEP; // 5 x 5 pairs of lengths at most
		find_tuples(x, l, step);
	}
	for (uint32_t i = 0; i < x->n_tuples; i++)
		n_places = places_lay(&x->tuples[i].in, n_places);
	x->places = calloc(n_places + 1, sizeof(*x->places));
	x->src = calloc(HALVES, sizeof(*x->src));
	x->dst = calloc(HALVES, sizeof(*x->dst));
	if (!x->places || !x->src || !x->dst) {
		touch_index_free(x);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < l->n; i++)
		index_add(x, tuple_of(x, &l->at[i], step), &l->at[i]);
	return 0;
}

void touch_index_free(struct touch_index *x)
{
	free(x->places);
	free(x->src);
	free(x->dst);
	memset(x, 0, sizeof(*x));
}

bool touch_fits(const struct touch_index *x, uint32_t vrf, be32 src, be32 dst)
{
	uint32_t left = (x->src[half(src)] | x->any_src) & (x->dst[half(dst)] | x->any_dst);

	for (; left; left &= left - 1) {
		const struct touch_tuple *t = &x->tuples[__builtin_ctz(left)];

		if (place_of(x, t, vrf, src & t->src_mask, dst & t->dst_mask)->used)
			return true;
	}
	return false;
}
