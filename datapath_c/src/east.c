// SPDX-License-Identifier: Apache-2.0
// east.c - overlay to overlay through the gateway, a burst at a time.
//
//   in:   parse_inner -> session_lookup [ -> east_burst ] -> rewrite
//
// Such packets have no session: each asks for a route and for two workload ports, its own and the
// destination's. Asked packet by packet that is four cache misses one after the other; here each
// is asked for all packets before any is waited for. What is not plainly such a packet is left
// as it is, and decided like any other.

#include "install.h"
#include "swap.h"

struct asked {
	struct pkt *p;
	uint64_t src_hash, dst_hash;
};

static bool to_segment(const struct config *c, const struct pkt *p)
{
	const struct vrf *v = vrf_of(c, p->vrf);
	const struct pcgdp_routes *r;

	if (!v || p->flags & (PF_ICMP_ERROR | PF_UPLINK) || public_of_elastic(c, p->key.dst))
		return false;
	r = route_find(c, v, p->key.dst);
	return r && r->kind == PCGDP_VIA_SEGMENT;
}

static void prefetch_port(const struct arena *a, uint64_t hash)
{
	const struct bucket *b = bucket_of(&a->port_index, hash);
	unsigned m = sig_match(b, sig_of(hash));

	if (m)
		PREFETCH(&a->ports[PEEK(&b->idx[__builtin_ctz(m)])]);
}

// The gateway's own address is no port, so what is for it is not found here.
static void forward(const struct arena *a, const struct asked *k)
{
	struct table_query src = {a, k->p->vrf, k->p->key.src}, dst = {a, k->p->vrf, k->p->key.dst};
	uint32_t from = sigtab_find(&a->port_index, k->src_hash, port_is, &src);
	uint32_t to = sigtab_find(&a->port_index, k->dst_hash, port_is, &dst);

	if (from == NONE || to == NONE || !source_ok(a, k->p, from))
		return;
	k->p->flags |= PF_STATELESS;
	k->p->slot = port_slot(to);
}

// Before   overlay packets without a known session
// After    PF_STATELESS and p->slot on those that go from a port to a port
void east_burst(struct worker *w, struct pkt **list, uint32_t n)
{
	const struct arena *a = &w->dp->arena;
	struct asked asked[BURST];
	uint32_t k = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct pkt *p = list[i];

		if (!to_segment(w->cfg, p))
			continue;
		asked[k] = (struct asked){p, hash_pair(a, p->vrf, p->key.src), hash_pair(a, p->vrf, p->key.dst)};
		PREFETCH(bucket_of(&a->port_index, asked[k].src_hash));
		PREFETCH(bucket_of(&a->port_index, asked[k].dst_hash));
		k++;
	}
	for (uint32_t i = 0; i < k; i++) {
		prefetch_port(a, asked[i].src_hash);
		prefetch_port(a, asked[i].dst_hash);
	}
	for (uint32_t i = 0; i < k; i++)
		forward(a, &asked[i]);
}
