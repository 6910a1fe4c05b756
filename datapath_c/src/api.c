// SPDX-License-Identifier: Apache-2.0
// api.c - life, tables and policy of pcgdp.h. The rest is in report.c and inject.c.

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "dp.h"
#include "mail.h"
#include "path_mtu.h"
#include "events.h"
#include "fair.h"
#include "swap.h"
#include "tap.h"
#include "trace.h"

#define FAIL(code, ...) (snprintf(error, error_len, __VA_ARGS__), (code))

int pcgdp_abi(void)
{
	return PCGDP_ABI;
}

static int params_check(struct pcgdp_params *p, char *error, uint32_t error_len)
{
	if (p->sessions < 1024 || p->sessions > 16777216)
		return FAIL(-EINVAL, "sessions: %u is not between 1024 and 16777216", p->sessions);
	if (!p->workers || p->workers > PCGDP_WORKERS_MAX)
		return FAIL(-EINVAL, "workers: %u is not between 1 and %u", p->workers, PCGDP_WORKERS_MAX);
	if (!p->mappings)
		p->mappings = p->sessions;
	if (!p->ports)
		p->ports = 131072;
	if (p->mappings > 16777216 || p->ports > 16777216) // sums of them are kept in 32 bits
		return FAIL(-EINVAL, "mappings, ports: %u or %u is above 16777216", p->mappings, p->ports);
	return 0;
}

static int make_parts(struct pcgdp *dp)
{
	dp->cfg = config_new();
	dp->inject = worker_new(dp, PCGDP_WORKERS_MAX);
	dp->dry = worker_new(dp, PCGDP_WORKERS_MAX + 1);
	dp->counter_vni = calloc(COUNTERS_MAX, sizeof(*dp->counter_vni));
	dp->paths = calloc(TEPS_MAX, sizeof(*dp->paths));
	dp->nat_totals = calloc(65536, sizeof(*dp->nat_totals));
	dp->resets = calloc(65536, sizeof(*dp->resets));
	dp->overflows = calloc(65536, sizeof(*dp->overflows));
	dp->timeouts = calloc(65536, sizeof(*dp->timeouts));
	dp->swaps = calloc(1, sizeof(*dp->swaps));
	dp->fw_totals = calloc(FW_COUNTED, sizeof(*dp->fw_totals));
	dp->tracer = calloc(1, sizeof(*dp->tracer));
	dp->n_counters = 1;
	for (uint32_t i = 0; i < dp->params.workers; i++) {
		dp->workers[i] = worker_new(dp, i);
		dp->boxes[i] = dp->params.workers > 1 ? mailbox_new(dp->params.workers) : NULL;
		if (!dp->workers[i] || (dp->params.workers > 1 && !dp->boxes[i]))
			return -ENOMEM;
	}
	if (!dp->cfg || !dp->paths || !dp->inject || !dp->dry || !dp->counter_vni || !dp->nat_totals || !dp->overflows)
		return -ENOMEM;
	if (!dp->timeouts || !dp->swaps || !dp->resets || !dp->fw_totals || !dp->tracer)
		return -ENOMEM;
	pthread_mutex_init(&dp->tracer->lock, NULL);
	dp->dry->dry = true;
	if (getrandom(dp->next_id, sizeof(dp->next_id), 0) != (ssize_t)sizeof(dp->next_id))
		return -EIO;
	if (cuts_open(&dp->cuts) || clients_open(&dp->clients, dp->params.ports) || punts_open(&dp->punts) || sending_open(&dp->sending))
		return -ENOMEM;
	return natports_open(&dp->natports);
}

static void claim_ports(struct pcgdp *dp)
{
	const struct mapping_table *t = &dp->arena.mappings;

	for (uint32_t m = 0; m < *t->high; m++)
		if (t->m[m].sessions && !t->m[m].further)
			natport_claim(&dp->natports, t->m[m].public_index, (uint8_t)t->m[m].domain_proto, ntohs(t->m[m].out_port));
}

