// SPDX-License-Identifier: Apache-2.0
// inject.c - frames through the path without a NIC: tests, fuzzing, `pcgctl explain`.

#include <stdlib.h>

#include "dp.h"
#include "trace.h"

static void stage_frame(uint8_t *buf, const uint8_t *frame, uint32_t len, struct frame *out)
{
	memcpy(buf + HEADROOM, frame, len);
	*out = (struct frame){.data = buf + HEADROOM, .len = len, .flags = 0};
}

// One round's frames, each in memory of its own and no byte more, so that a sanitizer sees each
// byte read past it. Returns how many there are.
static uint32_t stage_round(struct frame *round, const uint8_t *frames, const uint32_t *lengths, uint32_t n)
{
	uint32_t got = 0;

	for (uint32_t i = 0; i < n; frames += lengths[i++]) {
		uint8_t *buf = lengths[i] <= PCGDP_FRAME_MAX ? malloc(HEADROOM + lengths[i]) : NULL;

		if (buf)
			stage_frame(buf, frames, lengths[i], &round[got++]);
	}
	return got;
}

static size_t bytes_of(const uint32_t *lengths, uint32_t n)
{
	size_t bytes = 0;

	for (uint32_t i = 0; i < n; i++)
		bytes += lengths[i];
	return bytes;
}

int pcgdp_inject(struct pcgdp *dp, uint32_t role, const uint8_t *frames, const uint32_t *lengths, uint32_t n, uint64_t now_ns,
	uint8_t *out, uint32_t out_len, uint32_t *out_lengths, uint32_t *out_roles, uint32_t n_out)
{
	struct capture c = {.out = out, .room = out_len, .n_max = n_out, .lengths = out_lengths, .roles = out_roles};
	struct worker *w = dp->inject;
	struct frame round[RX_MAX];
	uint8_t *bufs[RX_MAX];

	if (role > PCGDP_UPLINK)
		return -EINVAL;
	pthread_mutex_lock(&dp->injecting);
	w->capture = &c;
	worker_begin(w, now_ns ? now_ns : clock_ns());
	while (!LOAD(&dp->n_workers) && cuts_waiting(&dp->cuts))
		cuts_ask(w);
	for (uint32_t at = 0, k; at < n; at += k) {
		uint32_t got;

		k = MIN(n - at, (uint32_t)RX_MAX);
		got = stage_round(round, frames, lengths + at, k);
		for (uint32_t i = 0; i < got; i++)
			bufs[i] = round[i].data - HEADROOM;
		run_frames(w, role, round, got);
		for (uint32_t i = 0; i < got; i++)
			free(bufs[i]);
		frames += bytes_of(lengths + at, k);
	}
	if (!LOAD(&dp->n_workers)) // else it is worker 0's
		send_serve(w);
	worker_end(w);
	w->capture = NULL;
	pthread_mutex_unlock(&dp->injecting);
	return (int)c.n;
}

int pcgdp_explain(struct pcgdp *dp, uint32_t role, const uint8_t *frame, uint32_t length, uint8_t *out, uint32_t *out_length,
	struct pcgdp_trace_event *events, uint32_t n_events)
{
	uint32_t lengths[2] = {0, 0}, roles[2], got = 0;
	uint8_t *buf = malloc(HEADROOM + PCGDP_FRAME_MAX);
	struct capture c = {.out = out, .room = PCGDP_FRAME_MAX, .n_max = 1, .lengths = lengths, .roles = roles};
	struct tracer *t = calloc(1, sizeof(*t));
	struct worker *w = dp->dry;
	struct frame f;

	if (!buf || !t || role > PCGDP_UPLINK || length > PCGDP_FRAME_MAX) {
		free(buf);
		free(t);
		return -EINVAL;
	}
	pthread_mutex_init(&t->lock, NULL);
	t->left = 1;
	pthread_mutex_lock(&dp->injecting);
	w->capture = &c;
	w->tracer = t;
	w->dry_ended = NONE;
	stage_frame(buf, frame, length, &f);
	worker_begin(w, clock_ns());
	run_frames(w, role, &f, 1);
	worker_end(w);
	w->capture = NULL;
	w->tracer = NULL;
	pthread_mutex_unlock(&dp->injecting);
	for (; got < n_events && t->head != t->tail; t->head++)
		events[got++] = t->ring[t->head];
	*out_length = lengths[0];
	free(t);
	free(buf);
	return (int)got;
}
