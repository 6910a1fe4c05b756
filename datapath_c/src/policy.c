// SPDX-License-Identifier: Apache-2.0
// policy.c - begin, put, commit: policy is published whole or not at all.

#include <stdio.h>
#include <stdlib.h>

#include "dp.h"

int pcgdp_policy_begin(struct pcgdp *dp)
{
	struct config *c = config_new();

	if (!c)
		return -ENOMEM;
	pthread_mutex_lock(&dp->control);
	config_free(dp->building); // a caller that died in the middle leaves one behind
	dp->building = c;
	pthread_mutex_unlock(&dp->control);
	return 0;
}

int pcgdp_policy_put(struct pcgdp *dp, uint32_t table, const void *records, uint32_t n, char *error, uint32_t error_len)
{
	int rc = -EPROTO;

	pthread_mutex_lock(&dp->control);
	if (dp->building)
		rc = config_put(dp->building, table, records, n, error, error_len);
	else
		snprintf(error, error_len, "put without begin");
	pthread_mutex_unlock(&dp->control);
	return rc;
}

int pcgdp_policy_abort(struct pcgdp *dp)
{
	pthread_mutex_lock(&dp->control);
	config_free(dp->building);
	dp->building = NULL;
	pthread_mutex_unlock(&dp->control);
	return 0;
}

// What the ports' filters must let in, set before the policy is published: a frame for an address
// that is no longer owned stays with the kernel from now on, one for a new address may come a
// moment early and is then counted as NOT_OWNED.
static int steer(struct nic *nics, uint32_t n, const struct config *c, char *error, uint32_t error_len)
{
	be32 *addresses = calloc(c->n_publics + 1, sizeof(*addresses));
	struct owned_prefix *prefixes = calloc(c->n_segments + 1, sizeof(*prefixes));
	struct owned owned = {.tep = c->local.tep_be, .addresses = addresses, .prefixes = prefixes};
	int rc = addresses && prefixes ? 0 : -ENOMEM;

	for (uint32_t i = 0; !rc && i < c->n_publics; i++)
		addresses[owned.n++] = c->publics[i].rec.secondary_be;
	for (uint32_t i = 0; !rc && i < c->n_segments; i++) {
		const struct pcgdp_segments *r = &c->segments[i].rec;

		if (r->kind == PCGDP_SEGMENT && r->flags & PCGDP_ROUTED)
			prefixes[owned.n_prefixes++] = (struct owned_prefix){r->subnet_be, r->prefix_len};
	}
	for (uint32_t i = 0; !rc && i < n; i++)
		if (nics[i].ops && nics[i].steer)
			rc = nics[i].steer(&nics[i], &owned, error, error_len);
	free(addresses);
	free(prefixes);
	return rc;
}

int policy_steer(struct pcgdp *dp, struct nic *nic, char *error, uint32_t error_len)
{
	return dp->cfg->has_local ? steer(nic, 1, dp->cfg, error, error_len) : 0;
}

// ---- places of the segments' counters ----

// `from`: where to look first, 1 at the beginning of a commit.
static uint32_t counter_take(struct pcgdp *dp, uint32_t vni, uint32_t *from)
{
	uint32_t i = *from;

	while (i < dp->n_counters && dp->counter_vni[i] != NONE)
		i++;
	*from = i;
	if (i == COUNTERS_MAX)
		return 0; // all further ones together
	dp->n_counters += i == dp->n_counters;
	dp->counter_vni[i] = vni;
	return i;
}

// Of segments that are gone, once no adjacency and no worker counts there any more.
static void counters_give_back(struct pcgdp *dp, const struct config *old)
{
	const struct worker *w[PCGDP_WORKERS_MAX + 1];
	uint32_t n = all_workers(dp, w);

	for (uint32_t k = 0; k < old->n_segments; k++) {
		uint32_t c = old->segments[k].counter;

		if (!c || segment_of_vni(dp->cfg, old->segments[k].rec.vni))
			continue;
		for (uint32_t i = 0; i < n; i++)
			memset(&w[i]->seg[c], 0, sizeof(w[i]->seg[c]));
		dp->counter_vni[c] = NONE;
	}
}

static bool templates_change(const struct config *a, const struct config *b)
{
	if (memcmp(&a->local, &b->local, sizeof(a->local)) || a->n_segments != b->n_segments)
		return true;
	for (uint32_t i = 0; i < a->n_segments; i++)
		if (memcmp(&a->segments[i].rec, &b->segments[i].rec, sizeof(a->segments[i].rec)))
			return true;
	return false;
}

// A rule that is gone keeps its own: its sessions are about to be decided again.
static void terms_publish(struct pcgdp *dp, const struct config *c)
{
	for (uint32_t i = 0; i < c->n_nat; i++) {
		STORE(&dp->resets[c->nat[i].id], c->nat[i].reset);
		for (uint32_t k = 0; k < PCGDP_TIMERS; k++)
			STORE(&dp->timeouts[c->nat[i].id][k], c->nat[i].timeouts[k]);
	}
}

static void publish(struct pcgdp *dp, struct config *c)
{
	struct config *old = dp->cfg;
	bool rebuild = templates_change(old, c);
	uint32_t from = 1;

	for (uint32_t i = 0; i < c->n_segments; i++) {
		const struct segment *was = segment_of_vni(old, c->segments[i].rec.vni);

		c->segments[i].counter = was ? was->counter : counter_take(dp, c->segments[i].rec.vni, &from);
	}
	terms_publish(dp, c);
	STORE(&dp->cfg, c);
	quiesce(dp);
	if (rebuild)
		adjacencies_rebuild(dp);
	counters_give_back(dp, old);
	config_free(old);
}

static struct config *building_take(struct pcgdp *dp)
{
	struct config *c;

	pthread_mutex_lock(&dp->control);
	c = dp->building;
	dp->building = NULL;
	pthread_mutex_unlock(&dp->control);
	return c;
}

int pcgdp_policy_commit(struct pcgdp *dp, uint64_t revision, const struct pcgdp_touch *touches, uint32_t n, char *error, uint32_t error_len)
{
	struct config *c = building_take(dp);
	int rc;

	if (!c) {
		snprintf(error, error_len, "commit without begin");
		return -EPROTO;
	}
	c->revision = revision;
	rc = config_build(c, error, error_len); // milliseconds: readers need not wait for it
	pthread_mutex_lock(&dp->control);
	if (!rc)
		rc = steer(dp->nics, 2, c, error, error_len);
	if (!rc) {
		c->serial = dp->commits + 1;
		publish(dp, c);
		touch_add(dp, touches, n);
		dp->commits++;
		dp->arena.head->changes++;
	}
	pthread_mutex_unlock(&dp->control);
	if (rc)
		config_free(c);
	return rc;
}
