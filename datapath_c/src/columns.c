// SPDX-License-Identifier: Apache-2.0
// columns.c - see columns.h. Built aside by the control thread, then only read.

#include "columns.h"

#include <stdlib.h>

#include "classify.h"

#define ROWS_BYTES_MAX (1ull << 30) // groups that overlap in more ways than fit here are refused

// ---- names to numbers: 64-bit names, numbered in the order in which they come ----

struct numbering {
	struct {
		uint64_t name;
		uint32_t number_plus_1;
	} *at;
	uint32_t mask, n;
};

static int numbering_init(struct numbering *x, uint32_t n)
{
	x->mask = places_for(n) - 1;
	x->at = calloc(x->mask + 1ul, sizeof(*x->at));
	x->n = 0;
	return x->at ? 0 : -ENOMEM;
}

static uint32_t number_of(struct numbering *x, uint64_t name)
{
	uint32_t i = (uint32_t)mul_fold(name, 0x9e3779b97f4a7c15ull);

	for (;; i++) {
		if (!x->at[i & x->mask].number_plus_1) {
			x->at[i & x->mask].name = name;
			x->at[i & x->mask].number_plus_1 = ++x->n;
		}
		if (x->at[i & x->mask].name == name)
			return x->at[i & x->mask].number_plus_1 - 1;
	}
}

static uint32_t number_find(const struct numbering *x, uint64_t name)
{
	uint32_t i = (uint32_t)mul_fold(name, 0x9e3779b97f4a7c15ull);

	while (x->at[i & x->mask].number_plus_1 && x->at[i & x->mask].name != name)
		i++;
	return x->at[i & x->mask].number_plus_1 - 1; // NONE where there is none
}

// A group, or a prefix, which is as good as a group of one.
static uint64_t side_name(uint32_t group, be32 address, uint8_t len)
{
	return group ? 1ull << 63 | group : (uint64_t)(address & mask_be(len)) << 8 | len;
}

// ---- rows ----

struct row_table { // the rows that there are, by their bits
	uint32_t *at;  // row + 1
	uint32_t mask;
};

static uint64_t row_hash(const uint64_t *row, uint32_t words)
{
	uint64_t h = 0;

	for (uint32_t i = 0; i < words; i++)
		h = mul_fold(h ^ row[i], 0x9e3779b97f4a7c15ull);
	return h;
}

static uint32_t *row_place(const struct row_table *t, const struct column_side *s, const uint64_t *row)
{
	uint32_t i = (uint32_t)row_hash(row, s->words);

	while (t->at[i & t->mask] && memcmp(&s->rows[(size_t)(t->at[i & t->mask] - 1) * s->words], row, s->words * 8ul) != 0)
		i++;
	return &t->at[i & t->mask];
}

static int row_table_grow(struct row_table *t, const struct column_side *s)
{
	uint32_t *old = t->at;

	t->mask = t->mask ? 2 * t->mask + 1 : 63;
	t->at = calloc(t->mask + 1ul, sizeof(*t->at));
	free(old);
	for (uint32_t i = 0; t->at && i < s->n_rows; i++)
		*row_place(t, s, &s->rows[(size_t)i * s->words]) = i + 1;
	return t->at ? 0 : -ENOMEM;
}

// Its number, NONE: no memory.
static uint32_t row_number(struct row_table *t, struct column_side *s, const uint64_t *row)
{
	uint32_t *place;

	if (2 * s->n_rows >= t->mask && row_table_grow(t, s))
		return NONE;
	place = row_place(t, s, row);
	if (*place)
		return *place - 1;
	if (s->n_rows == s->room) {
		uint32_t room = s->room ? 2 * s->room : 64;
		uint64_t *more = (uint64_t)room * s->words * 8 > ROWS_BYTES_MAX ? NULL : realloc(s->rows, (size_t)room * s->words * 8);

		if (!more)
			return NONE;
		s->rows = more;
		s->room = room;
	}
	memcpy(&s->rows[(size_t)s->n_rows * s->words], row, s->words * 8ul);
	*place = ++s->n_rows;
	return s->n_rows - 1;
}

