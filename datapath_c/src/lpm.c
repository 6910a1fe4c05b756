// SPDX-License-Identifier: Apache-2.0
// lpm.c - building the trie of lpm.h.

#include "lpm.h"

#include <stdlib.h>

static int node_new(struct lpm *t, uint32_t inherited, uint32_t *out)
{
	if (t->n == t->room) {
		uint32_t room = t->room ? 2 * t->room : 16;
		struct lpm_node *more = realloc(t->nodes, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		t->nodes = more;
		t->room = room;
	}
	for (unsigned i = 0; i < 256; i++)
		t->nodes[t->n].at[i] = inherited;
	*out = t->n++;
	return 0;
}

int lpm_init(struct lpm *t)
{
	uint32_t root;

	memset(t, 0, sizeof(*t));
	return node_new(t, 0, &root);
}

void lpm_free(struct lpm *t)
{
	free(t->nodes);
	memset(t, 0, sizeof(*t));
}

int lpm_insert(struct lpm *t, be32 prefix, unsigned len, uint32_t value)
{
	uint32_t a = ntohl(prefix & mask_be(len)), node = 0;
	int shift = 24;

	// Down to the node in which the prefix ends, making children that inherit what covered them.
	for (; (int)len > 32 - shift; shift -= 8) {
		uint32_t place = a >> shift & 0xff, v = t->nodes[node].at[place], child;

		if (!(v & LPM_CHILD)) {
			if (node_new(t, v, &child))
				return -ENOMEM;
			t->nodes[node].at[place] = LPM_CHILD | child;
		} else {
			child = v & ~LPM_CHILD;
		}
		node = child;
	}
	uint32_t first = a >> shift & 0xff, n = 1u << (32 - shift - (int)len);

	for (uint32_t i = first; i < first + n; i++)
		t->nodes[node].at[i] = value + 1;
	return 0;
}
