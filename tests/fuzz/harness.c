// SPDX-License-Identifier: Apache-2.0
// harness.c - libFuzzer's way into the packet path: frames, what follows from them, time and commits,
// as an input says (harness.h).
//
// The world (its tables, packed) is the file that PCG_FUZZ_WORLD names. Each frame that leaves is held
// against the rules of the wire. After every input: rx + made = tx + punt + sum(drops) + held + joined,
// and no session outlives its timeout.

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

enum { BURST_MAX = 64, SENT_MAX = 256, OUT = SENT_MAX * 2048 + 64 * PCGDP_FRAME_MAX, LIFE_S = 8000, INPUTS = 100000, READS = 256, RELAY_CALLS = 16 };

// The latest KEPT frames, in turns.
struct ring {
	struct frame f[KEPT];
	uint32_t n;
};

static struct pcgdp *dp;
static uint64_t now_ns;
static uint8_t out[OUT];
static struct ring sent, came;
static struct frame burst[BURST_MAX];
static uint32_t n_burst;
static int relayed; // what the relay sends leaves as it is, in one of so many calls: nobody judges it

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void begin_anew(void)
{
	struct pcgdp_params params = {.sessions = 1024, .mappings = 512, .ports = 1024, .workers = 1, .fresh = 1};
	char error[256] = "";

	if (dp)
		pcgdp_close(dp);
	must(pcgdp_open(&params, &dp, error, sizeof(error)), "open", error);
	must(pcgdp_nic_add(dp, "up0", PCGDP_UPLINK, PCGDP_DRIVER_MEM, error, sizeof(error)), "up0", error);
	must(pcgdp_nic_add(dp, "down0", PCGDP_DOWNLINK, PCGDP_DRIVER_MEM, error, sizeof(error)), "down0", error);
	world_put(dp);
	world_commit(dp);
	now_ns = 1000000000ull * 1000000;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	assert(getenv("PCG_FUZZ_WORLD"));
	world_read(getenv("PCG_FUZZ_WORLD"));
	begin_anew();
	return 0;
}

// ---- frames, a burst at a time ----

static void keep(struct ring *r, uint32_t role, const uint8_t *data, uint32_t len)
{
	struct frame *f = &r->f[r->n++ % KEPT];

	f->role = role;
	f->len = len;
	memcpy(f->data, data, len);
}

static bool kept(const struct ring *r, uint32_t which, struct frame *f)
{
	uint32_t n = r->n < KEPT ? r->n : KEPT;

	if (n)
		*f = r->f[(r->n - 1 - which % n) % KEPT];
	return n;
}

static void flush(void)
{
	uint32_t in_lengths[BURST_MAX], lengths[SENT_MAX], roles[SENT_MAX], bytes = 0;
	uint8_t *frames;
	int n;

	for (uint32_t i = 0; i < n_burst; i++)
		bytes += burst[i].len;
	frames = malloc(bytes + 1);
	bytes = 0;
	for (uint32_t i = 0; i < n_burst; i++) {
		in_lengths[i] = burst[i].len;
		memcpy(frames + bytes, burst[i].data, burst[i].len);
		bytes += burst[i].len;
	}
	n = n_burst ? pcgdp_inject(dp, burst[0].role, frames, in_lengths, n_burst, now_ns, out, OUT, lengths, roles, SENT_MAX) : 0;
	must(n, "inject", "");
	free(frames);
	relayed -= n_burst && relayed;
	n_burst = bytes = 0;
	for (int i = 0; i < n; i++) {
		keep(&sent, roles[i], out + bytes, lengths[i]);
		bytes += lengths[i];
		if (relayed <= 0)
			hold_sane(&sent.f[(sent.n - 1) % KEPT]);
		if (world_is_own())
			hold_source(&sent.f[(sent.n - 1) % KEPT]);
	}
}

static void offer(const struct frame *f, const struct step *s)
{
	static struct pcgdp_trace_event events[64];
	static uint8_t explained[PCGDP_FRAME_MAX];
	uint32_t got;

	if (n_burst == BURST_MAX || (n_burst && burst[0].role != f->role))
		flush();
	burst[n_burst] = *f;
	if (s->op & OP_MEND)
		mend(&burst[n_burst]);
	n_burst++;
	keep(&came, f->role, burst[n_burst - 1].data, f->len);
	if (s->op & OP_EXPLAIN)
		must(pcgdp_explain(dp, f->role, f->data, f->len, explained, &got, events, 64), "explain", "");
}

static void offer_pieces(const struct step *s)
{
	static struct frame pieces[16], f;
	struct step plain = *s;
	uint32_t which = byte_at(s, 0), n;

	if (!kept(which & 0x80 ? &came : &sent, which & 0x7f, &f))
		return;
	if (!(which & 0x80))
		answer_to(&f, 0xff);
	patch(&f, s, 3);
	mend(&f);
	n = cut_up(&f, s, pieces, 16);
	plain.op &= ~(uint32_t)OP_MEND; // a piece's length and checksum are right, its L4 header is elsewhere
	for (uint32_t i = 0; i < n; i++)
		offer(&pieces[i], &plain);
}

