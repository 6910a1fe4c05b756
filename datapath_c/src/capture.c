// SPDX-License-Identifier: Apache-2.0
// capture.c - pcgctl's side of a tap: begin one, read its rings, end it.

#include <stdlib.h>
#include <sys/mman.h>

#include "bpf.h"
#include "dp.h"
#include "tap.h"
#include "trace.h"

enum { RING_MIN = 65536, RING_MAX = 1 << 30 };

void tap_free(struct tap *t)
{
	if (!t)
		return;
	if (t->memory)
		munmap(t->memory, t->bytes);
	free(t->filter);
	free(t);
}

static struct tap *tap_new(const struct pcgdp_capture_wanted *wanted, const struct pcgdp_bpf *filter, uint32_t n)
{
	struct tap *t = aligned_alloc(LINE, (sizeof(*t) + LINE - 1) & ~(size_t)(LINE - 1));

	if (!t)
		return NULL;
	memset(t, 0, sizeof(*t));
	t->wanted = *wanted;
	if (!t->wanted.snaplen || t->wanted.snaplen > PCGDP_FRAME_MAX)
		t->wanted.snaplen = PCGDP_FRAME_MAX;
	t->n = n;
	t->filter = malloc((n + 1) * sizeof(*filter));
	t->bytes = TAP_LANES * (t->wanted.ring_bytes + (size_t)BURST * t->wanted.snaplen);
	// what no worker writes to is never taken from the machine
	t->memory = mmap(NULL, t->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->memory == MAP_FAILED)
		t->memory = NULL;
	if (!t->filter || !t->memory) {
		tap_free(t);
		return NULL;
	}
	if (n)
		memcpy(t->filter, filter, n * sizeof(*filter));
	return t;
}

static bool sane(const struct pcgdp_capture_wanted *wanted, const struct pcgdp_bpf *filter, uint32_t n)
{
	uint32_t ring = wanted->ring_bytes;

	return ring >= RING_MIN && ring <= RING_MAX && !(ring & (ring - 1)) && (!n || !bpf_check(filter, n));
}

int pcgdp_capture_start(struct pcgdp *dp, const struct pcgdp_capture_wanted *wanted, const struct pcgdp_bpf *filter, uint32_t n)
{
	struct tracer *tracer = dp->tracer;
	struct tap *old, *t = NULL;

	if (wanted && !sane(wanted, filter, n))
		return -EINVAL;
	pthread_mutex_lock(&dp->control);
	old = tracer->tap;
	STORE(&tracer->tap, NULL);
	__atomic_and_fetch(&tracer->on, ~(uint32_t)TRACE_TAP, __ATOMIC_SEQ_CST);
	quiesce(dp);
	tap_free(old);
	if (wanted) {
		t = tap_new(wanted, filter, n);
		STORE(&tracer->tap, t);
		if (t)
			__atomic_or_fetch(&tracer->on, (uint32_t)TRACE_TAP, __ATOMIC_SEQ_CST);
	}
	pthread_mutex_unlock(&dp->control);
	return wanted && !t ? -ENOMEM : 0;
}

static void copy_out(const struct tap *t, uint32_t lane, uint64_t at, void *to, uint32_t n)
{
	ring_out(ring_of(t, lane), t->wanted.ring_bytes, at, to, n);
}

// Whole records of one lane, as many as `room` takes.
static uint32_t drain(struct tap *t, uint32_t lane, uint8_t *out, uint32_t room)
{
	struct lane *l = &t->lane[lane];
	uint64_t head = LOAD(&l->head), at = l->tail;
	struct pcgdp_captured c;
	uint32_t got;

	while (at != head) {
		copy_out(t, lane, at, &c, TAP_HEAD);
		if (at + TAP_HEAD + padded(c.captured) - l->tail > room)
			break;
		at += TAP_HEAD + padded(c.captured);
	}
	got = (uint32_t)(at - l->tail);
	copy_out(t, lane, l->tail, out, got);
	STORE(&l->tail, at);
	return got;
}

int pcgdp_capture_read(struct pcgdp *dp, uint8_t *out, uint32_t out_len, struct pcgdp_capture_state *state)
{
	uint32_t got = 0, full = 0;
	struct tap *t;

	pthread_mutex_lock(&dp->control);
	t = dp->tracer->tap;
	memset(state, 0, sizeof(*state));
	for (uint32_t i = 0; t && i < TAP_LANES; i++)
		full += LOAD(&t->lane[i].head) != t->lane[i].tail;
	for (uint32_t i = 0; t && i < TAP_LANES; i++) {
		if (full && LOAD(&t->lane[i].head) != t->lane[i].tail)
			got += drain(t, i, out + got, (out_len - got) / full--); // an equal share of what is left
		for (uint32_t role = 0; role < 2; role++) {
			state->seen[role] += PEEK(&t->lane[i].seen[role]);
			state->taken[role] += PEEK(&t->lane[i].taken[role]);
			state->lost[role] += PEEK(&t->lane[i].lost[role]);
		}
	}
	pthread_mutex_unlock(&dp->control);
	return t ? (int)got : -ENOENT;
}
