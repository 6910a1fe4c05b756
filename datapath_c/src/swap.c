// SPDX-License-Identifier: Apache-2.0
// swap.c - see swap.h.

#include "swap.h"

#include "path_mtu.h"

#include <stdio.h>

int table_full(char *error, uint32_t error_len, const char *table, uint32_t record, be32 address, const char *why)
{
	const uint8_t *b = (const uint8_t *)&address;

	snprintf(error, error_len, "%s[%u] (%u.%u.%u.%u): %s", table, record, b[0], b[1], b[2], b[3], why);
	return -ENOSPC;
}

void swaps_flush(struct pcgdp *dp, struct swaps *s)
{
	if (!s->n)
		return;
	quiesce(dp);
	for (uint32_t i = 0; i < s->n; i++)
		adj_free(&dp->arena.adjs, s->old[i]);
	s->n = 0;
}

void slot_swap(struct pcgdp *dp, struct swaps *s, uint32_t slot, struct slot to)
{
	uint32_t old = slot_get(&dp->arena.adjs, slot).adj;

	slot_set(&dp->arena.adjs, slot, to);
	if (!old)
		return;
	s->old[s->n++] = old;
	if (s->n == SWAPS_MAX)
		swaps_flush(dp, s);
}

void port_template(struct pcgdp *dp, const struct pcgdp_ports *r, const uint8_t *speaker, struct adj *adj)
{
	struct arena *a = &dp->arena;
	uint32_t t = tep_find(a, r->tep_be);
	const struct pcgdp_teps *tep = t == NONE ? NULL : &a->teps[t].rec;
	const struct segment *seg = segment_of_vni(dp->cfg, r->vni);
	const struct pcgdp_local *local = &dp->cfg->local;
	static const uint8_t zero[6];
	struct adj_tunnel at = {.our_mac = dp->nics[PCGDP_DOWNLINK].mac, .next_mac = tep ? tep->mac : zero,
		.inner_src = speaker ? speaker : seg ? seg->rec.gateway_mac : zero, .inner_dst = r->mac, .our_tep = local->tep_be, .tep = r->tep_be, .address = r->address_be,
		.vni = r->vni, .vrf = r->vrf, .label = local->label, .counter = seg ? seg->counter : 0,
		.inner_mtu = seg ? seg->rec.mtu : 1500, .underlay_mtu = path_mtu(dp, t, tep && tep->mtu ? tep->mtu : local->downlink_mtu),
		.option = tep && tep->option, .udp_checksum = local->udp_checksum, .resolved = tep && tep->resolved && seg,
		.silent = tep && tep->silent && !tep->resolved};

	adj_make_tunnel(adj, &at);
}

void port_adjacency(struct pcgdp *dp, uint32_t i, struct swaps *s)
{
	struct arena *a = &dp->arena;
	const struct pcgdp_ports *r = &a->ports[i].rec;
	uint32_t n = adj_alloc(&a->adjs);

	if (!n) { // cannot be: the pool has room for every slot and all swaps that wait
		swaps_flush(dp, s);
		n = adj_alloc(&a->adjs);
	}
	port_template(dp, r, NULL, &a->adjs.adj[n]);
	slot_swap(dp, s, port_slot(i), (struct slot){.adj = n, .tep = r->tep_be});
}

void nexthop_adjacency(struct pcgdp *dp, uint32_t i, struct swaps *s)
{
	struct arena *a = &dp->arena;
	const struct pcgdp_nexthops *r = &a->nexthops[i].rec;
	uint32_t n = adj_alloc(&a->adjs);
	uint32_t mtu = dp->cfg->has_local ? dp->cfg->local.uplink_mtu : 1500;

	adj_make_plain(&a->adjs.adj[n], dp->nics[PCGDP_UPLINK].mac, r->mac, r->address_be, mtu);
	a->adjs.adj[n].resolved = r->resolved;
	a->adjs.adj[n].silent = r->silent && !r->resolved;
	slot_swap(dp, s, nexthop_slot(a, i), (struct slot){.adj = n, .tep = 0});
}

void adjacencies_rebuild(struct pcgdp *dp)
{
	for (uint32_t i = 0; i < dp->arena.head->ports_high; i++)
		if (dp->arena.ports[i].live)
			port_adjacency(dp, i, dp->swaps);
	for (uint32_t i = 0; i < dp->arena.head->nexthops_high; i++)
		if (dp->arena.nexthops[i].live)
			nexthop_adjacency(dp, i, dp->swaps);
	swaps_flush(dp, dp->swaps);
}
