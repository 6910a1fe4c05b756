// SPDX-License-Identifier: Apache-2.0
// clients.c - see clients.h.

#include "clients.h"

#include <stdio.h>
#include <sys/mman.h>

#include "dp.h"

_Static_assert(offsetof(struct client, rec) == 0, "records first");

int clients_open(struct clients *t, uint32_t n)
{
	size_t records = ((size_t)n * sizeof(*t->c) + LINE - 1) & ~(size_t)(LINE - 1);
	uint8_t *at;

	t->bytes = records + sigtab_bytes(n);
	// what no client has touched takes no memory
	at = mmap(NULL, t->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return -ENOMEM;
	t->c = (struct client *)at;
	t->n = n;
	t->free = NONE;
	sigtab_init(&t->index, at + records, n, true);
	return 0;
}

void clients_close(struct clients *t)
{
	if (t->c)
		munmap(t->c, t->bytes);
	t->c = NULL;
}

// ---- finding ----

struct client_query {
	const struct client *c;
	uint32_t vni;
	const uint8_t *mac;
};

static bool client_is(const void *query, uint32_t i)
{
	const struct client_query *q = query;

	return q->c[i].rec.vni == q->vni && !memcmp(q->c[i].rec.mac, q->mac, 6);
}

static uint64_t hash_of(const struct pcgdp *dp, uint32_t vni, const uint8_t *mac)
{
	union key k = {.src = rd32(mac), .dst = rd16(mac + 4), .domain_proto = vni};

	return hash_key(&dp->arena.head->secret, &k);
}

struct client *client_find(const struct pcgdp *dp, uint32_t vni, const uint8_t *mac)
{
	struct client_query q = {dp->clients.c, vni, mac};
	uint32_t i = sigtab_find(&dp->clients.index, hash_of(dp, vni, mac), client_is, &q);

	return i == NONE ? NULL : &dp->clients.c[i];
}

// ---- changing ----

static uint32_t place_take(struct clients *t)
{
	uint32_t i = t->free;

	if (i == NONE)
		return t->high < t->n ? t->high++ : NONE;
	t->free = t->c[i].next_free;
	return i;
}

static int client_add(struct pcgdp *dp, const struct pcgdp_clients *r)
{
	struct clients *t = &dp->clients;
	struct client_query q = {t->c, r->vni, r->mac};
	uint32_t i = place_take(t), there;

	if (i == NONE)
		return -ENOSPC;
	t->c[i] = (struct client){.rec = *r, .live = 1};
	if (sigtab_insert(&t->index, hash_of(dp, r->vni, r->mac), i, client_is, &q, &there)) {
		t->c[i].live = 0;
		t->c[i].next_free = t->free;
		t->free = i;
		return -ENOSPC;
	}
	t->live++;
	return 0;
}

int clients_put(struct pcgdp *dp, const struct pcgdp_clients *r, uint32_t n, char *error, uint32_t error_len)
{
	uint32_t room = dp->clients.n - dp->clients.live, more = 0;
	struct client *c;

	for (uint32_t i = 0; i < n; i++) // whole or not at all
		more += !client_find(dp, r[i].vni, r[i].mac);
	if (more > room) {
		snprintf(error, error_len, "clients: %u more, and %u places are left, so nothing was written; raise `workload_addresses`", more, room);
		return -ENOSPC;
	}
	for (uint32_t i = 0; i < n; i++) {
		c = client_find(dp, r[i].vni, r[i].mac);
		if (c && c->rec.tep_be == r[i].tep_be)
			continue;
		if (c) { // all that is not its key
			STORE(&c->rec.tep_be, r[i].tep_be);
		} else if (client_add(dp, &r[i])) {
			snprintf(error, error_len, "clients[%u]: no place is left in the index", i);
			return -ENOSPC;
		}
		dp->arena.head->changes++;
	}
	return 0;
}

int clients_del(struct pcgdp *dp, const struct pcgdp_clients *r, uint32_t n)
{
	struct clients *t = &dp->clients;
	uint32_t gone = NONE;

	for (uint32_t k = 0; k < n; k++) {
		struct client *c = client_find(dp, r[k].vni, r[k].mac);

		if (!c)
			continue;
		sigtab_remove(&t->index, hash_of(dp, r[k].vni, r[k].mac), (uint32_t)(c - t->c));
		c->live = 0;
		c->next_free = gone;
		gone = (uint32_t)(c - t->c);
		t->live--;
		dp->arena.head->changes++;
	}
	if (gone == NONE)
		return 0;
	quiesce(dp);
	while (gone != NONE) {
		uint32_t i = gone;

		gone = t->c[i].next_free;
		t->c[i].next_free = t->free;
		t->free = i;
	}
	return 0;
}