int pcgdp_open(const struct pcgdp_params *params, struct pcgdp **out, char *error, uint32_t error_len)
{
	struct pcgdp *dp = aligned_alloc(_Alignof(struct pcgdp), sizeof(*dp)); // its rings have lines of their own
	int rc;

	if (!dp)
		return -ENOMEM;
	memset(dp, 0, sizeof(*dp));
	dp->params = *params;
	dp->opened_ns = clock_ns();
	dp->opened_tsc = tsc();
	dp->tep_epoch = 1;
	pthread_mutex_init(&dp->control, NULL);
	pthread_mutex_init(&dp->injecting, NULL);
	pthread_mutex_init(&dp->sweeping, NULL);
	pthread_mutex_init(&dp->touching, NULL);
	pthread_mutex_init(&dp->walking, NULL);
	pthread_mutex_init(&dp->deciding.lock, NULL);
	rc = params_check(&dp->params, error, error_len);
	if (!rc)
		rc = arena_open(&dp->arena, &dp->params, error, error_len);
	if (!rc) {
		rc = make_parts(dp);
		if (rc)
			snprintf(error, error_len, "no memory for the datapath's tables");
	}
	if (!rc && dp->arena.attached) {
		rc = tables_attach(&dp->arena);
		if (rc)
			snprintf(error, error_len, "arena %s: damaged (a port or TEP stands in it twice); remove the file", dp->params.arena);
		claim_ports(dp);
		fair_attach(&dp->arena);
	}
	if (rc) {
		pcgdp_close(dp);
		return rc < 0 ? rc : -EUCLEAN;
	}
	*out = dp;
	return 0;
}

void pcgdp_close(struct pcgdp *dp)
{
	if (!dp)
		return;
	pcgdp_stop(dp);
	for (uint32_t i = 0; i < 2; i++)
		if (dp->nics[i].ops)
			dp->nics[i].ops->close(&dp->nics[i]);
	for (uint32_t i = 0; i < PCGDP_WORKERS_MAX; i++) {
		worker_free(dp->workers[i]);
		mailbox_free(dp->boxes[i]);
	}
	worker_free(dp->inject);
	worker_free(dp->dry);
	config_free(dp->cfg);
	config_free(dp->building);
	natports_close(&dp->natports);
	clients_close(&dp->clients);
	punts_close(&dp->punts);
	sending_close(&dp->sending);
	free(dp->counter_vni);
	free(dp->paths);
	free(dp->nat_totals);
	free(dp->resets);
	free(dp->overflows);
	free(dp->timeouts);
	free(dp->swaps);
	free(dp->fw_totals);
	if (dp->tracer)
		tap_free(dp->tracer->tap);
	free(dp->tracer);
	events_free(dp->events);
	free(dp->touches.at);
	free(dp->cuts.at);
	arena_close(&dp->arena);
	free(dp);
}

int pcgdp_nic_add(struct pcgdp *dp, const char *name, uint32_t role, uint32_t driver, char *error, uint32_t error_len)
{
	struct nic *nic, opened;
	int rc;

	if (role > PCGDP_UPLINK || driver > PCGDP_DRIVER_AUTO)
		return FAIL(-EINVAL, "%s: role %u or driver %u does not exist", name, role, driver);
	nic = &dp->nics[role];
	if (nic->ops)
		return FAIL(-EEXIST, "%s: the %s is %s already", name, role == PCGDP_UPLINK ? "uplink" : "downlink", nic->name);
	if (strlen(name) >= sizeof(nic->name))
		return FAIL(-EINVAL, "%s: an interface name has at most 15 bytes", name);
	rc = nic_open(&opened, name, role, driver, dp->params.workers, error, error_len);
	if (rc)
		return rc;
	pthread_mutex_lock(&dp->control);
	rc = policy_steer(dp, &opened, error, error_len); // a policy may be in force already
	if (rc) {
		opened.ops->close(&opened);
	} else {
		nic_publish(nic, &opened);
		adjacencies_rebuild(dp); // those of an attached arena speak of the old process's MAC
	}
	pthread_mutex_unlock(&dp->control);
	return rc;
}

int pcgdp_start(struct pcgdp *dp)
{
	if (dp->n_workers)
		return -EALREADY;
	dp->stop = false;
	for (uint32_t i = 0; i < dp->params.workers; i++) {
		if (pthread_create(&dp->threads[i], NULL, worker_main, dp->workers[i])) {
			pcgdp_stop(dp);
			return -EAGAIN;
		}
		STORE(&dp->n_workers, i + 1);
	}
	dp->keeper_runs = !pthread_create(&dp->keeper, NULL, keeper_main, dp);
	if (!dp->keeper_runs) {
		pcgdp_stop(dp);
		return -EAGAIN;
	}
	return 0;
}

