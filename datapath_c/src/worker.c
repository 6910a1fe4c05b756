// SPDX-License-Identifier: Apache-2.0
// worker.c - a worker: what it takes through the path, burst by burst. Its thread is in serve.c.

#include "worker.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

#include "dp.h"
#include "plain.h"
#include "reassemble.h"
#include "tap.h"
#include "trace.h"

enum { FROM_DOWNLINK = 1 << PCGDP_DOWNLINK, FROM_UPLINK = 1 << PCGDP_UPLINK, FROM_ANY = FROM_DOWNLINK | FROM_UPLINK };

#define X(from, name, text) FROM_##from,
const uint8_t stage_enters[N_STAGES] = {
#include "../include/stages.def"
};
#undef X

#define X(from, name, text) name,
static void (*const path[N_STAGES])(struct worker *w, struct burst *b) = {
#include "../include/stages.def"
};
#undef X

uint64_t worker_random(struct worker *w)
{
	union key k = {.q = {w->random++, w->id}};

	return hash_key(&w->dp->arena.head->secret, &k);
}

uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

void settle_ended(struct worker *w, const struct pkt *p)
{
	if (p->verdict == PCGDP_PUNTED)
		BUMP(&w->c.punt, 1);
	if (p->verdict != PCGDP_DROPPED)
		return;
	BUMP(&w->c.drops[p->reason], 1);
	ledger_drop(w, p);
}

// Every stage ends with this: it counts, traces, and takes out what does not go on. Order is kept.
void burst_settle(struct worker *w, struct burst *b, enum stage stage)
{
	uint32_t kept = 0;

	if (!w->dry)
		BUMP(&w->c.stages[stage], b->n);
	if (UNLIKELY(w->tracer != NULL))
		for (uint32_t i = 0; i < b->n; i++)
			trace_stage(w, &b->pkt[i], stage);
	if (LIKELY(!b->ended))
		return;
	for (uint32_t i = 0; i < b->n; i++) {
		if (b->pkt[i].verdict != PCGDP_NEXT) {
			if (!w->dry)
				settle_ended(w, &b->pkt[i]);
			continue;
		}
		if (kept != i)
			b->pkt[kept] = b->pkt[i];
		kept++;
	}
	b->n = kept;
	b->ended = 0;
}

static void run_path(struct worker *w, struct burst *b, uint32_t role)
{
	for (unsigned s = 0; s < N_STAGES && b->n; s++) {
		uint64_t begun = perf_begin(&w->perf);
		uint32_t n = b->n;

		if (!(stage_enters[s] & 1u << role))
			continue;
		path[s](w, b);
		perf_end(&w->perf, s, n, begun);
	}
	b->n = 0;
}

static void capture_tx(struct worker *w, uint32_t role, const struct txq *q)
{
	struct capture *c = w->capture;

	for (uint32_t i = 0; i < q->n; i++) {
		const struct frame *f = &q->frame[i];

		if (c->n == c->n_max || c->used + f->len > c->room)
			continue; // the caller's room is its own choice; it is told the count it asked for
		memcpy(c->out + c->used, f->data, f->len);
		c->used += f->len;
		c->lengths[c->n] = f->len;
		c->roles[c->n++] = role;
	}
}

static void count_tx(struct worker *w, uint32_t role, const struct txq *q)
{
	uint32_t sent = 0;
	uint64_t bytes = 0;

	if (w->dry)
		return;
	for (uint32_t i = 0; i < q->n; i++) {
		if (UNLIKELY(q->frame[i].flags & FRAME_REFUSED)) {
			ledger_unsent(w, role, &q->frame[i]);
			continue;
		}
		bytes += q->frame[i].len;
		sent++;
	}
	BUMP(&w->c.tx, sent);
	BUMP(&w->c.drops[R_TX_FAILED], q->n - sent);
	BUMP(&w->c.nic[role].tx_packets, sent);
	BUMP(&w->c.nic[role].tx_bytes, bytes);
}

void tx_flush(struct worker *w)
{
	for (uint32_t role = 0; role < 2; role++) {
		struct txq *q = &w->tx[role];
		struct nic *nic = &w->dp->nics[role];
		uint64_t begun = perf_begin(&w->perf);

		if (!q->n)
			continue;
		if (w->capture)
			capture_tx(w, role, q);
		else
			nic->ops->tx_burst(nic, w->id, q->frame, q->n);
		count_tx(w, role, q);
		perf_end(&w->perf, PERF_TX, q->n, begun);
		q->n = 0;
	}
}

// Packets made here, and packets turned round inside, until there are none. Each packet is turned
// at most once (PF_LOOPED), so this ends.
static void run_aftermath(struct worker *w)
{
	uint32_t done = 0;

	while (done < w->made.n || w->loop.n) {
		for (; done < w->made.n; done++) {
			struct pkt *m = &w->made.pkt[done];

			m->verdict = (uint8_t)egress_one(w, m);
			settle_ended(w, m);
			if (UNLIKELY(w->tracer != NULL))
				tap_made(w, m);
		}
		if (w->loop.n) {
			w->burst.n = w->loop.n;
			memcpy(w->burst.pkt, w->loop.pkt, w->loop.n * sizeof(struct pkt));
			w->loop.n = 0;
			run_path(w, &w->burst, PCGDP_UPLINK);
		}
	}
	tx_flush(w); // what was made lies in buffers that the next burst uses again
	w->made.n = 0;
}

