// SPDX-License-Identifier: Apache-2.0
// classify.c - see classify.h. Built aside by the control thread, then only read.

#include "classify.h"

#include <stdlib.h>

enum { CHAIN_MAX = 4 };

static int add(struct classifier *c, const struct class_rule *rule)
{
	if (c->n == c->room) {
		uint32_t room = c->room ? 2 * c->room : 16;
		struct class_rule *more = realloc(c->rules, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		c->rules = more;
		c->room = room;
	}
	c->rules[c->n++] = *rule;
	return 0;
}

int classifier_add(struct classifier *c, const struct pcgdp_match *match, uint32_t rule, uint32_t at)
{
	return add(c, &(struct class_rule){.match = *match, .rule = rule, .at = at});
}

int classifier_add_grouped(struct classifier *c, const struct pcgdp_match *match, uint32_t src_group, uint32_t dst_group, uint32_t rule)
{
	return add(c, &(struct class_rule){.match = *match, .src_group = src_group, .dst_group = dst_group, .rule = rule});
}

void classifier_free(struct classifier *c)
{
	free(c->rules);
	free(c->tuples);
	free(c->places);
	free(c->spans);
	columns_free(&c->columns);
	memset(c, 0, sizeof(*c));
}

static struct class_tuple *tuple_of(struct classifier *c, const struct class_rule *r)
{
	const struct pcgdp_match *m = &r->match;
	bool grouped = class_rule_grouped(r);

	for (uint32_t i = 0; i < c->n_tuples; i++) {
		struct class_tuple *t = &c->tuples[i];

		if (t->grouped ? grouped : !grouped && t->src_len == m->src_len && t->dst_len == m->dst_len && t->proto == !!m->protocol)
			return t;
	}
	return NULL;
}

// At most 33 x 33 x 2 tuples and the grouped one, however many rules.
static int find_tuples(struct classifier *c)
{
	c->tuples = calloc(MIN(c->n, 33u * 33 * 2 + 1) + 1, sizeof(*c->tuples));
	if (!c->tuples)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->n; i++) {
		const struct pcgdp_match *m = &c->rules[i].match;
		struct class_tuple *t = tuple_of(c, &c->rules[i]);

		if (!t) {
			t = &c->tuples[c->n_tuples++];
			*t = (struct class_tuple){.src_len = m->src_len, .dst_len = m->dst_len, .proto = !!m->protocol, .grouped = class_rule_grouped(&c->rules[i]), .src_mask = mask_be(m->src_len), .dst_mask = mask_be(m->dst_len), .first = i};
		}
		t->in.n++;
	}
	return 0;
}

static int lay_places(struct classifier *c)
{
	uint32_t total = 0;

	for (uint32_t i = 0; i < c->n_tuples; i++)
		total = places_lay(&c->tuples[i].in, total);
	c->n_places = total;
	c->places = calloc(total + 1, sizeof(*c->places));
	return c->places ? 0 : -ENOMEM;
}

// The place of these masked addresses, or the empty one where they belong.
INLINE struct class_place *place_of(const struct classifier *c, const struct class_tuple *t, be32 src, be32 dst, uint32_t proto)
{
	for (uint32_t i = places_hash(src, dst, proto);; i++) {
		struct class_place *p = &c->places[places_at(&t->in, i)];

		if (!p->used || (p->src == src && p->dst == dst && p->proto == proto))
			return p;
	}
}

// Rules into their places' chains, from the last to the first, so that each becomes its chain's head.
static void chain_rules(struct classifier *c)
{
	for (uint32_t i = c->n; i-- > 0;) {
		const struct pcgdp_match *m = &c->rules[i].match;
		const struct class_tuple *t = tuple_of(c, &c->rules[i]);
		be32 src = t->grouped ? c->rules[i].column : m->src_be & t->src_mask, dst = t->grouped ? 0 : m->dst_be & t->dst_mask;
		struct class_place *p = place_of(c, t, src, dst, m->protocol);

		if (!p->used)
			*p = (struct class_place){.src = src, .dst = dst, .proto = m->protocol, .used = true};
		c->rules[i].next = p->first;
		p->first = i + 1;
	}
}

static bool any_source_port(const struct pcgdp_match *m)
{
	return m->sport_first == 0 && m->sport_last == 65535;
}

static int by_port(const void *a, const void *b)
{
	return *(const int32_t *)a - *(const int32_t *)b;
}

// The ports at which the answer may change, each once, 0 first. Returns how many.
static uint32_t find_edges(const struct classifier *c, const struct class_place *p, int32_t *edge)
{
	uint32_t n = 0, kept = 1;

	edge[n++] = 0;
	for (uint32_t i = p->first; i; i = c->rules[i - 1].next) {
		const struct pcgdp_match *m = &c->rules[i - 1].match;

		if (!any_source_port(m))
			continue;
		edge[n++] = m->dport_first;
		edge[n++] = m->dport_last + 1;
	}
	qsort(edge, n, sizeof(*edge), by_port);
	for (uint32_t i = 1; i < n; i++)
		if (edge[i] != edge[kept - 1])
			edge[kept++] = edge[i];
	return kept;
}

// The last span that begins at this port or below.
static inline uint32_t span_of(const struct class_span *s, uint32_t n, uint32_t port)
{
	uint32_t at = 0;

	while (n > 1) {
		uint32_t half = n / 2;

		at = s[at + half].from <= port ? at + half : at;
		n -= half;
	}
	return at;
}

