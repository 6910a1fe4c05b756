// SPDX-License-Identifier: Apache-2.0
// classify.c - see classify.h. Built aside by the control thread, then only read.

#include "classify.h"

#include <stdlib.h>

int classifier_add(struct classifier *c, const struct pcgdp_match *match, uint32_t rule, uint32_t at)
{
	if (c->n == c->room) {
		uint32_t room = c->room ? 2 * c->room : 16;
		struct class_rule *more = realloc(c->rules, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		c->rules = more;
		c->room = room;
	}
	c->rules[c->n++] = (struct class_rule){.match = *match, .rule = rule, .at = at};
	return 0;
}

void classifier_free(struct classifier *c)
{
	free(c->rules);
	free(c->tuples);
	free(c->places);
	memset(c, 0, sizeof(*c));
}

static struct class_tuple *tuple_of(struct classifier *c, const struct pcgdp_match *m)
{
	for (uint32_t i = 0; i < c->n_tuples; i++) {
		struct class_tuple *t = &c->tuples[i];

		if (t->src_len == m->src_len && t->dst_len == m->dst_len && t->proto == !!m->protocol)
			return t;
	}
	return NULL;
}

// At most 33 x 33 x 2 tuples, however many rules.
static int find_tuples(struct classifier *c)
{
	c->tuples = calloc(MIN(c->n, 33u * 33 * 2) + 1, sizeof(*c->tuples));
	if (!c->tuples)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->n; i++) {
		const struct pcgdp_match *m = &c->rules[i].match;
		struct class_tuple *t = tuple_of(c, m);

		if (!t) {
			t = &c->tuples[c->n_tuples++];
			*t = (struct class_tuple){.src_len = m->src_len, .dst_len = m->dst_len, .proto = !!m->protocol, .first = i};
		}
		t->n++;
	}
	return 0;
}

static int lay_places(struct classifier *c)
{
	uint32_t total = 0;

	for (uint32_t i = 0; i < c->n_tuples; i++) {
		struct class_tuple *t = &c->tuples[i];
		uint32_t size = 2;

		while (size < 2 * t->n) // at most half full
			size <<= 1;
		t->mask = size - 1;
		t->places = total;
		total += size;
	}
	c->places = calloc(total + 1, sizeof(*c->places));
	return c->places ? 0 : -ENOMEM;
}

// The place of these masked addresses, or the empty one where they belong.
static inline struct class_place *place_of(const struct classifier *c, const struct class_tuple *t, be32 src, be32 dst, uint32_t proto)
{
	uint32_t i = (uint32_t)(mul_fold((uint64_t)src << 32 | dst, 0x9e3779b97f4a7c15ull + proto) >> 7);

	for (;; i++) {
		struct class_place *p = &c->places[t->places + (i & t->mask)];

		if (!p->first || (p->src == src && p->dst == dst && p->proto == proto))
			return p;
	}
}

int classifier_build(struct classifier *c)
{
	int rc = find_tuples(c);

	if (!rc)
		rc = lay_places(c);
	for (uint32_t i = 0; !rc && i < c->n; i++) {
		const struct pcgdp_match *m = &c->rules[i].match;
		const struct class_tuple *t = tuple_of(c, m);
		be32 src = m->src_be & mask_be(m->src_len), dst = m->dst_be & mask_be(m->dst_len);
		struct class_place *p = place_of(c, t, src, dst, m->protocol);

		if (p->first)
			c->rules[p->last - 1].next = i + 1;
		else
			*p = (struct class_place){.src = src, .dst = dst, .proto = m->protocol, .first = i + 1};
		p->last = i + 1;
	}
	return rc;
}

const struct class_rule *classifier_find(const struct classifier *c, be32 src, be32 dst, uint8_t proto, be16 sport, be16 dport)
{
	uint32_t best = c->n;

	for (uint32_t k = 0; k < c->n_tuples && c->tuples[k].first < best; k++) {
		const struct class_tuple *t = &c->tuples[k];
		const struct class_place *p = place_of(c, t, src & mask_be(t->src_len), dst & mask_be(t->dst_len), t->proto ? proto : 0);

		for (uint32_t i = p->first; i && i - 1 < best; i = c->rules[i - 1].next)
			if (match_fits(&c->rules[i - 1].match, src, dst, proto, sport, dport)) {
				best = i - 1;
				break;
			}
	}
	return best < c->n ? &c->rules[best] : NULL;
}
