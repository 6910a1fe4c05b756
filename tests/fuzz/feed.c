// SPDX-License-Identifier: Apache-2.0
// feed.c - frames in, a burst at a time, and what leaves: kept, and held against all that is known.

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "inside.h"

enum { BURST_MAX = 64, SENT_MAX = 2048, OUT = SENT_MAX * 1600 + 128 * PCGDP_FRAME_MAX, RELAY_CALLS = 16, PIECES_MAX = 16 };

// The latest KEPT frames, in turns.
struct ring {
	struct frame f[KEPT];
	uint32_t n;
};

static uint8_t out[OUT];
static struct ring sent, came;
static struct frame burst[BURST_MAX];
static uint32_t n_burst, lane;
static bool spoiled;  // something came whose checksum is wrong, or pieces of which nobody knows what they become
static int relayed; // what the relay sends leaves as it is, in one of so many calls: nobody judges it

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

void feed_begin(void)
{
	sent.n = came.n = 0;
	spoiled = false;
}

void relayed_from_now(void)
{
	relayed = RELAY_CALLS;
}

// ---- out ----

static void look_at(const struct frame *f, uint32_t vrf)
{
	if (relayed <= 0) {
		hold_sane(f);
		hold_way(f, vrf);
		if (!spoiled)
			hold_sums(f);
	}
	if (world_is_own())
		hold_source(f);
}

static void hold_totals(const struct pcgdp_totals *before, uint32_t came_in, uint32_t left)
{
	struct pcgdp_totals t;

	must(pcgdp_totals(dp, &t), "totals", "");
	assert(t.rx + t.made == t.tx + t.punt + t.drops + t.held + t.joined);
	assert(t.rx == before->rx + came_in && t.tx == before->tx + left);
	assert(t.sessions <= t.sessions_max && t.mappings <= t.mappings_max);
}

// Each frame has memory of its own and no byte more (pcgdp_inject), so a sanitizer sees each byte read past it.
static void run(void)
{
	static uint32_t lengths[SENT_MAX], roles[SENT_MAX];
	uint32_t in_lengths[BURST_MAX], bytes = 0, vrf = n_burst ? vrf_of(&burst[0]) : MIXED;
	struct pcgdp_totals before;
	uint8_t *frames;
	int n;

	for (uint32_t i = 0; i < n_burst; i++)
		bytes += burst[i].len;
	frames = malloc(bytes + 1);
	bytes = 0;
	for (uint32_t i = 0; i < n_burst; i++) {
		vrf = vrf_of(&burst[i]) == vrf ? vrf : MIXED;
		in_lengths[i] = burst[i].len;
		memcpy(frames + bytes, burst[i].data, burst[i].len);
		bytes += burst[i].len;
	}
	must(pcgdp_totals(dp, &before), "totals", "");
	n = inject_as(dp, lane, burst[0].role, frames, in_lengths, n_burst, now_ns, out, OUT, lengths, roles, SENT_MAX);
	must(n, "inject", "");
	free(frames);
	relayed -= relayed > 0 && (lane == 0 || lane >= LANES); // a worker leaves it to inject
	assert(n < SENT_MAX);
	hold_totals(&before, n_burst, (uint32_t)n);
	bytes = 0;
	for (int i = 0; i < n; i++) {
		keep(&sent, roles[i], out + bytes, lengths[i]);
		bytes += lengths[i];
		look_at(&sent.f[(sent.n - 1) % KEPT], vrf);
	}
}

void flush(void)
{
	if (!n_burst)
		return;
	run();
	n_burst = 0;
}

// A worker looks, and there is nothing.
void nothing_came(uint32_t by)
{
	flush();
	lane = by;
	run();
}

// ---- in ----

static void hold_explain(const struct frame *f)
{
	static struct pcgdp_trace_event events[64];
	static uint8_t explained[PCGDP_FRAME_MAX];
	struct pcgdp_totals before, after;
	uint32_t got;

	must(pcgdp_totals(dp, &before), "totals", "");
	must(pcgdp_explain(dp, f->role, f->data, f->len, explained, &got, events, 64), "explain", "");
	must(pcgdp_totals(dp, &after), "totals", "");
	assert(!memcmp(&before, &after, sizeof(before))); // to ask changes nothing
}

static void offer(const struct frame *f, const struct step *s, bool known)
{
	uint32_t by = s->kind >> 5 & 3;

	if (n_burst == BURST_MAX || (n_burst && (burst[0].role != f->role || lane != by)))
		flush();
	lane = by;
	burst[n_burst] = *f;
	if (s->op & OP_MEND)
		mend(&burst[n_burst]);
	spoiled |= !known && !trusted(&burst[n_burst]);
	n_burst++;
	keep(&came, f->role, burst[n_burst - 1].data, f->len);
	if (s->op & OP_EXPLAIN)
		hold_explain(f);
}

void offer_pieces(const struct step *s)
{
	static struct frame pieces[PIECES_MAX], f;
	struct step plain = *s;
	uint32_t which = byte_at(s, 0), n;
	bool all; // of a datagram that is right, each once

	if (!kept(which & 0x80 ? &came : &sent, which & 0x7f, &f))
		return;
	if (!(which & 0x80))
		answer_to(&f, 0xff);
	patch(&f, s, 3);
	mend(&f);
	all = trusted(&f) && byte_at(s, 2) < 4;
	n = cut_up(&f, s, pieces, PIECES_MAX);
	plain.op &= ~(uint32_t)OP_MEND; // a piece's length and checksum are right, its L4 header is elsewhere
	for (uint32_t i = 0; i < n; i++)
		offer(&pieces[i], &plain, all);
}

void offer_made(const struct step *s)
{
	static struct frame f;
	uint32_t kind = s->kind & ~(uint32_t)LANE;

	if (kind == KIND_FRAME) {
		f.role = s->op & OP_UPLINK ? PCGDP_UPLINK : PCGDP_DOWNLINK;
		f.len = s->len > PCGDP_FRAME_MAX ? PCGDP_FRAME_MAX : s->len;
		memcpy(f.data, s->data, f.len);
	} else if (!kept(kind == KIND_AGAIN ? &came : &sent, byte_at(s, 0), &f)) {
		return;
	}
	if (kind == KIND_ANSWER)
		answer_to(&f, byte_at(s, 1));
	if (kind == KIND_ERROR)
		error_about(&f, s);
	else if (kind != KIND_FRAME)
		patch(&f, s, kind == KIND_ANSWER ? 2 : 1);
	offer(&f, s, false);
}

// Flows by the hundred: tables fill up, ports run out, chains grow.
void offer_many(const struct step *s)
{
	static struct frame f;
	uint32_t which = byte_at(s, 0), at = byte_at(s, 2);

	if (!kept(which & 0x80 ? &sent : &came, which & 0x7f, &f))
		return;
	if (which & 0x80)
		answer_to(&f, 0xff);
	at = at >= PATCH_OF_FRAME ? at - PATCH_OF_FRAME : ip_at(&f) + at;
	for (uint32_t i = 0; i < byte_at(s, 1) && at + 2 <= f.len; i++) {
		f.data[at + 1]++;
		f.data[at] = (uint8_t)(f.data[at] + !f.data[at + 1]);
		offer(&f, s, false);
	}
}