// In order of the rules, each takes the spans in its range that none before it has; `skip[i]` leads
// to the next span still free, so that no span is passed over twice.
static void fill_spans(struct classifier *c, struct class_place *p, uint32_t *skip)
{
	struct class_span *span = &c->spans[p->spans];
	uint32_t *link = &p->first;

	for (uint32_t i = 0; i <= p->n_spans; i++)
		skip[i] = i;
	for (uint32_t rule = p->first; rule; rule = c->rules[rule - 1].next) {
		const struct pcgdp_match *m = &c->rules[rule - 1].match;

		if (!any_source_port(m)) { // stays in the chain
			*link = rule;
			link = &c->rules[rule - 1].next;
			continue;
		}
		for (uint32_t i = span_of(span, p->n_spans, m->dport_first);; i++) {
			while (skip[i] != i)
				i = skip[i] = skip[skip[i]];
			if (i == p->n_spans || span[i].from > m->dport_last)
				break;
			span[i].rule = rule;
			skip[i] = i + 1;
		}
	}
	*link = 0;
}

static uint32_t chain_length(const struct classifier *c, const struct class_place *p)
{
	uint32_t n = 0;

	for (uint32_t i = p->first; i; i = c->rules[i - 1].next)
		n++;
	return n;
}

static int lay_spans(struct classifier *c)
{
	uint32_t room = 3 * c->n; // two edges a rule, and 0 for each place of several
	int32_t *edge = malloc((2ul * c->n + 1) * sizeof(*edge));
	uint32_t *skip = malloc((2ul * c->n + 2) * sizeof(*skip));

	c->spans = calloc(room + 1, sizeof(*c->spans));
	for (uint32_t k = 0; edge && skip && c->spans && k < c->n_places; k++) {
		struct class_place *p = &c->places[k];

		if (chain_length(c, p) <= CHAIN_MAX)
			continue;
		p->spans = c->n_spans;
		p->n_spans = find_edges(c, p, edge);
		for (uint32_t i = 0; i < p->n_spans; i++)
			c->spans[c->n_spans++].from = (uint32_t)edge[i];
		fill_spans(c, p, skip);
	}
	free(edge);
	free(skip);
	return edge && skip && c->spans ? 0 : -ENOMEM;
}

int classifier_build(struct classifier *c, const struct members *m)
{
	int rc = columns_build(&c->columns, c->rules, c->n, m);

	if (!rc)
		rc = find_tuples(c);
	if (!rc)
		rc = lay_places(c);
	if (rc)
		return rc;
	chain_rules(c);
	return lay_spans(c);
}

static inline bool ports_fit(const struct pcgdp_match *m, uint16_t sport, uint16_t dport)
{
	return sport >= m->sport_first && sport <= m->sport_last && dport >= m->dport_first && dport <= m->dport_last;
}

// The first of a place's rules, if it stands before `best`.
INLINE uint32_t ask_place(const struct classifier *c, const struct class_place *p, uint16_t sport, uint16_t dport, uint32_t best)
{
	if (p->n_spans) {
		uint32_t rule = c->spans[p->spans + span_of(&c->spans[p->spans], p->n_spans, dport)].rule;

		best = rule && rule - 1 < best ? rule - 1 : best;
	}
	for (uint32_t i = p->first; i && i - 1 < best; i = c->rules[i - 1].next)
		if (ports_fit(&c->rules[i - 1].match, sport, dport))
			best = i - 1; // and none behind it is below
	return best;
}

struct asked {
	be32 src, dst;
	uint8_t proto;
	uint16_t sport, dport;
};

// Of grouped rules: the columns in whose groups both addresses are, in order of their first rule.
static __attribute__((noinline)) uint32_t ask_columns(const struct classifier *c, const struct class_tuple *t, const struct asked *f, uint32_t best)
{
	const struct columns *x = &c->columns;
	const uint64_t *src = columns_row(&x->src, f->src), *dst = columns_row(&x->dst, f->dst);

	for (uint32_t k = 0; k < x->src.words; k++)
		for (uint64_t left = src[k] & dst[k]; left; left &= left - 1) {
			uint32_t column = 64 * k + (uint32_t)__builtin_ctzll(left);

			if (x->first[column] >= best)
				return best;
			best = ask_place(c, place_of(c, t, column, 0, 0), f->sport, f->dport, best);
			if (f->proto)
				best = ask_place(c, place_of(c, t, column, 0, f->proto), f->sport, f->dport, best);
		}
	return best;
}

const struct class_rule *classifier_find(const struct classifier *c, be32 src, be32 dst, uint8_t proto, be16 sport, be16 dport)
{
	const struct asked f = {src, dst, proto, ntohs(sport), ntohs(dport)};
	uint32_t best = c->n;

	for (uint32_t k = 0; k < c->n_tuples && c->tuples[k].first < best; k++) {
		const struct class_tuple *t = &c->tuples[k];

		if (UNLIKELY(t->grouped))
			best = ask_columns(c, t, &f, best);
		else
			best = ask_place(c, place_of(c, t, src & t->src_mask, dst & t->dst_mask, t->proto ? proto : 0), f.sport, f.dport, best);
	}
	return best < c->n ? &c->rules[best] : NULL;
}
