// SPDX-License-Identifier: Apache-2.0
// tap.h - copies of frames as they came and as they left, for `pcgctl capture`.
//
// A frame is held against the filter when it arrives, before any stage writes into it, and its bytes
// are set aside; when the packet ends it goes into the worker's ring with what became of it. What
// leaves is held against the filter by itself.
//
// A ring is a stream of bytes: `head` counts what was ever written, `tail` what was ever read, and
// head moves by whole records only. Its worker writes, one reader reads, neither ever waits: a reader
// that is too slow costs frames, which are counted.
//
// Off, there is no tap: nothing here is called but behind the tracer's test.
#pragma once

#include "ring.h"
#include "worker.h"

enum { TAP_LANES = PCGDP_WORKERS_MAX + 1, TAP_HEAD = sizeof(struct pcgdp_captured) };

_Static_assert(TAP_HEAD % 8 == 0, "records stay aligned");

struct aside { // a frame that came in, until its packet ends
	bool held, fits;
	uint32_t length, kept, inner;
	uint64_t packet;
};

struct lane { // of one worker
	uint64_t head __attribute__((aligned(LINE)));
	uint64_t seen[2], taken[2], lost[2]; // by role
	uint64_t packets;
	uint32_t lost_before;
	struct aside aside[BURST];
	uint64_t tail __attribute__((aligned(LINE)));
};

struct tap {
	struct pcgdp_capture_wanted wanted;
	struct pcgdp_bpf *filter;
	uint32_t n;
	size_t bytes;      // of `memory`
	uint8_t *memory;   // of each lane: its ring, then BURST frames set aside
	struct lane lane[TAP_LANES];
};

INLINE uint8_t *ring_of(const struct tap *t, uint32_t lane)
{
	return t->memory + (size_t)lane * (t->wanted.ring_bytes + (size_t)BURST * t->wanted.snaplen);
}

INLINE uint8_t *aside_of(const struct tap *t, uint32_t lane, uint32_t place)
{
	return ring_of(t, lane) + t->wanted.ring_bytes + (size_t)place * t->wanted.snaplen;
}

void tap_rx(struct worker *w, struct tap *t, const struct pkt *p, uint32_t place); // as it came
void tap_end(struct worker *w, struct tap *t, const struct pkt *p, uint32_t place, enum stage stage);
void tap_made(struct worker *w, const struct pkt *p); // a packet of the gateway's own, after egress
void tap_free(struct tap *t);