int pcgdp_stop(struct pcgdp *dp)
{
	STORE(&dp->stop, true);
	for (uint32_t i = 0; i < dp->n_workers; i++)
		pthread_join(dp->threads[i], NULL);
	STORE(&dp->n_workers, 0);
	if (dp->keeper_runs)
		pthread_join(dp->keeper, NULL);
	dp->keeper_runs = false;
	return 0;
}

// ---- single tables ----

int pcgdp_put(struct pcgdp *dp, uint32_t table, const void *records, uint32_t n, char *error, uint32_t error_len)
{
	int rc = FAIL(-EINVAL, "table %u is not a single table", table);

	pthread_mutex_lock(&dp->control);
	if (table == PCGDP_T_PORTS)
		rc = ports_put(dp, records, n, error, error_len);
	else if (table == PCGDP_T_TEPS)
		rc = teps_put(dp, records, n, error, error_len);
	else if (table == PCGDP_T_NEXTHOPS)
		rc = nexthops_put(dp, records, n, error, error_len);
	else if (table == PCGDP_T_CLIENTS)
		rc = clients_put(dp, records, n, error, error_len);
	pthread_mutex_unlock(&dp->control);
	return rc;
}

int pcgdp_del(struct pcgdp *dp, uint32_t table, const void *records, uint32_t n)
{
	int rc = -EINVAL;

	pthread_mutex_lock(&dp->control);
	if (table == PCGDP_T_PORTS)
		rc = ports_del(dp, records, n);
	else if (table == PCGDP_T_TEPS)
		rc = teps_del(dp, records, n);
	else if (table == PCGDP_T_NEXTHOPS)
		rc = nexthops_del(dp, records, n);
	else if (table == PCGDP_T_CLIENTS)
		rc = clients_del(dp, records, n);
	pthread_mutex_unlock(&dp->control);
	return rc;
}

// One single table's records: the array, how far it is used, and where a record says it lives.
struct view {
	const uint8_t *at;
	size_t stride, live;
	uint32_t high;
};

static struct view single_view(const struct pcgdp *dp, uint32_t table)
{
	const struct arena *a = &dp->arena;
	const struct arena_head *h = a->head;

	if (table == PCGDP_T_PORTS)
		return (struct view){(const uint8_t *)a->ports, sizeof(struct port), offsetof(struct port, live), h->ports_high};
	if (table == PCGDP_T_TEPS)
		return (struct view){(const uint8_t *)a->teps, sizeof(struct tep), offsetof(struct tep, live), h->teps_high};
	if (table == PCGDP_T_CLIENTS)
		return (struct view){(const uint8_t *)dp->clients.c, sizeof(struct client), offsetof(struct client, live), dp->clients.high};
	return (struct view){(const uint8_t *)a->nexthops, sizeof(struct nexthop), offsetof(struct nexthop, live), h->nexthops_high};
}

_Static_assert(offsetof(struct port, rec) == 0 && offsetof(struct tep, rec) == 0 && offsetof(struct nexthop, rec) == 0, "records first");

// `from` counts live records, so pages do not overlap as long as nothing changes in between.
static uint32_t read_single(const struct view *v, uint32_t from, uint8_t *records, uint32_t n, size_t size)
{
	uint32_t got = 0;

	for (uint32_t i = 0, seen = 0; i < v->high && got < n; i++)
		if (rd32(v->at + i * v->stride + v->live) && seen++ >= from)
			memcpy(records + got++ * size, v->at + i * v->stride, size);
	return got;
}

int pcgdp_read(struct pcgdp *dp, uint32_t table, uint32_t from, void *records, uint32_t n)
{
	const struct arena *a = &dp->arena;
	size_t size = record_size(table);
	uint32_t got = 0;

	if (table == PCGDP_RECENT) // its writers hold no lock
		return (int)recent_read(dp, from, records, n);
	if (!size && table != PCGDP_USAGE && table != PCGDP_PATH_MTU)
		return -EINVAL;
	pthread_mutex_lock(&dp->control);
	if (table == PCGDP_USAGE) {
		got = fair_read(a, from, records, n);
	} else if (table == PCGDP_PATH_MTU) {
		got = path_mtu_read(dp, from, records, n);
	} else if (table <= PCGDP_T_CLIENTS) {
		struct view v = single_view(dp, table);

		got = read_single(&v, from, records, n, size);
	} else {
		got = config_read(dp->cfg, table, from, records, n);
	}
	pthread_mutex_unlock(&dp->control);
	return (int)got;
}