// ---- ranges ----

static int by_place(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return x->last == y->last ? 0 : (x->last > y->last ? -1 : 1); // the wider one first
}

static void put_edge(struct column_side *s, uint32_t from, uint32_t row)
{
	if (s->n && s->from[s->n - 1] == from)
		s->n--;
	if (s->n && s->row[s->n - 1] == row)
		return;
	s->from[s->n] = from;
	s->row[s->n++] = row;
}

struct open { // a prefix that has begun and not ended, and what fits inside it
	uint32_t last, row;
};

static uint32_t close_before(struct column_side *s, struct open *open, uint32_t n, uint64_t end)
{
	for (; n > 1 && open[n - 1].last < end; n--)
		put_edge(s, open[n - 1].last + 1, open[n - 2].row);
	return n;
}

// Prefixes nest, so those that are open form a stack, at most one of each length and name deep.
static int cut(struct column_side *s, const struct member *spans, uint32_t n, const uint64_t *bits)
{
	struct open *open = malloc((n + 1ul) * sizeof(*open));
	uint64_t *row = calloc(s->words, 8);
	struct row_table t = {0};
	uint32_t depth = 1;
	int rc = open && row && row_number(&t, s, row) == 0 ? 0 : -ENOMEM;

	if (!rc) {
		open[0] = (struct open){.last = 0xffffffff};
		put_edge(s, 0, 0);
	}
	for (uint32_t i = 0; !rc && i < n; i++) {
		depth = close_before(s, open, depth, spans[i].first);
		for (uint32_t k = 0; k < s->words; k++)
			row[k] = s->rows[(size_t)open[depth - 1].row * s->words + k] | bits[(size_t)spans[i].of * s->words + k];
		open[depth] = (struct open){.last = spans[i].last, .row = row_number(&t, s, row)};
		rc = open[depth].row == NONE ? -ENOMEM : 0;
		put_edge(s, spans[i].first, open[depth++].row);
	}
	if (!rc)
		close_before(s, open, depth, 0xffffffff);
	free(open);
	free(row);
	free(t.at);
	return rc;
}

// ---- a side ----

static struct member span_make(be32 prefix, uint8_t len, uint32_t of)
{
	uint32_t mask = ntohl(mask_be(len)), first = ntohl(prefix) & mask;

	return (struct member){.first = first, .last = first | ~mask, .of = of};
}

int members_order(struct members *m, const struct pcgdp_members *records, uint32_t n)
{
	bool in_order = true;

	m->n = n;
	m->at = malloc((n + 1ul) * sizeof(*m->at));
	if (!m->at)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		m->at[i] = span_make(records[i].prefix_be, (uint8_t)records[i].prefix_len, records[i].group);
		in_order = in_order && (!i || by_place(&m->at[i - 1], &m->at[i]) <= 0);
	}
	if (!in_order)
		qsort(m->at, n, sizeof(*m->at), by_place);
	return 0;
}

// The prefixes that are names themselves, in order of their places. Returns how many.
static uint32_t single_prefixes(const struct numbering *names, struct member *out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i <= names->mask; i++) {
		uint64_t name = names->at[i].name;

		if (names->at[i].number_plus_1 && !(name >> 63))
			out[n++] = span_make((be32)(name >> 8), (uint8_t)name, names->at[i].number_plus_1 - 1);
	}
	qsort(out, n, sizeof(*out), by_place);
	return n;
}

