// SPDX-License-Identifier: Apache-2.0
// worker.c - bursts through the stages, and the thread that does nothing else.

#include "worker.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>

#include "dp.h"
#include "tap.h"
#include "trace.h"

enum { FROM_DOWNLINK = 1 << PCGDP_DOWNLINK, FROM_UPLINK = 1 << PCGDP_UPLINK, FROM_ANY = FROM_DOWNLINK | FROM_UPLINK };

#define X(from, name, text) {FROM_##from, name},
static const struct {
	unsigned from;
	void (*run)(struct worker *w, struct burst *b);
} path[N_STAGES] = {
#include "../include/stages.def"
};
#undef X

uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void settle_ended(struct worker *w, const struct pkt *p)
{
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
	for (unsigned s = 0; s < N_STAGES && b->n; s++)
		if (path[s].from & 1u << role)
			path[s].run(w, b);
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

void tx_flush(struct worker *w)
{
	for (uint32_t role = 0; role < 2; role++) {
		struct txq *q = &w->tx[role];
		struct nic *nic = &w->dp->nics[role];
		uint32_t sent = q->n;
		uint64_t bytes = 0;

		if (!q->n)
			continue;
		if (w->capture)
			capture_tx(w, role, q);
		else
			sent = nic->ops->tx_burst(nic, w->id, q->frame, q->n);
		for (uint32_t i = 0; i < q->n; i++)
			bytes += q->frame[i].len;
		if (!w->dry) {
			ledger_unsent(w, role, q->frame + sent, q->n - sent);
			BUMP(&w->c.tx, sent);
			BUMP(&w->c.drops[R_TX_FAILED], q->n - sent);
			BUMP(&w->c.nic[role].tx_packets, sent);
			BUMP(&w->c.nic[role].tx_bytes, bytes);
		}
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

static void fill_burst(struct worker *w, uint32_t role, const struct frame *frames, uint32_t n)
{
	uint64_t bytes = 0;

	w->burst.n = n;
	w->burst.ended = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct pkt *p = &w->burst.pkt[i];

		PREFETCH(frames[i].data);
		PREFETCH(frames[i].data + LINE);
		memset(p, 0, sizeof(*p));
		p->data = frames[i].data;
		p->len = frames[i].len;
		p->flags = (uint16_t)frames[i].flags;
		p->nic = (uint8_t)role;
		p->number = NONE;
		bytes += frames[i].len;
		if (UNLIKELY(w->tracer != NULL))
			trace_begin(w, p, i);
	}
	if (w->dry)
		return;
	BUMP(&w->c.rx, n);
	BUMP(&w->c.nic[role].rx_packets, n);
	BUMP(&w->c.nic[role].rx_bytes, bytes);
}

void run_frames(struct worker *w, uint32_t role, const struct frame *frames, uint32_t n)
{
	for (uint32_t at = 0; at < n; at += BURST) {
		fill_burst(w, role, frames + at, MIN(n - at, (uint32_t)BURST));
		run_path(w, &w->burst, role);
		if (UNLIKELY(w->made.n || w->loop.n))
			run_aftermath(w);
	}
	tx_flush(w);
}

struct worker *worker_new(struct pcgdp *dp, uint32_t id)
{
	struct worker *w = aligned_alloc(LINE, (sizeof(*w) + LINE - 1) & ~(size_t)(LINE - 1));

	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->dp = dp;
	w->id = id;
	w->made_buf = calloc(BURST, sizeof(*w->made_buf));
	w->seg = mmap(NULL, COUNTERS_MAX * sizeof(*w->seg), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	w->ledger = ledger_new();
	if (!w->made_buf || !w->ledger || w->seg == MAP_FAILED || getrandom(&w->random, sizeof(w->random), 0) != sizeof(w->random)) {
		if (w->seg == MAP_FAILED)
			w->seg = NULL;
		worker_free(w);
		return NULL;
	}
	w->random |= 1;
	return w;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	if (w->seg)
		munmap(w->seg, COUNTERS_MAX * sizeof(*w->seg));
	ledger_free(w->ledger);
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
}

void worker_end(struct worker *w)
{
	STORE(&w->seq, w->seq + 1);
}

// How a worker waits. Idle, it sleeps in poll and the first frame wakes it at once. Under way, it
// lets frames gather for NAP_NS between small bursts: a wake-up and two system calls for each
// single frame would cost ten times what the path does. Bursts that come full are not waited for.
enum {
	SPIN_EMPTY = 64,
	SLEEP_MS = 50,
	NAP_NS = 50000,
	WINDOW_NS = 500000,
	NAP_FROM = 10, // frames in a window: 20,000 a second
};

struct pace {
	uint64_t window_ns; // start of the window
	uint32_t count, last; // frames in it, in the one before
};

static bool pace_is_brisk(struct pace *p, uint64_t now_ns, uint32_t got)
{
	if (now_ns - p->window_ns >= WINDOW_NS) {
		p->last = now_ns - p->window_ns < 2 * WINDOW_NS ? p->count : 0;
		p->count = 0;
		p->window_ns = now_ns;
	}
	p->count += got;
	return p->last >= NAP_FROM;
}

static void nap(void)
{
	struct timespec t = {.tv_nsec = NAP_NS};

	clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static void wait_for_frames(struct worker *w)
{
	struct pollfd fds[2];
	nfds_t n = 0;

	for (uint32_t role = 0; role < 2; role++) {
		struct nic *nic = &w->dp->nics[role];
		int fd = nic->ops ? nic->wait_fd(nic, w->id) : -1;

		if (fd >= 0)
			fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
	}
	poll(fds, n, SLEEP_MS);
}

// One look at each port. Returns the frames of the larger burst.
static uint32_t serve(struct worker *w, uint64_t *now_ns)
{
	struct frame frames[BURST];
	uint32_t most = 0;

	*now_ns = clock_ns();
	for (uint32_t role = 0; role < 2; role++) {
		struct nic *nic = &w->dp->nics[role];
		uint32_t n = nic->ops ? nic->ops->rx_burst(nic, w->id, frames, BURST) : 0;

		if (!n)
			continue;
		worker_begin(w, *now_ns);
		run_frames(w, role, frames, n);
		worker_end(w);
		most = n > most ? n : most;
	}
	return most;
}

void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct pace pace = {0, 0, 0};
	uint32_t empty = 0;
	uint64_t now_ns;

	prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0); // ns; 50,000 otherwise, as long as the nap itself
	while (!LOAD(&w->dp->stop)) {
		uint32_t got = serve(w, &now_ns);
		bool brisk = pace_is_brisk(&pace, now_ns, got);

		empty = got ? 0 : empty + 1;
		if (brisk && got < BURST / 2 && empty < 2) {
			nap();
		} else if (empty > (brisk ? 0 : SPIN_EMPTY)) {
			wait_for_frames(w);
			empty = 0;
		}
	}
	return NULL;
}
