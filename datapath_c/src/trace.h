// SPDX-License-Identifier: Apache-2.0
// trace.h - which stages a packet met, kept when somebody asked.
//
// A worker with a tracer writes an event per packet and stage into its own scratch; when the
// packet ends and the filter fits it, its events go into the shared ring. Off, it costs one
// branch a stage.
#pragma once

#include <pthread.h>

#include "worker.h"

enum { TRACE_EVENTS = 4096, TRACE_STEPS = 12 };
enum { TRACE_STAGES = 1, TRACE_TAP = 2 }; // who wants packets noted

struct tap;

struct tracer {
	uint32_t on; // TRACE_*; 0: workers run without a tracer
	struct tap *tap; // NULL: nobody captures
	struct pcgdp_trace_filter filter;
	uint32_t left; // packets still wanted
	uint64_t packets;
	pthread_mutex_t lock;
	uint32_t head, tail; // ring of events; head == tail: empty
	struct pcgdp_trace_event ring[TRACE_EVENTS];
	struct {
		uint32_t n;
		struct pcgdp_trace_event step[TRACE_STEPS];
	} scratch[PCGDP_WORKERS_MAX + 2][2 * BURST];
};

void trace_begin(struct worker *w, struct pkt *p, uint32_t place); // at rx
void trace_stage(struct worker *w, const struct pkt *p, enum stage stage);
void trace_sent(struct worker *w, const struct pkt *p, const struct adj *a); // of the relay's, after egress
