// SPDX-License-Identifier: Apache-2.0
// classifiers.c - three ways to find the first rule that fits, on the same rules and packets.
//
//   classifiers RULES FLOWS PASSES
//
//   RULES   struct pcgdp_match, in order
//   FLOWS   struct pcgdp_flow; each is looked up once in a pass
//
//   linear        each rule is asked, in order
//   tuple space   what the gateway has: classify.h
//   bit vectors   each field is cut into intervals, each with a bit for every rule that fits there; the
//                 bits of five fields are joined by AND (Lakshman and Stiliadis 1998)
//
// All must give the same answers. One JSON line: cycles a look-up (of the fastest pass), bytes and
// the microseconds that laying them out took.

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "classify.h"
#ifdef __x86_64__
#include <x86intrin.h>
#endif

enum { N_FIELDS = 4, PROTOCOLS = 256, PRIORITY = 10 };

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t cycles(void)
{
#ifdef __x86_64__
	return __rdtsc();
#else
	return now_ns();
#endif
}

static void *need(void *memory)
{
	if (!memory) {
		fprintf(stderr, "no memory\n");
		exit(1);
	}
	return memory;
}

static void *load(const char *path, size_t each, uint32_t *n)
{
	FILE *f = fopen(path, "rb");
	long size;
	void *all;

	if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < 0) {
		perror(path);
		exit(1);
	}
	rewind(f);
	all = need(malloc((size_t)size + 1));
	*n = (uint32_t)(fread(all, 1, (size_t)size, f) / each);
	fclose(f);
	return all;
}

// ---- linear ----

struct rules {
	const struct pcgdp_match *m;
	uint32_t n;
};

static bool fits(const struct pcgdp_match *m, const struct pcgdp_flow *f)
{
	return !((f->src_be ^ m->src_be) & mask_be(m->src_len)) && !((f->dst_be ^ m->dst_be) & mask_be(m->dst_len)) &&
		(!m->protocol || m->protocol == f->protocol) && f->sport >= m->sport_first && f->sport <= m->sport_last &&
		f->dport >= m->dport_first && f->dport <= m->dport_last;
}

static uint32_t linear(const void *state, const struct pcgdp_flow *f)
{
	const struct rules *r = state;

	for (uint32_t i = 0; i < r->n; i++)
		if (fits(&r->m[i], f))
			return i;
	return NONE;
}

// ---- tuple space ----

static uint32_t tuple_space(const void *state, const struct pcgdp_flow *f)
{
	const struct class_rule *r = classifier_find(state, f->src_be, f->dst_be, f->protocol, htons(f->sport), htons(f->dport));

	return r ? r->rule : NONE;
}

static size_t tuple_space_build(struct classifier *c, const struct rules *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (classifier_add(c, &r->m[i], i, 0))
			need(NULL);
	if (classifier_build(c, &(struct members){NULL, 0}))
		need(NULL);
	return c->room * sizeof(*c->rules) + c->n_tuples * sizeof(*c->tuples) + c->n_places * sizeof(*c->places) + c->n_spans * sizeof(*c->spans);
}

// ---- bit vectors ----

struct field {
	uint32_t *from; // where each interval begins; the first one is 0
	uint64_t *bits; // a row of `words` for each
	uint32_t n;
};

struct vectors {
	struct field field[N_FIELDS];
	uint64_t *protocol; // a row for each
	uint32_t words;
};

struct range {
	uint32_t first, last;
};

static struct range prefix(be32 address, uint8_t len)
{
	uint32_t mask = ntohl(mask_be(len)), first = ntohl(address) & mask;

	return (struct range){first, first | ~mask};
}