static void offer_made(const struct step *s)
{
	static struct frame f;

	if (s->kind == KIND_FRAME) {
		f.role = s->op & OP_UPLINK ? PCGDP_UPLINK : PCGDP_DOWNLINK;
		f.len = s->len > PCGDP_FRAME_MAX ? PCGDP_FRAME_MAX : s->len;
		memcpy(f.data, s->data, f.len);
	} else if (!kept(s->kind == KIND_AGAIN ? &came : &sent, byte_at(s, 0), &f)) {
		return;
	}
	if (s->kind == KIND_ANSWER)
		answer_to(&f, byte_at(s, 1));
	if (s->kind == KIND_ERROR)
		error_about(&f, s);
	else if (s->kind != KIND_FRAME)
		patch(&f, s, s->kind == KIND_ANSWER ? 2 : 1);
	offer(&f, s);
}

// ---- one input ----

static void disturb(uint32_t op)
{
	if (op & OP_COMMIT)
		world_commit(dp);
	if (op & OP_PORT)
		world_port(dp);
	now_ns += 1000000000ull * PASSES_S * (op / OP_PASSES);
	if (op & (OP_COMMIT | OP_PORT) || op >= OP_PASSES)
		pcgdp_sweep(dp, now_ns);
}

// Reads what was punted; `data` goes to workloads as it is: the path takes it, or says that it is none.
static void relay(const struct step *s)
{
	static uint8_t parcels[1 << 17];
	int n;

	if (!s->len) {
		must(pcgdp_punts(dp, NULL, 0, 1), "nobody reads", "");
		return;
	}
	do {
		n = pcgdp_punts(dp, parcels, sizeof(parcels), 1);
		must(n, "punts", "");
	} while (n);
	n = pcgdp_send(dp, s->data, s->len);
	assert(n >= -EINVAL && n <= (int)s->len);
	relayed = RELAY_CALLS;
}

// What an operator may look at while packets pass.
static void watch(uint32_t which)
{
	static struct pcgdp_trace_event traced[256];
	static struct pcgdp_event events[256];
	static uint8_t captured[1 << 16];
	static const struct pcgdp_trace_filter any;
	static const struct pcgdp_capture_wanted all = {.ring_bytes = 1 << 16, .snaplen = 96, .roles = 3, .directions = 3, .both = 1};
	struct pcgdp_capture_state state;
	uint64_t lost;

	if (which == 0)
		must(pcgdp_trace_start(dp, &any, 16), "trace", "");
	if (which == 1)
		must(pcgdp_capture_start(dp, &all, NULL, 0), "capture", "");
	must(pcgdp_events(dp, which == 3 ? 0 : 64, events, 256, &lost), "events", "");
	must(pcgdp_trace_read(dp, traced, 256), "trace", "");
	if (which == 3)
		must(pcgdp_capture_start(dp, NULL, NULL, 0), "capture", "");
	else
		pcgdp_capture_read(dp, captured, sizeof(captured), &state);
}

static void one_step(const struct step *s, bool hold)
{
	if (s->kind == KIND_RELAY || s->kind == KIND_WATCH) {
		flush();
		if (s->kind == KIND_RELAY)
			relay(s);
		else
			watch(byte_at(s, 0) & 3);
		return;
	}
	if (s->kind == KIND_POLICY || s->kind == KIND_PUT) {
		flush();
		world_changed(dp, s);
	} else if (s->kind == KIND_PIECES) {
		offer_pieces(s);
	} else {
		offer_made(s);
	}
	if (!hold) {
		flush();
		disturb(s->op);
	}
}

// What an operator may read, whatever happened.
static void read_all(void)
{
	static struct pcgdp_session sessions[1024];
	static struct pcgdp_drop drops[512];
	static struct pcgdp_recent recent[512];
	static struct pcgdp_counter counters[512];
	uint32_t cursor = 0;

	must(pcgdp_sessions(dp, &cursor, sessions, 1024), "sessions", "");
	must(pcgdp_ledger(dp, drops, 512), "ledger", "");
	must(pcgdp_read(dp, PCGDP_RECENT, 0, recent, 512), "recent", "");
	must(pcgdp_counters(dp, PCGDP_T_NAT, counters, 512), "counters", "");
	must(pcgdp_counters(dp, PCGDP_T_PUBLICS, counters, 512), "counters", "");
}

static void settle(void)
{
	struct pcgdp_totals t;

	now_ns += 1000000000ull * LIFE_S;
	world_restored(dp);
	pcgdp_sweep(dp, now_ns);
	must(pcgdp_totals(dp, &t), "totals", "");
	assert(t.rx + t.made == t.tx + t.punt + t.drops + t.held + t.joined);
	assert(!t.sessions && !t.mappings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned inputs;

	sent.n = came.n = 0;
	for (size_t at = 0; at + HEAD <= size;) {
		uint32_t kind = data[at + 1], len = (uint32_t)data[at + 2] << 8 | data[at + 3];
		struct step s = {.op = data[at], .kind = (kind & ~(uint32_t)HOLD) % KINDS, .data = data + at + HEAD};

		at += HEAD;
		s.len = len > size - at ? (uint32_t)(size - at) : len;
		one_step(&s, kind & HOLD);
		at += s.len;
	}
	flush();
	if (++inputs % READS == 0)
		read_all();
	settle();
	if (inputs % INPUTS == 0) // seconds are 32 bits
		begin_anew();
	return 0;
}
