// SPDX-License-Identifier: Apache-2.0
// harness.c - libFuzzer's way into the packet path: frames, time and commits, as an input says.
//
// The world (its tables, packed) is the file that PCG_FUZZ_WORLD names. An input is a sequence of
//
//     op (1 byte), length (2 bytes, big endian), frame
//
// bits of op: 1 it came by the uplink; 2 lengths and checksums are mended first, so that what is
// behind them is looked at; 4 explain is asked before; 8 all policy is committed again behind it;
// 16 a workload's port goes, or comes back; the rest: time that passes, 0 to 280 s.
//
// After every input: rx + made = tx + punt + sum(drops) + held + joined, and no session outlives its timeout.

#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pcgdp.h"

enum { UPLINK = 1, MEND = 2, EXPLAIN = 4, COMMIT = 8, PORT = 16, PASSES = 32, PASSES_S = 40 };
enum { OUT = 64 * 9216, LIFE_S = 8000, INPUTS = 100000, TABLE_MAX = 64 };

static struct table {
	uint32_t number, n, size;
	uint8_t *records;
} world[TABLE_MAX];
static unsigned n_tables;
static struct pcgdp *dp;
static uint64_t now_ns;
static uint8_t out[OUT];

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int rc, const char *what, const char *error)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s: %d %s\n", what, rc, error);
	abort();
}

static void read_world(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint32_t head[3];

	assert(f);
	while (n_tables < TABLE_MAX && fread(head, sizeof(head), 1, f) == 1) {
		struct table *t = &world[n_tables++];

		*t = (struct table){head[0], head[1], head[2], malloc((size_t)head[1] * head[2] + 1)};
		assert(fread(t->records, t->size, t->n, f) == t->n);
	}
	fclose(f);
}

static void commit(void)
{
	char error[256] = "";

	must(pcgdp_policy_begin(dp), "begin", error);
	for (unsigned i = 0; i < n_tables; i++)
		if (world[i].number >= PCGDP_T_LOCAL)
			must(pcgdp_policy_put(dp, world[i].number, world[i].records, world[i].n, error, sizeof(error)), "policy", error);
	must(pcgdp_policy_commit(dp, 1, NULL, 0, error, sizeof(error)), "commit", error);
}

static void put_single(void)
{
	char error[256] = "";

	for (unsigned i = 0; i < n_tables; i++)
		if (world[i].number < PCGDP_T_LOCAL)
			must(pcgdp_put(dp, world[i].number, world[i].records, world[i].n, error, sizeof(error)), "put", error);
}

static void begin_anew(void)
{
	struct pcgdp_params params = {.sessions = 1024, .mappings = 512, .ports = 1024, .workers = 1, .fresh = 1};
	char error[256] = "";

	if (dp)
		pcgdp_close(dp);
	must(pcgdp_open(&params, &dp, error, sizeof(error)), "open", error);
	must(pcgdp_nic_add(dp, "up0", PCGDP_UPLINK, PCGDP_DRIVER_MEM, error, sizeof(error)), "up0", error);
	must(pcgdp_nic_add(dp, "down0", PCGDP_DOWNLINK, PCGDP_DRIVER_MEM, error, sizeof(error)), "down0", error);
	put_single();
	commit();
	now_ns = 1000000000ull * 1000000;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	assert(getenv("PCG_FUZZ_WORLD"));
	read_world(getenv("PCG_FUZZ_WORLD"));
	begin_anew();
	return 0;
}

// ---- mending ----

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void mend_ip(uint8_t *ip, const uint8_t *end, int length)
{
	uint32_t sum = 0;

	if (ip + 20 > end)
		return;
	if (length)
		put16(ip + 2, (uint32_t)(end - ip));
	put16(ip + 10, 0);
	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	put16(ip + 10, 0xffff ^ ((sum & 0xffff) + (sum >> 16)));
}

static void mend(uint8_t *frame, uint32_t len, uint32_t role)
{
	uint8_t *end = frame + len;

	if (role == PCGDP_DOWNLINK && len >= 50) {
		put16(frame + 38, len - 34);
		put16(frame + 40, 0);
		mend_ip(frame + 14 + 20 + 8 + 8 + (frame[42] & 0x3f) * 4 + 14, end, 0);
	}
	mend_ip(frame + 14, end, role == PCGDP_DOWNLINK);
}

// ---- one input ----

static void one_frame(uint32_t op, const uint8_t *data, uint32_t len)
{
	uint32_t role = op & UPLINK ? PCGDP_UPLINK : PCGDP_DOWNLINK, lengths[64], roles[64], got;
	static struct pcgdp_trace_event events[64];
	uint8_t *frame = malloc(len + 1);

	memcpy(frame, data, len);
	if (op & MEND)
		mend(frame, len, role);
	if (op & EXPLAIN)
		must(pcgdp_explain(dp, role, frame, len, out, &got, events, 64), "explain", "");
	must(pcgdp_inject(dp, role, frame, &len, 1, now_ns, out, OUT, lengths, roles, 64), "inject", "");
	free(frame);
}

static void disturb(uint32_t op)
{
	static int gone;

	if (op & COMMIT)
		commit();
	for (unsigned i = 0; op & PORT && i < n_tables; i++) {
		char error[256] = "";

		if (world[i].number != PCGDP_T_PORTS)
			continue;
		if (gone)
			must(pcgdp_put(dp, PCGDP_T_PORTS, world[i].records, world[i].n, error, sizeof(error)), "put", error);
		else
			must(pcgdp_del(dp, PCGDP_T_PORTS, world[i].records, 1), "del", error);
		gone = !gone;
	}
	now_ns += 1000000000ull * PASSES_S * (op / PASSES);
	if (op & (COMMIT | PORT) || op >= PASSES)
		pcgdp_sweep(dp, now_ns);
}

static void settle(void)
{
	struct pcgdp_totals t;

	now_ns += 1000000000ull * LIFE_S;
	put_single();
	pcgdp_sweep(dp, now_ns);
	must(pcgdp_totals(dp, &t), "totals", "");
	assert(t.rx + t.made == t.tx + t.punt + t.drops + t.held + t.joined);
	assert(!t.sessions && !t.mappings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned inputs;

	for (size_t at = 0; at + 3 <= size;) {
		uint32_t op = data[at], len = (uint32_t)data[at + 1] << 8 | data[at + 2];

		at += 3;
		len = len > size - at ? (uint32_t)(size - at) : len;
		len = len > PCGDP_FRAME_MAX ? PCGDP_FRAME_MAX : len;
		one_frame(op, data + at, len);
		disturb(op);
		at += len;
	}
	settle();
	if (++inputs % INPUTS == 0) // seconds are 32 bits
		begin_anew();
	return 0;
}