// Of all names, in order of their places: the members as they lie, single prefixes between them.
static uint32_t gather(const struct numbering *names, const struct members *m, const struct member *single, uint32_t n_single, struct member *out)
{
	uint32_t n = 0, next = 0;

	for (uint32_t i = 0; i < m->n; i++) {
		uint32_t number = number_find(names, side_name(m->at[i].of, 0, 0));

		if (number == NONE)
			continue;
		while (next < n_single && by_place(&single[next], &m->at[i]) < 0)
			out[n++] = single[next++];
		out[n++] = (struct member){m->at[i].first, m->at[i].last, number};
	}
	while (next < n_single)
		out[n++] = single[next++];
	return n;
}

// bits: for each name of the side, the columns that have it.
static int side_build(struct column_side *s, const struct numbering *names, const struct members *m, const uint64_t *bits)
{
	struct member *spans = malloc((m->n + names->n + 1ul) * sizeof(*spans)), *single = malloc((names->n + 1ul) * sizeof(*single));
	uint32_t n = spans && single ? gather(names, m, single, single_prefixes(names, single), spans) : 0;
	int rc = -ENOMEM;

	s->from = malloc((2ul * n + 1) * sizeof(*s->from));
	s->row = malloc((2ul * n + 1) * sizeof(*s->row));
	if (spans && single && s->from && s->row)
		rc = cut(s, spans, n, bits);
	free(spans);
	free(single);
	return rc;
}

// ---- columns ----

struct naming { // while building
	struct numbering src, dst, pairs;
	uint64_t *src_bits, *dst_bits;
};

static int name_pairs(struct columns *x, struct naming *g, struct class_rule *rules, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct class_rule *r = &rules[i];
		uint32_t before = g->pairs.n;
		uint64_t pair;

		if (!class_rule_grouped(r))
			continue;
		pair = (uint64_t)number_of(&g->src, side_name(r->src_group, r->match.src_be, r->match.src_len)) << 32 |
			number_of(&g->dst, side_name(r->dst_group, r->match.dst_be, r->match.dst_len));
		r->column = number_of(&g->pairs, pair);
		if (g->pairs.n > before)
			x->first[r->column] = i;
	}
	x->n = g->pairs.n;
	x->src.words = x->dst.words = (x->n + 63) / 64;
	g->src_bits = calloc((size_t)g->src.n * x->src.words + 1, 8);
	g->dst_bits = calloc((size_t)g->dst.n * x->src.words + 1, 8);
	if (!g->src_bits || !g->dst_bits)
		return -ENOMEM;
	for (uint32_t i = 0; i <= g->pairs.mask; i++) {
		uint32_t column = g->pairs.at[i].number_plus_1 - 1;
		uint64_t pair = g->pairs.at[i].name;

		if (column == NONE)
			continue;
		g->src_bits[(pair >> 32) * x->src.words + column / 64] |= 1ull << column % 64;
		g->dst_bits[(uint32_t)pair * (size_t)x->dst.words + column / 64] |= 1ull << column % 64;
	}
	return 0;
}

int columns_build(struct columns *x, struct class_rule *rules, uint32_t n, const struct members *m)
{
	struct naming g = {0};
	uint32_t grouped = 0;
	int rc = -ENOMEM;

	for (uint32_t i = 0; i < n; i++)
		grouped += class_rule_grouped(&rules[i]);
	if (!grouped)
		return 0;
	x->first = malloc(grouped * sizeof(*x->first));
	if (x->first && !numbering_init(&g.src, grouped) && !numbering_init(&g.dst, grouped) && !numbering_init(&g.pairs, grouped))
		rc = name_pairs(x, &g, rules, n);
	if (!rc)
		rc = side_build(&x->src, &g.src, m, g.src_bits);
	if (!rc)
		rc = side_build(&x->dst, &g.dst, m, g.dst_bits);
	free(g.src.at);
	free(g.dst.at);
	free(g.pairs.at);
	free(g.src_bits);
	free(g.dst_bits);
	return rc;
}

static void side_free(struct column_side *s)
{
	free(s->from);
	free(s->row);
	free(s->rows);
}

void columns_free(struct columns *x)
{
	side_free(&x->src);
	side_free(&x->dst);
	free(x->first);
}
