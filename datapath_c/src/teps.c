// SPDX-License-Identifier: Apache-2.0
// teps.c - changing TEPs and next hops; see tables.c for the rules.

#include <stdio.h>
#include <stdlib.h>

#include "path_mtu.h"
#include "swap.h"

#define FEWER_TEPS "use fewer tunnel endpoints"
#define FEWER_HOPS "use fewer next hops"

static int tep_put(struct pcgdp *dp, const struct pcgdp_teps *r, bool *changed)
{
	struct arena *a = &dp->arena;
	struct table_query q = {a, 0, r->address_be};
	uint32_t i = tep_find(a, r->address_be), there;

	if (i != NONE) {
		if (!memcmp(&a->teps[i].rec, r, sizeof(*r)))
			return 0;
		a->teps[i].rec = *r;
	} else {
		// a place of a removed one, if there is any
		i = a->head->teps_live < a->head->teps_high ? 0 : a->head->teps_high;
		while (i < a->head->teps_high && a->teps[i].live)
			i++;
		if (i == a->head->teps_high)
			a->head->teps_high++;
		a->teps[i].rec = *r;
		a->teps[i].live = 1;
		path_mtu_forget(dp, i);
		if (sigtab_insert(&a->tep_index, hash_pair(a, NONE, r->address_be), i, tep_is, &q, &there))
			return -ENOSPC;
		a->head->teps_live++;
	}
	a->head->changes++;
	*changed = true;
	return 0;
}

// Ports behind a TEP that changed get new adjacencies: one pass over the ports for all of them.
void teps_changed(struct pcgdp *dp, const struct pcgdp_teps *r, uint32_t n)
{
	for (uint32_t i = 0; i < dp->arena.head->ports_high; i++) {
		if (!dp->arena.ports[i].live)
			continue;
		bool touched = n > TEPS_EACH; // many changed: cheaper to make all anew than to compare with each

		for (uint32_t k = 0; !touched && k < n; k++)
			touched = dp->arena.ports[i].rec.tep_be == r[k].address_be;
		if (touched)
			port_adjacency(dp, i, dp->swaps);
	}
	swaps_flush(dp, dp->swaps);
}

int teps_put(struct pcgdp *dp, const struct pcgdp_teps *r, uint32_t n, char *error, uint32_t error_len)
{
	uint32_t used = dp->arena.head->teps_live, i;
	bool changed = false;
	int rc = 0;

	for (i = 0; i < n; i++) { // whole or not at all
		used += tep_find(&dp->arena, r[i].address_be) == NONE;
		if (used > TEPS_MAX)
			return table_full(error, error_len, "teps", i, r[i].address_be, "no place is left, and nothing was written; " FEWER_TEPS);
	}
	for (i = 0; !rc && i < n; i++)
		rc = tep_put(dp, &r[i], &changed);
	if (rc)
		table_full(error, error_len, "teps", i - 1, r[i - 1].address_be, "no place is left in the index; " FEWER_TEPS);
	if (changed) {
		STORE(&dp->tep_epoch, dp->tep_epoch + 1);
		teps_changed(dp, r, n);
	}
	return rc;
}

int teps_del(struct pcgdp *dp, const struct pcgdp_teps *r, uint32_t n)
{
	struct arena *a = &dp->arena;
	bool changed = false;

	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = tep_find(a, r[k].address_be);

		if (i == NONE)
			continue;
		sigtab_remove(&a->tep_index, hash_pair(a, NONE, r[k].address_be), i);
		a->teps[i].live = 0;
		a->head->teps_live--;
		a->head->changes++;
		changed = true;
	}
	if (changed) {
		STORE(&dp->tep_epoch, dp->tep_epoch + 1);
		quiesce(dp);
		teps_changed(dp, r, n);
	}
	return 0;
}

// The first record for which there is no place; n: all have one.
static uint32_t nexthops_without_room(const struct arena *a, const struct pcgdp_nexthops *r, uint32_t n)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < a->head->nexthops_high; i++)
		used += a->nexthops[i].live;
	for (uint32_t k = 0; k < n; k++) {
		used += nexthop_find(a, r[k].address_be) == NONE;
		if (used > NEXTHOPS_MAX)
			return k;
	}
	return n;
}

// Sessions remember a slot, so an address that comes back has its old one, and another address takes
// that only when there is none that was never used.
static uint32_t nexthop_place(const struct arena *a, be32 address)
{
	uint32_t high = a->head->nexthops_high, dead = NONE;

	for (uint32_t i = 0; i < high; i++) {
		if (a->nexthops[i].live)
			continue;
		if (a->nexthops[i].rec.address_be == address)
			return i;
		dead = i;
	}
	return high < NEXTHOPS_MAX ? high : dead;
}

int nexthops_put(struct pcgdp *dp, const struct pcgdp_nexthops *r, uint32_t n, char *error, uint32_t error_len)
{
	struct arena *a = &dp->arena;
	uint32_t fit = nexthops_without_room(a, r, n); // whole or not at all
	int rc = 0;

	if (fit < n)
		rc = table_full(error, error_len, "nexthops", fit, r[fit].address_be, "no place is left, and nothing was written; " FEWER_HOPS);
	for (uint32_t k = 0; !rc && k < n; k++) {
		uint32_t i = nexthop_find(a, r[k].address_be);

		if (i != NONE && !memcmp(&a->nexthops[i].rec, &r[k], sizeof(*r)))
			continue;
		if (i == NONE)
			i = nexthop_place(a, r[k].address_be);
		a->nexthops[i].rec = r[k];
		nexthop_adjacency(dp, i, dp->swaps);
		STORE(&a->nexthops[i].live, 1);
		if (i == a->head->nexthops_high)
			STORE(&a->head->nexthops_high, i + 1);
		a->head->changes++;
	}
	swaps_flush(dp, dp->swaps);
	return rc;
}

// The slot stays with its address: sessions that used it end by idling, find another way when they
// are decided again, or go on when the address comes back.
int nexthops_del(struct pcgdp *dp, const struct pcgdp_nexthops *r, uint32_t n)
{
	struct arena *a = &dp->arena;

	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = nexthop_find(a, r[k].address_be);

		if (i == NONE)
			continue;
		STORE(&a->nexthops[i].live, 0);
		slot_swap(dp, dp->swaps, nexthop_slot(a, i), (struct slot){0, 0});
		a->head->changes++;
	}
	swaps_flush(dp, dp->swaps);
	return 0;
}
