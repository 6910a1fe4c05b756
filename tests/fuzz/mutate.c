// SPDX-License-Identifier: Apache-2.0
// mutate.c - changes that keep an input a sequence of steps: without it, one byte put in makes
// everything behind it noise.

#include <stdlib.h>
#include <string.h>

#include "harness.h"

enum { STEPS_MAX = 64, DATA_MAX = 2 * PCGDP_FRAME_MAX, SMALL = 16 };

struct sequence {
	struct step s[STEPS_MAX]; // op and kind as they stand in the input
	uint32_t n;
};

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(
	const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out, size_t max_size, unsigned seed);

static unsigned state;

static uint32_t below(uint32_t n)
{
	state = state * 1103515245u + 12345u;
	return n ? (state >> 8) % n : 0;
}

static void split(const uint8_t *data, size_t size, struct sequence *q)
{
	q->n = 0;
	for (size_t at = 0; at + HEAD <= size && q->n < STEPS_MAX;) {
		uint32_t len = (uint32_t)data[at + 2] << 8 | data[at + 3];

		len = len > size - at - HEAD ? (uint32_t)(size - at - HEAD) : len;
		q->s[q->n++] = (struct step){data[at], data[at + 1], len, data + at + HEAD};
		at += HEAD + len;
	}
}

static size_t join(const struct sequence *q, uint8_t *out, size_t max_size)
{
	size_t at = 0;

	for (uint32_t i = 0; i < q->n && at + HEAD + q->s[i].len <= max_size; i++) {
		const struct step *s = &q->s[i];

		out[at] = (uint8_t)s->op;
		out[at + 1] = (uint8_t)s->kind;
		out[at + 2] = (uint8_t)(s->len >> 8);
		out[at + 3] = (uint8_t)s->len;
		memcpy(out + at + HEAD, s->data, s->len);
		at += HEAD + s->len;
	}
	return at;
}

static void insert(struct sequence *q, uint32_t at, struct step s)
{
	if (q->n == STEPS_MAX)
		return;
	memmove(&q->s[at + 1], &q->s[at], (q->n - at) * sizeof(s));
	q->s[at] = s;
	q->n++;
}

static void drop_one(struct sequence *q)
{
	uint32_t at = below(q->n);

	memmove(&q->s[at], &q->s[at + 1], (q->n - at - 1) * sizeof(q->s[0]));
	q->n--;
}

static uint32_t one_of(const uint8_t *choices, uint32_t n)
{
	return choices[below(n)];
}

// Bytes that a random one would seldom be.
static uint32_t shaped(struct step *s, uint8_t *room)
{
	static const uint8_t flags[] = {0xff, 0x02, 0x12, 0x10, 0x11, 0x14, 0x04, 0x18};
	static const uint8_t fields[] = {4, 14, 18, 20, 22, 24, 28};

	switch (s->kind) {
	case KIND_ANSWER:
		room[1] = (uint8_t)one_of(flags, sizeof(flags));
		return below(2) ? 2 : s->len;
	case KIND_MANY:
		room[1] = (uint8_t)(below(8) ? below(12) : below(256));
		room[2] = (uint8_t)one_of(fields, sizeof(fields));
		return 3;
	case KIND_TIME:
		return 3;
	default:
		return s->len;
	}
}

// A step that follows from those before it: nothing but a few bytes.
static void derived(struct sequence *q, uint8_t *room)
{
	static const uint8_t kinds[] = {KIND_ANSWER, KIND_ANSWER, KIND_ANSWER, KIND_ERROR, KIND_ERROR, KIND_PIECES, KIND_PIECES, KIND_AGAIN,
		KIND_AGAIN, KIND_POLICY, KIND_POLICY, KIND_PUT, KIND_RELAY, KIND_WATCH, KIND_TIME, KIND_TIME, KIND_MANY, KIND_READ};
	static const uint8_t lanes[] = {0, 0, 0x20, 0x40};
	struct step s = {.op = OP_MEND, .kind = one_of(kinds, sizeof(kinds)), .len = 3 + 2 * below(4), .data = room};

	if (below(64) == 0)
		s.kind = KIND_RESTART;
	for (uint32_t i = 0; i < s.len; i++)
		room[i] = (uint8_t)below(256);
	room[0] = (uint8_t)(below(2) ? 0 : room[0]);
	s.len = shaped(&s, room);
	s.kind |= one_of(lanes, sizeof(lanes));
	if (below(3) == 0)
		s.kind |= HOLD;
	if (below(4) == 0)
		s.op |= below(256);
	insert(q, below(4) ? q->n : below(q->n + 1), s);
}

static void bytes_changed(struct step *s, uint8_t *room)
{
	size_t most = s->len + SMALL < DATA_MAX ? s->len + SMALL : DATA_MAX;

	memcpy(room, s->data, s->len);
	s->len = (uint32_t)LLVMFuzzerMutate(room, s->len, most);
	s->data = room;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	static uint8_t room[DATA_MAX], whole[1 << 20];
	struct sequence q;
	size_t got;

	state = seed;
	split(data, size, &q);
	if (!q.n || below(32) == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	struct step *one = &q.s[below(q.n)];
	switch (below(8)) {
	case 0:
		insert(&q, below(q.n + 1), *one);
		break;
	case 1:
		if (q.n > 1)
			drop_one(&q);
		break;
	case 2:
		one->op = below(2) ? one->op ^ 1u << below(8) : below(256);
		break;
	case 3:
		one->kind ^= below(3) ? HOLD : 0x20u << below(2);
		break;
	case 4:
	case 5:
		derived(&q, room);
		break;
	default:
		if (one->len <= DATA_MAX)
			bytes_changed(one, room);
	}
	got = join(&q, whole, max_size < sizeof(whole) ? max_size : sizeof(whole));
	memcpy(data, whole, got);
	return got;
}

// The beginning of one, the end of the other.
size_t LLVMFuzzerCustomCrossOver(
	const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out, size_t max_size, unsigned seed)
{
	static struct sequence one, other;

	state = seed;
	split(a, a_size, &one);
	split(b, b_size, &other);
	one.n = below(one.n + 1);
	for (uint32_t i = below(other.n + 1); i < other.n; i++)
		insert(&one, one.n, other.s[i]);
	return join(&one, out, max_size);
}
