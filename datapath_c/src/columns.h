// SPDX-License-Identifier: Apache-2.0
// columns.h - rules about groups of addresses: which of them fit, however large the groups are.
//
// Multiplied out, a rule of 2,000 sources and 2,000 destinations were 4 million records. Instead,
// either side's address space is cut into ranges inside which all addresses are in the same groups.
// A range has a row of bits, one for each column; a column is a pair of source and destination that
// some rule names. So two bisections and one AND say which pairs fit (bit vectors: Lakshman and
// Stiliadis 1998); columns are numbered in the order of their first rule. Equal rows are kept once.
#pragma once

#include "base.h"

struct class_rule;

struct member { // a prefix, in host order, and whose it is: a group's, or a name's of one side
	uint32_t first, last, of;
};

struct members { // of all groups, in order of their places; the wider before the narrower
	struct member *at;
	uint32_t n;
};

struct column_side {
	uint32_t *from; // where each range begins, in host order; the first one is 0
	uint32_t *row;  // its row
	uint32_t n;
	uint64_t *rows; // n_rows of `words` each; row 0 is empty
	uint32_t n_rows, room, words;
};

struct columns {
	struct column_side src, dst;
	uint32_t *first; // of each: its first rule
	uint32_t n;
};

// Sorted once for all that are built from them. 0 or -ENOMEM; `at` is the caller's to free.
int members_order(struct members *m, const struct pcgdp_members *records, uint32_t n);
// Those of n rules that name a group; each of these learns its column. 0 or -ENOMEM.
int columns_build(struct columns *x, struct class_rule *rules, uint32_t n, const struct members *m);
void columns_free(struct columns *x);

INLINE const uint64_t *columns_row(const struct column_side *s, be32 address)
{
	uint32_t at = 0, a = ntohl(address);

	for (uint32_t n = s->n; n > 1;) {
		uint32_t half = n / 2;

		at = s->from[at + half] <= a ? at + half : at;
		n -= half;
	}
	return &s->rows[(size_t)s->row[at] * s->words];
}
