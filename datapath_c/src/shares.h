// SPDX-License-Identifier: Apache-2.0
// shares.h - who holds how many of the places that all share: the heaviest gives way when they are full.
//
// As many records as places, and one for who comes when all are taken. What has not been used lies
// behind `high`, so that few senders are found at few looks.
#pragma once

#include "reassemble.h"

enum { SHARES = DATAGRAMS + 1 };

struct shares {
	uint16_t high;
	uint16_t n[SHARES]; // places of each; 0: free
	struct sharer {
		be32 src;
		uint32_t domain; // where that address is
	} who[SHARES];
};

// One more of this sender's. Returns its record, where the place is given back.
static inline uint16_t share_take(struct shares *s, be32 src, uint32_t domain)
{
	uint16_t at = s->high;

	for (uint16_t i = 0; i < s->high; i++) {
		if (s->n[i] && s->who[i].src == src && s->who[i].domain == domain) {
			s->n[i]++;
			return i;
		}
		if (!s->n[i])
			at = i;
	}
	s->high += at == s->high;
	s->who[at] = (struct sharer){src, domain};
	s->n[at] = 1;
	return at;
}

static inline void share_give(struct shares *s, uint16_t at)
{
	s->n[at]--;
	while (s->high && !s->n[s->high - 1])
		s->high--;
}

// What the heaviest hold.
static inline uint16_t share_most(const struct shares *s)
{
	uint16_t most = 0;

	for (uint16_t i = 0; i < s->high; i++)
		most = s->n[i] > most ? s->n[i] : most;
	return most;
}
