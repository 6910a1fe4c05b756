// SPDX-License-Identifier: Apache-2.0
// classify.h - the first rule of an ordered list that fits, without asking each.
//
// Tuple space search (Srinivasan, Suri, Varghese 1999): rules whose source and destination
// prefixes have the same lengths, and that both name a protocol or both do not, form a tuple; in
// it a rule is found by one hash of the masked addresses. Policies of thousands of rules have a
// dozen tuples. The tuples stand in order of their first rule, so the search ends as soon as no
// later one can win.
//
// Rules of one place differ by their ports only. Up to four are asked one by one. Of more, those
// that take any source port are laid out over the destination ports beforehand: spans, each with
// the first rule that covers it, found by bisection. What is left is asked one by one.
//
// Rules that name groups of addresses form a tuple of their own. What is hashed there is not the
// packet's addresses, but each pair of a source and a destination that they fit (columns.h).
#pragma once

#include "columns.h"
#include "places.h"

struct class_rule {
	struct pcgdp_match match;
	uint32_t src_group, dst_group; // 0: the match's prefix
	uint32_t column; // of one that names a group
	uint32_t rule;  // whatever the caller calls it
	uint32_t at;    // of a rule that was multiplied out
	uint32_t next;  // same place, later in the list; 0: none, else index + 1
};

struct class_place {
	be32 src, dst; // of grouped rules: their column, and 0
	uint32_t proto;
	uint32_t first; // index + 1 of the first rule to be asked by itself; 0: none
	uint32_t spans, n_spans; // in the common array
	bool used;
};

struct class_span { // up to the next one's first port; a place's first span begins at 0
	uint32_t from;
	uint32_t rule; // index + 1; 0: none
};

struct class_tuple {
	uint8_t src_len, dst_len;
	bool proto;
	bool grouped;
	be32 src_mask, dst_mask;
	uint32_t first; // its first rule in the list
	struct places in; // the common array
};

struct classifier {
	struct class_rule *rules; // in order
	uint32_t n, room;
	struct class_tuple *tuples;
	uint32_t n_tuples;
	struct class_place *places;
	uint32_t n_places;
	struct class_span *spans;
	uint32_t n_spans;
	struct columns columns;
};

INLINE bool class_rule_grouped(const struct class_rule *r)
{
	return r->src_group || r->dst_group;
}

int classifier_add(struct classifier *c, const struct pcgdp_match *match, uint32_t rule, uint32_t at);
int classifier_add_grouped(struct classifier *c, const struct pcgdp_match *match, uint32_t src_group, uint32_t dst_group, uint32_t rule);
int classifier_build(struct classifier *c, const struct members *m); // once all are added
void classifier_free(struct classifier *c);
// The first that fits, or NULL. Ports in network order.
const struct class_rule *classifier_find(const struct classifier *c, be32 src, be32 dst, uint8_t proto, be16 sport, be16 dport);
