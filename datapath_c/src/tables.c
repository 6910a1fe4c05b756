// SPDX-License-Identifier: Apache-2.0
// tables.c - finding TEPs, workload ports and next hops, and changing ports.
//
// Records that change one by one, at once, and lie in the arena beside the adjacencies made from
// them. Writers are the control thread alone; workers find records through the indices and never
// see a half-made one, because a record's key is written before it is indexed. What a packet leaves
// by is read from the slot alone; the check of a first packet's source reads TEP and VNI from the
// record, and may for an instant see one of them old and the other new.

#include <stdio.h>
#include <stdlib.h>

#include "fair.h"
#include "swap.h"

uint32_t port_find(const struct arena *a, uint32_t vrf, be32 address)
{
	return port_find_hashed(a, hash_pair(a, vrf, address), vrf, address);
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

// A removed port's slot stays unused until the sessions that remember it have been ended.
static void limbo_add(struct arena *a, uint32_t i, uint32_t round)
{
	a->ports[i].dead_round = round;
	a->ports[i].next_free = NONE;
	if (a->limbo_last == NONE)
		a->limbo_first = i;
	else
		a->ports[a->limbo_last].next_free = i;
	a->limbo_last = i;
}

// Three walks over the sessions have ended since. Those of a caller and of housekeeping overlap, so
// two may have begun before the port was gone, or while a worker still opened a session with it.
static bool limbo_over(const struct pcgdp *dp, uint32_t i)
{
	return i != NONE && LOAD(&dp->sweep_round) - dp->arena.ports[i].dead_round > 2;
}

// A process that died may have stopped between a record and its index: the records are the truth.
int tables_attach(struct arena *a)
{
	uint32_t there;
	int rc = 0;

	sigtab_clear(&a->port_index);
	sigtab_clear(&a->tep_index);
	// Adjacencies speak of the old process's MACs, and some may have waited to be freed: all are
	// made anew once the ports are open.
	memset(a->adjs.slots, 0, a->adjs.n_slots * sizeof(*a->adjs.slots));
	*a->adjs.free_head = 0;
	*a->adjs.high = 1;
	a->head->ports_live = a->head->teps_live = 0;
	for (uint32_t i = 0; !rc && i < a->head->ports_high; i++) {
		const struct pcgdp_ports *r = &a->ports[i].rec;
		struct table_query q = {a, r->vrf, r->address_be};

		if (!a->ports[i].live) {
			limbo_add(a, i, 0);
			continue;
		}
		a->head->ports_live++;
		rc = sigtab_insert(&a->port_index, hash_pair(a, r->vrf, r->address_be), i, port_is, &q, &there);
	}
	for (uint32_t i = 0; !rc && i < a->head->teps_high; i++) {
		be32 address = a->teps[i].rec.address_be;
		struct table_query q = {a, 0, address};

		if (!a->teps[i].live)
			continue;
		a->head->teps_live++;
		rc = sigtab_insert(&a->tep_index, hash_pair(a, NONE, address), i, tep_is, &q, &there);
	}
	return rc;
}

// ---- ports ----

static uint32_t port_take(struct pcgdp *dp)
{
	struct arena *a = &dp->arena;
	uint32_t i = a->limbo_first;

	if (a->head->ports_high < a->head->params.ports)
		return a->head->ports_high++;
	if (!limbo_over(dp, i))
		return NONE;
	a->limbo_first = a->ports[i].next_free;
	if (a->limbo_first == NONE)
		a->limbo_last = NONE;
	return i;
}

// The first record for which there is no place; n: all have one.
static uint32_t without_room(const struct pcgdp *dp, const struct pcgdp_ports *r, uint32_t n)
{
	const struct arena *a = &dp->arena;
	uint32_t room = a->head->params.ports - a->head->ports_high, limbo = a->limbo_first;

	for (uint32_t i = 0; i < n; i++) {
		if (port_find(a, r[i].vrf, r[i].address_be) != NONE)
			continue;
		if (room) {
			room--;
			continue;
		}
		if (!limbo_over(dp, limbo))
			return i;
		limbo = a->ports[limbo].next_free;
	}
	return n;
}

// A port in another segment: what its sessions may do is decided again.
static void touch_address(struct pcgdp *dp, const struct pcgdp_ports *r)
{
	struct pcgdp_touch t[2] = {
		{.vrf = r->vrf, .src_be = r->address_be, .src_len = 32},
		{.vrf = r->vrf, .dst_be = r->address_be, .dst_len = 32},
	};

	touch_add(dp, t, 2);
}

static int port_put(struct pcgdp *dp, const struct pcgdp_ports *r, bool *elsewhere)
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
	*elsewhere = !is_new && a->ports[i].rec.vni != r->vni;
	a->ports[i].rec = *r;
	a->head->changes++;
	if (!is_new) {
		port_adjacency(dp, i, dp->swaps);
		return 0;
	}
	fair_forget(&a->ports[i]);
	a->ports[i].live = 1;
	port_adjacency(dp, i, dp->swaps); // before it can be found
	if (sigtab_insert(&a->port_index, hash_pair(a, r->vrf, r->address_be), i, port_is, &q, &there)) {
		a->ports[i].live = 0;
		return -ENOSPC;
	}
	a->head->ports_live++;
	return 0;
}

static int ports_write(struct pcgdp *dp, const struct pcgdp_ports *r, uint32_t n, bool *elsewhere, char *error, uint32_t error_len)
{
	uint32_t i = without_room(dp, r, n); // whole or not at all
	int rc = 0;

	if (i < n)
		return table_full(error, error_len, "ports", i, r[i].address_be, "no place is left, and nothing was written");
	for (i = 0; !rc && i < n; i++)
		rc = port_put(dp, &r[i], &elsewhere[i]);
	swaps_flush(dp, dp->swaps);
	return rc ? table_full(error, error_len, "ports", i - 1, r[i - 1].address_be, "no place is left in the index") : 0;
}

int ports_put(struct pcgdp *dp, const struct pcgdp_ports *r, uint32_t n, char *error, uint32_t error_len)
{
	bool *elsewhere = calloc(n + 1, sizeof(*elsewhere));
	int rc = -ENOMEM;

	if (elsewhere)
		rc = ports_write(dp, r, n, elsewhere, error, error_len);
	else
		snprintf(error, error_len, "no memory for %u ports", n);
	// Only now: a worker that still saw the old record would decide by it, and clear the mark.
	for (uint32_t i = 0; elsewhere && i < n; i++)
		if (elsewhere[i])
			touch_address(dp, &r[i]);
	free(elsewhere);
	return rc;
}

// The slot stops at once; its sessions are ended by the next whole sweep, and only then may
// another port have the slot.
int ports_del(struct pcgdp *dp, const struct pcgdp_ports *r, uint32_t n)
{
	struct arena *a = &dp->arena;
	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = port_find(a, r[k].vrf, r[k].address_be);

		if (i == NONE)
			continue;
		sigtab_remove(&a->port_index, hash_pair(a, r[k].vrf, r[k].address_be), i);
		a->ports[i].live = 0;
		slot_swap(dp, dp->swaps, port_slot(i), (struct slot){0, 0});
		a->head->ports_live--;
		limbo_add(a, i, LOAD(&dp->sweep_round));
		a->head->changes++;
	}
	swaps_flush(dp, dp->swaps);
	return 0;
}
