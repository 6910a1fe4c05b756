// SPDX-License-Identifier: Apache-2.0
// serve.c - a worker's thread: it looks at its queue of each port, and waits when there is nothing.

#include <poll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "dp.h"
#include "mail.h"
#include "reassemble.h"

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

// Whoever writes to its ring from here on wakes it by `fd`.
static void falls_asleep(struct pollfd *at, int fd, uint32_t *asleep)
{
	*at = (struct pollfd){.fd = fd, .events = POLLIN};
	__atomic_store_n(asleep, 1, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void wakes_up(int fd, uint32_t *asleep)
{
	uint64_t woken;

	STORE(asleep, 0);
	while (read(fd, &woken, sizeof(woken)) > 0)
		;
}

static void wait_for_frames(struct worker *w)
{
	struct mailbox *box = w->dp->boxes[w->id];
	struct sending *sending = w->id ? NULL : &w->dp->sending;
	struct pollfd fds[4];
	nfds_t n = 0;
	bool waits;

	for (uint32_t role = 0; role < 2; role++) {
		struct nic *nic = &w->dp->nics[role];
		int fd = nic->ops ? nic->wait_fd(nic, w->id) : -1;

		if (fd >= 0)
			fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
	}
	if (box)
		falls_asleep(&fds[n++], box->fd, &box->asleep);
	if (sending)
		falls_asleep(&fds[n++], sending->fd, &sending->asleep);
	waits = mail_waits(box) || (sending && send_waits(sending));
	if (!waits)
		poll(fds, n, SLEEP_MS);
	if (box)
		wakes_up(box->fd, &box->asleep);
	if (sending)
		wakes_up(sending->fd, &sending->asleep);
}

// What passed since the last look was spent on frames, or it was not.
static void spent_until(struct worker *w, uint64_t *then_ns, uint64_t now_ns)
{
	BUMP(w->busy ? &w->perf.busy_ns : &w->perf.idle_ns, now_ns - *then_ns);
	*then_ns = now_ns;
}

// What other workers and the relay sent, what has waited too long for its other pieces, whom to tell of a
// session's end: by the clock alone.
static uint32_t serve_others(struct worker *w, uint64_t now_ns)
{
	bool mail = mail_waits(w->dp->boxes[w->id]), sends = !w->id && send_waits(&w->dp->sending), asks = !w->id && cuts_waiting(&w->dp->cuts);
	uint32_t n = 0;

	if (LIKELY(!mail && !sends && !asks && reassembly_idle(w)))
		return 0;
	worker_begin(w, now_ns);
	if (mail)
		n = mail_serve(w);
	if (sends)
		n += send_serve(w);
	if (asks)
		n += cuts_ask(w);
	worker_end(w);
	return n;
}

// One look at each port. Returns the frames of the larger burst.
static uint32_t serve(struct worker *w, uint64_t *now_ns)
{
	struct frame frames[RX_MAX];
	uint32_t most = 0, n;

	spent_until(w, now_ns, clock_ns());
	for (uint32_t role = 0; role < 2; role++) {
		struct nic *nic = &w->dp->nics[role];
		uint64_t begun = perf_begin(&w->perf);

		n = nic->ops ? nic->ops->rx_burst(nic, w->id, frames, RX_MAX) : 0;

		if (!n)
			continue;
		perf_end(&w->perf, PERF_RX, n, begun);
		worker_begin(w, *now_ns);
		run_frames(w, role, frames, n);
		worker_end(w);
		perf_round(&w->perf, n);
		most = n > most ? n : most;
	}
	n = serve_others(w, *now_ns);
	most = n > most ? n : most;
	w->busy = most;
	return most;
}

void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct pace pace = {0, 0, 0};
	uint32_t empty = 0;
	uint64_t now_ns = clock_ns();

	prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0); // ns; 50,000 otherwise, as long as the nap itself
	while (!LOAD(&w->dp->stop)) {
		uint32_t got = serve(w, &now_ns);
		bool brisk = pace_is_brisk(&pace, now_ns, got);

		empty = got ? 0 : empty + 1;
		if (brisk && 2 * got < BURST && empty < 2) {
			spent_until(w, &now_ns, clock_ns());
			w->busy = false; // what comes is the nap
			nap();
			BUMP(&w->perf.napped, 1);
		} else if (empty > (brisk ? 0 : SPIN_EMPTY)) {
			wait_for_frames(w);
			BUMP(&w->perf.slept, 1);
			empty = 0;
		}
	}
	return NULL;
}
