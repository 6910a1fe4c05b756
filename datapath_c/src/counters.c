// SPDX-License-Identifier: Apache-2.0
// counters.c - what pcgdp.h lets be read by object: segments, rules, public addresses.

#include <stdlib.h>

#include "dp.h"
#include "pool.h"

static int segment_counters(struct pcgdp *dp, struct pcgdp_counter *out, uint32_t n)
{
	const struct worker *w[PCGDP_WORKERS_MAX + 1];
	uint32_t workers = all_workers(dp, w), got = 0;

	for (uint32_t c = 1; c < dp->n_counters && got < n; c++) {
		if (dp->counter_vni[c] == NONE)
			continue;
		memset(&out[got], 0, sizeof(*out));
		out[got].id = dp->counter_vni[c];
		for (uint32_t i = 0; i < workers; i++) {
			out[got].in_packets += PEEK(&w[i]->seg[c].in_packets);
			out[got].in_bytes += PEEK(&w[i]->seg[c].in_bytes);
			out[got].out_packets += PEEK(&w[i]->seg[c].out_packets);
			out[got].out_bytes += PEEK(&w[i]->seg[c].out_bytes);
		}
		got++;
	}
	return (int)got;
}

// ---- rules ----

// Its packets are not in the totals: it lives, or it has ended and housekeeping has not come to it yet. Left out
// until then they would fall and rise again, and who reads a counter that falls takes it for one that began anew.
static bool carries(const struct cold *c)
{
	uint8_t state = LOAD(&c->state);

	return (state == S_LIVE || state == S_LEAVING || state == S_DYING) && c->published;
}

static void add_sessions(struct pcgdp *dp, bool nat, struct rule_totals *sum)
{
	const struct session_table *t = &dp->arena.sessions;

	for (uint32_t s = 0, high = LOAD(t->high); s < high; s++) {
		const struct entry *fwd = &t->e[2 * s], *rev = fwd + 1;
		const struct cold *c = &t->cold[s];
		const struct entry *in, *out;
		struct rule_totals *at;
		uint32_t id;

		if (!carries(c))
			continue;
		in = session_from_uplink(t, s) ? fwd : rev;
		out = in == fwd ? rev : fwd;
		id = nat ? c->nat_id : c->fw_id;
		at = &sum[id < FW_COUNTED ? id : 0];
		at->in_packets += PEEK(&in->packets);
		at->in_bytes += PEEK(&in->bytes);
		at->out_packets += PEEK(&out->packets);
		at->out_bytes += PEEK(&out->bytes);
		at->sessions++;
	}
}

static void add_decided(const struct pcgdp *dp, struct rule_totals *sum)
{
	const struct worker *w[PCGDP_WORKERS_MAX + 1];
	uint32_t workers = all_workers(dp, w);

	for (uint32_t i = 0; i < workers; i++)
		for (uint32_t id = 0; id < FW_COUNTED; id++)
			sum[id].hits += PEEK(&w[i]->ledger->decided[id]);
}

// Ports of one range of one public address: how many there are to draw, and how many of them are taken.
struct range {
	uint32_t public_index;
	uint16_t first, last; // last 0: nothing counted yet
	uint32_t there, used;
};

enum { RANGES = 1 << 14 };

// Of SNAT rules, which mostly share addresses and ranges: each range is counted once a call, and once more where
// another one has taken its place.
struct rule_ports {
	struct {
		uint64_t there, used;
		bool counted;
	} of[FW_COUNTED];
	struct range range[RANGES];
};

static const struct range *range_of(const struct pcgdp *dp, struct rule_ports *rp, uint32_t public_index, uint16_t first, uint16_t last)
{
	struct range *g = &rp->range[places_hash(public_index, first, last) % RANGES];

	if (g->last && g->public_index == public_index && g->first == first && g->last == last)
		return g;
	*g = (struct range){public_index, first, last, natport_there(public_of_index(dp->cfg, public_index)->reserved, first, last),
		natport_used(&dp->natports, public_index, first, last)};
	return g;
}