void send_made(struct worker *w)
{
	if (w->made.n)
		run_aftermath(w);
}

static void count_rx(struct worker *w, uint32_t role, const struct frame *frames, uint32_t n)
{
	uint64_t bytes = 0;

	if (w->dry || w->by_mail)
		return;
	for (uint32_t i = 0; i < n; i++)
		bytes += frames[i].len;
	BUMP(&w->c.rx, n);
	BUMP(&w->c.nic[role].rx_packets, n);
	BUMP(&w->c.nic[role].rx_bytes, bytes);
}

// `which`: a bit for each frame that takes the stages. Returns those for which there was no room.
static uint64_t fill_burst(struct worker *w, uint32_t role, const struct frame *frames, uint64_t which, const struct plain_left *left)
{
	w->burst.n = w->burst.ended = 0;
	for (; which && w->burst.n < BURST; which &= which - 1) {
		unsigned at = (unsigned)__builtin_ctzll(which);
		const struct frame *f = &frames[at];
		struct pkt *p = &w->burst.pkt[w->burst.n];

		memset(p, 0, sizeof(*p));
		p->data = f->data;
		p->len = f->len;
		p->flags = (uint16_t)f->flags;
		p->nic = (uint8_t)role;
		p->number = NONE;
		if (left->parsed >> at & 1)
			plain_hand_over(&left->plain[at], p);
		if (UNLIKELY(w->tracer != NULL))
			trace_begin(w, p, w->burst.n);
		w->burst.n++;
	}
	return which;
}

void run_frames(struct worker *w, uint32_t role, const struct frame *frames, uint32_t n)
{
	bool plain = PLAIN && !w->tracer && !w->dry;
	uint32_t step = plain ? PLAIN_BURST : BURST;
	struct plain_left left;

	for (uint32_t at = 0; at < n; at += step) {
		uint32_t k = MIN(n - at, step);
		uint64_t begun = perf_begin(&w->perf);

		count_rx(w, role, frames + at, k);
		if (LIKELY(plain)) {
			plain_burst(w, role, frames + at, k, n - at - k, &left);
			perf_end(&w->perf, PERF_PLAIN, k, begun);
			BUMP(&w->perf.plain, k - (uint32_t)__builtin_popcountll(left.odd));
		} else {
			left.odd = ~0ull >> (64 - k);
			left.parsed = 0;
		}
		while (UNLIKELY(left.odd)) {
			left.odd = fill_burst(w, role, frames + at, left.odd, &left);
			run_path(w, &w->burst, role);
			if (UNLIKELY(w->made.n || w->loop.n))
				run_aftermath(w);
		}
	}
	tx_flush(w);
	w->n_pieces = 0;
	if (UNLIKELY(!reassembly_idle(w)))
		reassembly_release(w);
}

struct worker *worker_new(struct pcgdp *dp, uint32_t id)
{
	struct worker *w = aligned_alloc(LINE, (sizeof(*w) + LINE - 1) & ~(size_t)(LINE - 1));

	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->dp = dp;
	w->id = id;
	w->made_buf = calloc(MADE_MAX, sizeof(*w->made_buf));
	w->seg = mmap(NULL, COUNTERS_MAX * sizeof(*w->seg), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	w->ledger = ledger_new();
	w->reassembly = reassembly_new();
	w->piece_buf = calloc(PIECES, sizeof(*w->piece_buf)); // takes no memory before it is used
	if (!w->made_buf || !w->ledger || !w->reassembly || !w->piece_buf || w->seg == MAP_FAILED || getrandom(&w->random, sizeof(w->random), 0) != sizeof(w->random)) {
		if (w->seg == MAP_FAILED)
			w->seg = NULL;
		worker_free(w);
		return NULL;
	}
	w->seen.policy = ~0ull; // of no policy yet
	return w;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	if (w->seg)
		munmap(w->seg, COUNTERS_MAX * sizeof(*w->seg));
	ledger_free(w->ledger);
	reassembly_free(w->reassembly);
	free(w->piece_buf);
	free(w->made_buf);
	free(w);
}

void worker_begin(struct worker *w, uint64_t now_ns)
{
	// odd: from here on we may hold references; the fence keeps every load behind it
	__atomic_store_n(&w->seq, w->seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	w->cfg = LOAD(&w->dp->cfg);
	w->now_ns = now_ns;
	w->now_s = seconds_of(w->dp, now_ns);
	w->tracer = w->dry ? w->tracer : (UNLIKELY(LOAD(&w->dp->tracer->on)) ? w->dp->tracer : NULL);
	if (UNLIKELY(!reassembly_idle(w)))
		reassembly_expire(w);
}

void worker_end(struct worker *w)
{
	STORE(&w->seq, w->seq + 1);
}
