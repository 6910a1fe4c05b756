// SPDX-License-Identifier: Apache-2.0
// world.c - the tables of the fuzzer's world, and what may happen to them between packets.

#include <assert.h>
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
		assert(t->size <= ROW_MAX && fread(t->records, t->size, t->n, f) == t->n);
	}
	fclose(f);
}

static void put_all(struct pcgdp *dp, const struct table *t)
{
	char error[256] = "";

	must(pcgdp_put(dp, t->number, t->records, t->n, error, sizeof(error)), "put", error);
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

void world_port(struct pcgdp *dp)
{
	static int gone;

	for (unsigned i = 0; i < n_tables; i++) {
		if (world[i].number != PCGDP_T_PORTS)
			continue;
		if (gone)
			put_all(dp, &world[i]);
		else
			must(pcgdp_del(dp, PCGDP_T_PORTS, world[i].records, 1), "del", "");
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
	static const uint32_t keys[PCGDP_T_LOCAL] = {[PCGDP_T_TEPS] = 4, [PCGDP_T_PORTS] = 8, [PCGDP_T_NEXTHOPS] = 4, [PCGDP_T_CLIENTS] = 12};
	uint8_t row[ROW_MAX];
	char error[256];

	memcpy(row, t->records + (size_t)(byte_at(s, 1) % t->n) * t->size, t->size);
	if (s->len < 4) {
		must(pcgdp_del(dp, t->number, row, 1), "del", "");
		return;
	}
	patch_row(row, t->size, keys[t->number], s);
	pcgdp_put(dp, t->number, row, 1, error, sizeof(error));
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
	commit(dp, &other);
	policy_is_another = true;
	free(other.records);
}

void world_changed(struct pcgdp *dp, const struct step *s)
{
	bool single = s->kind == KIND_PUT;
	const struct table *t = chosen(s, single);

	if (single)
		change_single(dp, t, s);
	else
		change_policy(dp, t, s);
}