// What an SNAT rule may draw, and what of it is taken, by whichever rule. Its records have this in common.
static void add_ports(struct pcgdp *dp, struct rule_ports *rp)
{
	const struct config *c;

	pthread_mutex_lock(&dp->control); // the policy stays
	c = dp->cfg;
	for (uint32_t i = 0; i < c->n_nat; i++) {
		const struct pcgdp_nat *r = &c->nat[i];

		for (uint32_t k = 0; r->action == PCGDP_SNAT && !rp->of[r->id].counted && k < r->n_pool; k++) {
			const struct range *g = range_of(dp, rp, r->pool[k], port_first_of(c, r), port_last_of(c, r));

			rp->of[r->id].there += g->there;
			rp->of[r->id].used += g->used;
		}
		rp->of[r->id].counted = true;
	}
	pthread_mutex_unlock(&dp->control);
}

// Sessions that have been taken apart are in the totals; the others carry their own counts.
static int rule_counters(struct pcgdp *dp, bool nat, struct pcgdp_counter *out, uint32_t n)
{
	struct rule_totals *sum = malloc(FW_COUNTED * sizeof(*sum));
	struct rule_ports *ports = nat ? calloc(1, sizeof(*ports)) : NULL;
	uint32_t got = 0;

	if (!sum || (nat && !ports)) {
		free(sum);
		free(ports);
		return -ENOMEM;
	}
	if (nat)
		add_ports(dp, ports);
	pthread_mutex_lock(&dp->sweeping); // so that no session is counted twice or not at all
	memcpy(sum, nat ? dp->nat_totals : dp->fw_totals, FW_COUNTED * sizeof(*sum));
	add_sessions(dp, nat, sum);
	pthread_mutex_unlock(&dp->sweeping);
	if (!nat)
		add_decided(dp, sum);
	for (uint32_t i = 1; i < FW_COUNTED && got < n; i++)
		if (sum[i].sessions || sum[i].hits || (nat && ports->of[i].there))
			out[got++] = (struct pcgdp_counter){.id = i, .in_packets = sum[i].in_packets, .in_bytes = sum[i].in_bytes,
				.out_packets = sum[i].out_packets, .out_bytes = sum[i].out_bytes, .sessions = sum[i].sessions, .hits = sum[i].hits,
				.overflow = nat ? PEEK(&dp->overflows[i]) : 0, .ports = nat ? ports->of[i].there : 0, .ports_used = nat ? ports->of[i].used : 0};
	free(ports);
	free(sum);
	return (int)got;
}

// ---- defaults ----

static uint64_t by_default(const struct pcgdp *dp, uint32_t domain)
{
	const struct worker *w[PCGDP_WORKERS_MAX + 1];
	uint32_t workers = all_workers(dp, w);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < workers; i++)
		sum += PEEK(&w[i]->ledger->by_default[domain]);
	return sum;
}

// Two of each VRF. Under the control lock, so that the policy stays.
static int default_counters(struct pcgdp *dp, struct pcgdp_counter *out, uint32_t n)
{
	uint32_t got = 0;

	pthread_mutex_lock(&dp->control);
	for (uint32_t domain = 0; domain < 2 * dp->cfg->n_vrfs && got < n; domain++)
		if (dp->cfg->vrfs[domain / 2].used)
			out[got++] = (struct pcgdp_counter){.id = domain, .hits = by_default(dp, domain)};
	pthread_mutex_unlock(&dp->control);
	return (int)got;
}

// ---- public addresses ----

// Under the control lock, so that the policy stays.
static int public_counters(struct pcgdp *dp, struct pcgdp_counter *out, uint32_t n)
{
	uint32_t got = 0;

	pthread_mutex_lock(&dp->control);
	for (; got < dp->cfg->n_publics && got < n; got++) {
		uint32_t index = dp->cfg->publics[got].rec.index;

		out[got] = (struct pcgdp_counter){.id = index, .ports_used = natport_used(&dp->natports, index, 0, 65535)};
	}
	pthread_mutex_unlock(&dp->control);
	return (int)got;
}

int pcgdp_counters(struct pcgdp *dp, uint32_t table, struct pcgdp_counter *out, uint32_t n)
{
	switch (table) {
	case PCGDP_T_SEGMENTS:
		return segment_counters(dp, out, n);
	case PCGDP_T_VRFS:
		return default_counters(dp, out, n);
	case PCGDP_T_NAT:
	case PCGDP_T_FIREWALL:
		return rule_counters(dp, table == PCGDP_T_NAT, out, n);
	case PCGDP_T_PUBLICS:
		return public_counters(dp, out, n);
	default:
		return -EINVAL;
	}
}
