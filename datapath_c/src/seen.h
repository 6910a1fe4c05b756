// SPDX-License-Identifier: Apache-2.0
// seen.h - TEPs, segments and uplink addresses that a worker has lately found, found again at one
// look: struct seen of worker.h.
#pragma once

#include "dp.h"
#include "find.h"
#include "plain_parse.h"

static void seen_renew(struct worker *w, uint32_t role)
{
	const struct nic *nics = w->dp->nics;
	struct seen *s = &w->seen;
	uint64_t mac = mac_word(nics[role].mac);
	uint32_t epoch = LOAD(&w->dp->tep_epoch);

	if (UNLIKELY(s->tep_epoch != epoch)) {
		memset(s->teps, 0, sizeof(s->teps));
		s->tep_epoch = epoch;
	}
	if (UNLIKELY(s->policy != w->cfg->serial || s->mac[role] != mac)) {
		memset(s->vnis, 0xff, sizeof(s->vnis));
		memset(s->owned, 0, sizeof(s->owned));
		shape_tunnel(&s->shape[PCGDP_DOWNLINK], nics[PCGDP_DOWNLINK].mac, w->cfg->local.tep_be);
		shape_uplink(&s->shape[PCGDP_UPLINK], nics[PCGDP_UPLINK].mac);
		s->mac[0] = mac_word(nics[0].mac);
		s->mac[1] = mac_word(nics[1].mac);
		s->policy = w->cfg->serial;
	}
}

static inline bool tep_known(struct worker *w, be32 address)
{
	be32 *seen = &w->seen.teps[ntohl(address) % TEPS_SEEN];

	if (LIKELY(*seen == address))
		return address != 0;
	if (tep_find(&w->dp->arena, address) == NONE)
		return false;
	*seen = address;
	return true;
}

static __attribute__((noinline)) bool vni_look_up(struct worker *w, uint32_t vni, struct vni_seen *seen)
{
	const struct segment *s = segment_of_vni(w->cfg, vni);

	if (!s)
		return false;
	*seen = (struct vni_seen){.vni = vni, .domain = domain_of(s->rec.vrf, false), .gateway_mac = mac_word(s->rec.gateway_mac), .counter = &w->seg[s->counter], .segment = s, .transit = s->rec.kind == PCGDP_TRANSIT};
	return true;
}

static inline const struct vni_seen *vni_known(struct worker *w, uint32_t vni)
{
	struct vni_seen *seen = &w->seen.vnis[vni % VNIS_SEEN];

	return LIKELY(seen->vni == vni) || vni_look_up(w, vni, seen) ? seen : NULL;
}

static inline const struct owned_seen *owner_known(struct worker *w, be32 address)
{
	struct owned_seen *seen = &w->seen.owned[ntohl(address) % OWNED_SEEN];
	uint32_t vrf;

	if (LIKELY(seen->address == address && address))
		return seen;
	if (!uplink_owner(w->cfg, address, &vrf))
		return NULL;
	*seen = (struct owned_seen){address, domain_of(vrf, true)};
	return seen;
}
