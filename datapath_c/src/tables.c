// SPDX-License-Identifier: Apache-2.0
// tables.c - finding TEPs, workload ports and next hops, and changing ports.
//
// Records that change one by one, at once, and lie in the arena beside the adjacencies made from
// them. Writers are the control thread alone; workers find records through the indices and never
// see a half-made one, because a record's key is written before it is indexed, and what moves
// (MAC, TEP) is read by the path only from the slot.

#include <stdlib.h>

#include "swap.h"

uint64_t hash_pair(const struct arena *a, uint32_t x, uint32_t y)
{
	union key k = {.src = x, .dst = y};

	return hash_key(&a->head->secret, &k);
}

bool port_is(const void *ctx, uint32_t i)
{
	const struct table_query *q = ctx;

	return q->a->ports[i].rec.vrf == q->vrf && q->a->ports[i].rec.address_be == q->address;
}

bool tep_is(const void *ctx, uint32_t i)
{
	const struct table_query *q = ctx;

	return q->a->teps[i].rec.address_be == q->address;
}

uint32_t port_find(const struct arena *a, uint32_t vrf, be32 address)
{
	struct table_query q = {a, vrf, address};

	return sigtab_find(&a->port_index, hash_pair(a, vrf, address), port_is, &q);
}

uint32_t tep_find(const struct arena *a, be32 address)
{
	struct table_query q = {a, 0, address};

	return sigtab_find(&a->tep_index, hash_pair(a, NONE, address), tep_is, &q);
}

// A handful at most: one per uplink gateway.
uint32_t nexthop_find(const struct arena *a, be32 address)
{
	for (uint32_t i = 0; i < a->head->nexthops_high; i++)
		if (LOAD(&a->nexthops[i].live) && a->nexthops[i].rec.address_be == address)
			return i;
	return NONE;
}

// ---- ports ----

static uint32_t port_take(struct pcgdp *dp)
{
	struct arena_head *h = dp->arena.head;

	if (h->ports_high < h->params.ports)
		return h->ports_high++;
	// places of removed ports whose sessions a whole sweep has seen since
	for (uint32_t i = 0; h->ports_limbo && i < h->ports_high; i++)
		if (!dp->arena.ports[i].live && dp->sweep_round > dp->arena.ports[i].dead_round + 1) {
			h->ports_limbo--;
			return i;
		}
	return NONE;
}

static int port_put(struct pcgdp *dp, const struct pcgdp_ports *r, struct swaps *s)
{
	struct arena *a = &dp->arena;
	struct table_query q = {a, r->vrf, r->address_be};
	uint32_t i = port_find(a, r->vrf, r->address_be), there;
	bool is_new = i == NONE;

	if (is_new) {
		i = port_take(dp);
		if (i == NONE)
			return -ENOSPC;
	} else if (!memcmp(&a->ports[i].rec, r, sizeof(*r))) {
		return 0;
	}
	a->ports[i].rec = *r;
	a->head->changes++;
	if (!is_new) {
		port_adjacency(dp, i, s);
		return 0;
	}
	a->ports[i].live = 1;
	port_adjacency(dp, i, s); // before it can be found
	if (sigtab_insert(&a->port_index, hash_pair(a, r->vrf, r->address_be), i, port_is, &q, &there)) {
		a->ports[i].live = 0;
		return -ENOSPC;
	}
	a->head->ports_live++;
	return 0;
}

int ports_put(struct pcgdp *dp, const struct pcgdp_ports *r, uint32_t n)
{
	uint32_t room = dp->arena.head->params.ports - dp->arena.head->ports_high + dp->arena.head->ports_limbo, fresh = 0;
	struct swaps *s = calloc(1, sizeof(*s));
	int rc = s ? 0 : -ENOMEM;

	for (uint32_t i = 0; !rc && i < n; i++) // whole or not at all: is there room for what is new?
		fresh += port_find(&dp->arena, r[i].vrf, r[i].address_be) == NONE;
	if (fresh > room)
		rc = -ENOSPC;
	for (uint32_t i = 0; !rc && i < n; i++)
		rc = port_put(dp, &r[i], s);
	if (s)
		swaps_flush(dp, s);
	free(s);
	return rc;
}

// The slot stops at once; its sessions are ended by the next whole sweep, and only then may
// another port have the slot.
int ports_del(struct pcgdp *dp, const struct pcgdp_ports *r, uint32_t n)
{
	struct arena *a = &dp->arena;
	struct swaps *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = port_find(a, r[k].vrf, r[k].address_be);

		if (i == NONE)
			continue;
		sigtab_remove(&a->port_index, hash_pair(a, r[k].vrf, r[k].address_be), i);
		a->ports[i].live = 0;
		a->ports[i].dead_round = dp->sweep_round;
		slot_swap(dp, s, port_slot(i), (struct slot){0, 0});
		a->head->ports_live--;
		a->head->ports_limbo++;
		a->head->changes++;
	}
	swaps_flush(dp, s);
	free(s);
	return 0;
}
