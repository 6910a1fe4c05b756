// SPDX-License-Identifier: Apache-2.0
// harness.c - libFuzzer's way into the packet path: frames, what follows from them, time, commits and
// restarts, as an input says (harness.h).
//
// The world (its tables, packed) is the file that PCG_FUZZ_WORLD names, PCG_FUZZ_ARENA the file where
// sessions outlive a restart. Each frame that leaves is held against the rules of the wire and of this
// world (hold.c), after each burst rx + made = tx + punt + sum(drops) + held + joined, and what left was
// counted; after every input the tables agree with each other (inside.c), and then no session outlives its
// timeout, and nothing is held.

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "inside.h"

enum { LIFE_S = 8000, READS = 64 };

#define LONG_NS (1000000000ull * 2000000000) // seconds are 32 bits

struct pcgdp *dp;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void begin(bool fresh)
{
	struct pcgdp_params params = {.sessions = 1024, .mappings = 192, .ports = 24, .workers = LANES - 1, .fresh = fresh};
	char error[256] = "";

	snprintf(params.arena, sizeof(params.arena), "%s", getenv("PCG_FUZZ_ARENA"));
	if (dp)
		pcgdp_close(dp);
	must(pcgdp_open(&params, &dp, error, sizeof(error)), "open", error);
	must(pcgdp_nic_add(dp, "up0", PCGDP_UPLINK, PCGDP_DRIVER_MEM, error, sizeof(error)), "up0", error);
	must(pcgdp_nic_add(dp, "down0", PCGDP_DOWNLINK, PCGDP_DRIVER_MEM, error, sizeof(error)), "down0", error);
	world_put(dp);
	world_commit(dp);
}

static void begin_anew(void)
{
	begin(true);
	now_ns = 1000000000ull * 1000000;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	assert(getenv("PCG_FUZZ_WORLD") && getenv("PCG_FUZZ_ARENA"));
	world_read(getenv("PCG_FUZZ_WORLD"));
	begin_anew();
	return 0;
}

static void sweep(void)
{
	must(pcgdp_sweep(dp, now_ns), "sweep", "");
}

static void disturb(uint32_t op)
{
	if (op & OP_COMMIT)
		world_commit(dp);
	if (op & OP_PORT)
		world_port(dp);
	now_ns += 1000000000ull * PASSES_S * (op / OP_PASSES);
	if (op & (OP_COMMIT | OP_PORT) || op >= OP_PASSES)
		sweep();
}

static void pass(const struct step *s)
{
	static const uint64_t units_ns[4] = {1000000, 50000000, 1000000000, 60000000000};

	now_ns += byte_at(s, 0) * units_ns[byte_at(s, 1) & 3];
	if (byte_at(s, 2) & 1)
		sweep();
	nothing_came(s->kind >> 5 & 3); // but time passes for what waits
}

// What changes the tables, or looks at them. false: it is about frames.
static bool between(const struct step *s, uint32_t kind)
{
	switch (kind) {
	case KIND_POLICY:
	case KIND_PUT:
		world_changed(dp, kind, s);
		return true;
	case KIND_RELAY:
		relay(s);
		return true;
	case KIND_WATCH:
		watch(s);
		return true;
	case KIND_TIME:
		pass(s);
		return true;
	case KIND_READ:
		read_all(s);
		return true;
	case KIND_RESTART:
		begin(false);
		return true;
	default:
		return false;
	}
}

static bool about_frames(uint32_t kind)
{
	return kind <= KIND_AGAIN || kind == KIND_MANY;
}

static void one_step(const struct step *s, bool held)
{
	uint32_t kind = s->kind & ~(uint32_t)LANE;

	if (!about_frames(kind))
		flush();
	if (!between(s, kind) && kind == KIND_PIECES)
		offer_pieces(s);
	else if (kind == KIND_MANY)
		offer_many(s);
	else if (about_frames(kind))
		offer_made(s);
	if (held)
		return;
	flush();
	if (kind == KIND_POLICY || kind == KIND_PUT)
		sweep();
	if (kind != KIND_RELAY && kind != KIND_WATCH)
		disturb(s->op);
}

static void settle(void)
{
	struct pcgdp_totals t;

	hold_tables(dp, false);
	now_ns += 1000000000ull * LIFE_S;
	world_restored(dp);
	sweep();
	for (uint32_t lane = 0; lane < LANES; lane++)
		nothing_came(lane);
	now_ns += 1000000000ull; // those who were asked for their numbers had their time
	sweep();
	must(pcgdp_totals(dp, &t), "totals", "");
	assert(t.rx + t.made == t.tx + t.punt + t.drops + t.held + t.joined);
	assert(!t.sessions && !t.mappings && !t.held);
	hold_empty(dp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct step all;
	static unsigned inputs;

	feed_begin();
	for (size_t at = 0; at + HEAD <= size;) {
		uint32_t kind = data[at + 1], len = (uint32_t)data[at + 2] << 8 | data[at + 3];
		struct step s = {.op = data[at], .kind = (kind & LANE) | ((kind & 0x1f) % KINDS), .data = data + at + HEAD};

		at += HEAD;
		s.len = len > size - at ? (uint32_t)(size - at) : len;
		one_step(&s, kind & HOLD);
		at += s.len;
	}
	flush();
	if (++inputs % READS == 0)
		read_all(&all);
	settle();
	if (now_ns > LONG_NS)
		begin_anew();
	return 0;
}