static struct range range_of(const struct pcgdp_match *m, unsigned field)
{
	switch (field) {
	case 0:
		return prefix(m->src_be, m->src_len);
	case 1:
		return prefix(m->dst_be, m->dst_len);
	case 2:
		return (struct range){m->sport_first, m->sport_last};
	default:
		return (struct range){m->dport_first, m->dport_last};
	}
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static size_t field_build(struct field *d, const struct rules *r, unsigned field, uint32_t words)
{
	uint32_t n = 1, kept = 1;

	d->from = need(calloc(2ul * r->n + 1, sizeof(*d->from)));
	for (uint32_t i = 0; i < r->n; i++) {
		struct range at = range_of(&r->m[i], field);

		d->from[n++] = at.first;
		if (at.last != UINT32_MAX)
			d->from[n++] = at.last + 1;
	}
	qsort(d->from, n, sizeof(*d->from), by_number);
	for (uint32_t i = 1; i < n; i++)
		if (d->from[i] != d->from[kept - 1])
			d->from[kept++] = d->from[i];
	d->n = kept;
	d->bits = need(calloc((size_t)kept * words, sizeof(*d->bits)));
	for (uint32_t i = 0; i < r->n; i++) {
		struct range at = range_of(&r->m[i], field);

		for (uint32_t k = 0; k < kept; k++)
			if (d->from[k] >= at.first && d->from[k] <= at.last)
				d->bits[(size_t)k * words + i / 64] |= 1ull << i % 64;
	}
	return kept * (sizeof(*d->from) + words * sizeof(*d->bits));
}

static size_t vectors_build(struct vectors *v, const struct rules *r)
{
	size_t bytes;

	v->words = (r->n + 63) / 64;
	v->protocol = need(calloc((size_t)PROTOCOLS * v->words, sizeof(*v->protocol)));
	bytes = PROTOCOLS * v->words * sizeof(*v->protocol);
	for (uint32_t i = 0; i < r->n; i++)
		for (uint32_t p = 0; p < PROTOCOLS; p++)
			if (!r->m[i].protocol || r->m[i].protocol == p)
				v->protocol[(size_t)p * v->words + i / 64] |= 1ull << i % 64;
	for (unsigned k = 0; k < N_FIELDS; k++)
		bytes += field_build(&v->field[k], r, k, v->words);
	return bytes;
}

static const uint64_t *row_of(const struct field *d, uint32_t value, uint32_t words)
{
	uint32_t at = 0;

	for (uint32_t n = d->n; n > 1;) {
		uint32_t half = n / 2;

		at = d->from[at + half] <= value ? at + half : at;
		n -= half;
	}
	return &d->bits[(size_t)at * words];
}

static uint32_t bit_vectors(const void *state, const struct pcgdp_flow *f)
{
	const struct vectors *v = state;
	const uint64_t *src = row_of(&v->field[0], ntohl(f->src_be), v->words), *dst = row_of(&v->field[1], ntohl(f->dst_be), v->words);
	const uint64_t *sport = row_of(&v->field[2], f->sport, v->words), *dport = row_of(&v->field[3], f->dport, v->words);
	const uint64_t *protocol = &v->protocol[(size_t)f->protocol * v->words];

	for (uint32_t k = 0; k < v->words; k++) {
		uint64_t left = src[k] & dst[k] & sport[k] & dport[k] & protocol[k];

		if (left)
			return 64 * k + (uint32_t)__builtin_ctzll(left);
	}
	return NONE;
}

// ---- the comparison ----

struct flows {
	const struct pcgdp_flow *f;
	uint32_t n;
};

static void be_realtime(bool on)
{
	struct sched_param p = {.sched_priority = on ? PRIORITY : 0};
	struct timespec pause = {.tv_nsec = 50000};

	pthread_setschedparam(pthread_self(), on ? SCHED_FIFO : SCHED_OTHER, &p); // where permitted
	if (on)
		nanosleep(&pause, NULL); // RLIMIT_RTTIME counts from sleep to sleep
}

static double timed(uint32_t (*find)(const void *, const struct pcgdp_flow *), const void *state, const struct flows *flows, uint32_t passes, const uint32_t *right)
{
	double least = 0;

	for (uint32_t pass = 0; pass < passes; pass++) {
		uint64_t begun;
		uint32_t wrong = 0;
		double each;

		be_realtime(true);
		begun = cycles();
		for (uint32_t i = 0; i < flows->n; i++)
			wrong += find(state, &flows->f[i]) != right[i];
		each = (double)(cycles() - begun) / flows->n;
		be_realtime(false);
		if (wrong) {
			fprintf(stderr, "%u of %u answers differ\n", wrong, flows->n);
			exit(1);
		}
		least = !pass || each < least ? each : least;
	}
	return least;
}

static void say(const char *name, double each, size_t bytes, uint64_t built_ns, const char *end)
{
	printf("\"%s\": {\"cycles\": %.1f, \"bytes\": %zu, \"built_us\": %.1f}%s", name, each, bytes, (double)built_ns / 1e3, end);
}

int main(int argc, char **argv)
{
	struct rules rules = {0};
	struct flows flows = {0};
	struct classifier c = {0};
	struct vectors v = {0};
	uint64_t begun, tuples_ns, vectors_ns;
	size_t tuples, bits;
	uint32_t passes, *right;

	if (argc != 4) {
		fprintf(stderr, "usage: classifiers RULES FLOWS PASSES\n");
		return 2;
	}
	rules.m = load(argv[1], sizeof(*rules.m), &rules.n);
	flows.f = load(argv[2], sizeof(*flows.f), &flows.n);
	passes = (uint32_t)atoi(argv[3]);
	begun = now_ns();
	tuples = tuple_space_build(&c, &rules);
	tuples_ns = now_ns() - begun;
	begun = now_ns();
	bits = vectors_build(&v, &rules);
	vectors_ns = now_ns() - begun;
	right = need(malloc((flows.n + 1ul) * sizeof(*right)));
	for (uint32_t i = 0; i < flows.n; i++)
		right[i] = linear(&rules, &flows.f[i]);
	printf("{");
	say("linear", timed(linear, &rules, &flows, passes, right), rules.n * sizeof(*rules.m), 0, ", ");
	say("tuple space", timed(tuple_space, &c, &flows, passes, right), tuples, tuples_ns, ", ");
	say("bit vectors", timed(bit_vectors, &v, &flows, passes, right), bits, vectors_ns, "}\n");
	return 0;
}
