// SPDX-License-Identifier: Apache-2.0
// world.c - the tables of the fuzzer's world, and what may happen to them between packets.

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

enum { TABLE_MAX = 64, ROW_MAX = 512 };

static struct table {
	uint32_t number, n, size;
	uint8_t *records;
} world[TABLE_MAX];
static unsigned n_tables;
static bool policy_is_another;

uint64_t now_ns;

// The single tables as they are now.
static struct now {
	uint32_t n, size, key;
	uint8_t *records;
	bool gone[ROW_MAX];
} now[PCGDP_T_LOCAL] = {[PCGDP_T_TEPS] = {.key = 4}, [PCGDP_T_PORTS] = {.key = 8}, [PCGDP_T_NEXTHOPS] = {.key = 4}, [PCGDP_T_CLIENTS] = {.key = 12}};

void must(int rc, const char *what, const char *error)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s: %d %s\n", what, rc, error);
	abort();
}

void world_read(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint32_t head[3];

	assert(f);
	while (n_tables < TABLE_MAX && fread(head, sizeof(head), 1, f) == 1) {
		struct table *t = &world[n_tables++];

		*t = (struct table){head[0], head[1], head[2], malloc((size_t)head[1] * head[2] + 1)};
		assert(t->size <= ROW_MAX && t->n <= ROW_MAX && fread(t->records, t->size, t->n, f) == t->n);
		if (t->number < PCGDP_T_LOCAL)
			now[t->number].records = malloc((size_t)t->n * t->size + 1);
	}
	fclose(f);
}

// Places of ports that are gone are not given to others at once.
static void put_all(struct pcgdp *dp, const struct table *t)
{
	struct now *a = &now[t->number];
	char error[256] = "";
	int rc = pcgdp_put(dp, t->number, t->records, t->n, error, sizeof(error));

	for (uint32_t rounds = 0; rc == -ENOSPC && rounds < 4; rounds++) {
		must(pcgdp_sweep(dp, now_ns), "sweep", "");
		rc = pcgdp_put(dp, t->number, t->records, t->n, error, sizeof(error));
	}
	must(rc, "put", error);
	a->n = t->n;
	a->size = t->size;
	memcpy(a->records, t->records, (size_t)t->n * t->size);
	memset(a->gone, 0, sizeof(a->gone));
}

// What was put, or (gone) deleted, stands in the place of the row with its key.
static void now_is(uint32_t table, const uint8_t *row, bool gone)
{
	struct now *a = &now[table];

	for (uint32_t i = 0; i < a->n; i++) {
		if (memcmp(a->records + (size_t)i * a->size, row, a->key))
			continue;
		memcpy(a->records + (size_t)i * a->size, row, a->size);
		a->gone[i] = gone;
	}
}

const void *world_row(uint32_t table, uint32_t i)
{
	static const uint8_t nobody[ROW_MAX];
	const struct now *a = &now[table];

	if (i >= a->n)
		return NULL;
	return a->gone[i] ? nobody : a->records + (size_t)i * a->size;
}

void world_put(struct pcgdp *dp)
{
	for (unsigned i = 0; i < n_tables; i++)
		if (world[i].number < PCGDP_T_LOCAL)
			put_all(dp, &world[i]);
}

// `other` stands for one of the tables; NULL: all as they were read. What the path refuses is not
// there afterwards.
static void commit(struct pcgdp *dp, const struct table *other)
{
	char error[256] = "";
	int rc = 0;

	must(pcgdp_policy_begin(dp), "begin", error);
	for (unsigned i = 0; i < n_tables && rc >= 0; i++) {
		const struct table *t = other && other->number == world[i].number ? other : &world[i];

		if (t->number >= PCGDP_T_LOCAL)
			rc = pcgdp_policy_put(dp, t->number, t->records, t->n, error, sizeof(error));
	}
	if (rc >= 0)
		rc = pcgdp_policy_commit(dp, 1, NULL, 0, error, sizeof(error));
	if (other && rc < 0)
		pcgdp_policy_abort(dp);
	else
		must(rc, "commit", error);
}

void world_commit(struct pcgdp *dp)
{
	commit(dp, NULL);
	policy_is_another = false;
}

bool world_is_own(void)
{
	return !policy_is_another;
}

void world_restored(struct pcgdp *dp)
{
	world_put(dp);
	if (policy_is_another)
		world_commit(dp);
}

static void del(struct pcgdp *dp, uint32_t table, const uint8_t *row)
{
	must(pcgdp_del(dp, table, row, 1), "del", "");
	now_is(table, row, true);
}

void world_port(struct pcgdp *dp)
{
	static int gone;

	for (unsigned i = 0; i < n_tables; i++) {
		if (world[i].number != PCGDP_T_PORTS)
			continue;
		if (gone)
			put_all(dp, &world[i]);
		else
			del(dp, PCGDP_T_PORTS, world[i].records);
		gone = !gone;
	}
}

static const struct table *chosen(const struct step *s, bool single)
{
	unsigned fit = 0, nth;

	for (unsigned i = 0; i < n_tables; i++)
		fit += (world[i].number < PCGDP_T_LOCAL) == single && world[i].n;
	nth = byte_at(s, 0) % fit;
	for (unsigned i = 0; i < n_tables; i++)
		if ((world[i].number < PCGDP_T_LOCAL) == single && world[i].n && nth-- == 0)
			return &world[i];
	return NULL;
}

static void patch_row(uint8_t *row, uint32_t size, uint32_t keep, const struct step *s)
{
	for (uint32_t at = 2; at + 2 <= s->len; at += 2) {
		uint32_t offset = s->data[at] % size;

		if (offset >= keep)
			row[offset] = s->data[at + 1];
	}
}

// A row of a single table keeps its key, so that world_put() undoes whatever happens to it.
static void change_single(struct pcgdp *dp, const struct table *t, const struct step *s)
{
	uint8_t row[ROW_MAX];
	char error[256];

	memcpy(row, t->records + (size_t)(byte_at(s, 1) % t->n) * t->size, t->size);
	if (s->len < 4) {
		del(dp, t->number, row);
		return;
	}
	patch_row(row, t->size, now[t->number].key, s);
	if (!pcgdp_put(dp, t->number, row, 1, error, sizeof(error)))
		now_is(t->number, row, false);
}

// The path has a place for each VRF up to the highest index; a million of them is allowed, and takes a
// sanitized commit ten seconds.
static void near(uint8_t *row)
{
	struct pcgdp_vrfs vrf;

	memcpy(&vrf, row, sizeof(vrf));
	vrf.index &= 0xff;
	memcpy(row, &vrf, sizeof(vrf));
}

static void change_policy(struct pcgdp *dp, const struct table *t, const struct step *s)
{
	struct table other = *t;
	uint32_t row = byte_at(s, 1) % t->n;
	uint8_t *at;

	other.records = malloc((size_t)t->n * t->size);
	memcpy(other.records, t->records, (size_t)t->n * t->size);
	at = other.records + (size_t)row * t->size;
	if (s->len < 4)
		memmove(at, at + t->size, (size_t)(--other.n - row) * t->size);
	else
		patch_row(at, t->size, 0, s);
	if (t->number == PCGDP_T_VRFS && s->len >= 4)
		near(at);
	commit(dp, &other);
	policy_is_another = true;
	free(other.records);
}

void world_changed(struct pcgdp *dp, uint32_t kind, const struct step *s)
{
	bool single = kind == KIND_PUT;
	const struct table *t = chosen(s, single);

	if (single)
		change_single(dp, t, s);
	else
		change_policy(dp, t, s);
}
