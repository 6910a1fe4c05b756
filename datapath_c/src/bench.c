// SPDX-License-Identifier: Apache-2.0
// bench.c - the packet path by itself, measured: no NIC, no kernel, every packet of any flow.
//
// Each worker has its own buffers, in an order that no prefetcher guesses. Between passes every
// buffer becomes a frame of another flow, checksums right, untimed; a pass then takes all of them
// through the path in bursts, as a running worker would: its clock read for each burst, its
// counters, its quiescence, housekeeping beside it. What is sent goes to the mem port.
//
// The floor is the same pass over the same buffers with nothing done but what no gateway can
// avoid: the header lines of each packet are read and written, and a tunnel header is copied, or
// the lines of a session touched.

#define _GNU_SOURCE // pthread_setaffinity_np
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "bench.h"

#define HUGE_PAGE (2ul << 20)
enum {
	STRIDE = 2112, // an odd multiple of 64 bytes: 109 cycles where 4096 gave 168
	PRIORITY = 10, // of SCHED_FIFO
	AHEAD = 16,    // frames that the floor prefetches
};

// ---- passes ----

// What this thread had of its CPU: neither what another thread took nor, where the host says so,
// another guest.
static uint64_t on_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void run_burst(struct lane *l, uint32_t at)
{
	const struct pcgdp_bench *b = l->what;
	struct worker *w = l->dp->workers[l->id];
	uint32_t n = MIN(b->frames - at, b->burst);

	w->perf.timed |= b->time_parts;
	worker_begin(w, clock_ns() + b->ahead_s * 1000000000ull);
	run_frames(w, l->roles[at], l->frames + at, n);
	worker_end(w);
	perf_round(&w->perf, n);
}

static void run_path_pass(struct lane *l, struct pcgdp_pass *pass)
{
	const struct pcgdp_bench *b = l->what;

	for (uint32_t at = 0; at < b->frames; at += b->burst) {
		uint64_t on, start;

		if (!b->time_bursts) {
			run_burst(l, at);
			continue;
		}
		on = on_cpu_ns();
		start = tsc();
		run_burst(l, at);
		start = tsc() - start;
		on = on_cpu_ns() - on;
		pass->worst = start > pass->worst ? start : pass->worst;
		pass->worst_on_ns = on > pass->worst_on_ns ? on : pass->worst_on_ns;
	}
}

// The lines of the session table that a packet needs: its bucket, and its direction's entry.
struct table_lines {
	const struct bucket *bucket;
	struct entry *entry;
};

// Of any session that was ever made. Both asked for at once, though the path learns the second from
// the first.
static struct table_lines ask_for_lines(struct lane *l)
{
	const struct session_table *t = &l->dp->arena.sessions;
	uint64_t r = lane_draw(l), entries = 2ul * *t->high;
	struct table_lines at = {&t->index.b[(r >> 32) * t->index.n_main >> 32], &t->e[(r & 0xffffffff) * entries >> 32]};

	PREFETCH(at.bucket);
	PREFETCH_W(at.entry);
	return at;
}

static void run_floor_pass(struct lane *l)
{
	bool table = l->what->work == PCGDP_BENCH_TABLE;
	struct table_lines lines[AHEAD];
	uint32_t n = l->what->frames;

	for (uint32_t i = 0; table && i < AHEAD; i++)
		lines[i] = ask_for_lines(l);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t next = i + AHEAD < n ? i + AHEAD : i;
		uint8_t *ahead = l->frames[next].data, *p = l->frames[i].data;

		PREFETCH_W(ahead);
		PREFETCH_W(l->roles[next] == PCGDP_UPLINK ? ahead - LINE : ahead + LINE);
		l->sum += rd64(p + 16) + p[30]--;
		if (l->roles[i] == PCGDP_DOWNLINK)
			l->sum += rd64(p + LINE + 16) + p[LINE + 30]--;
		if (l->what->work == PCGDP_BENCH_ENCAP)
			memcpy(p + ETH_HLEN_ - TUNNEL, l->header, TUNNEL);
		if (table) {
			struct table_lines *at = &lines[i % AHEAD];

			l->sum += PEEK(&at->bucket->sig[0]);
			BUMP(&at->entry->packets, 0);
			*at = ask_for_lines(l);
		}
	}
}

static void be_realtime(bool on)
{
	struct sched_param p = {.sched_priority = on ? PRIORITY : 0};
	struct timespec pause = {.tv_nsec = 50000};

	pthread_setschedparam(pthread_self(), on ? SCHED_FIFO : SCHED_OTHER, &p); // where permitted
	if (on)
		nanosleep(&pause, NULL); // RLIMIT_RTTIME counts from sleep to sleep: now it bounds a pass
}

static void *lane_main(void *arg)
{
	struct lane *l = arg;
	const struct pcgdp_bench *b = l->what;

	pthread_mutex_lock(&l->gate->open);
	pthread_mutex_unlock(&l->gate->open);
	lane_scribble(l);
	for (uint32_t i = 0; i < b->passes; i++) {
		struct pcgdp_pass *pass = &l->passes[i];
		uint64_t start, start_ns, on_ns;

		lane_refill(l, i);
		pthread_barrier_wait(&l->gate->start);
		be_realtime(b->realtime);
		on_ns = on_cpu_ns();
		start_ns = clock_ns();
		start = tsc();
		if (b->work == PCGDP_BENCH_PATH)
			run_path_pass(l, pass);
		else
			run_floor_pass(l);
		pass->cycles = (double)(tsc() - start) / b->frames;
		pass->ns = (double)(clock_ns() - start_ns) / b->frames;
		pass->on_ns = (double)(on_cpu_ns() - on_ns) / b->frames;
		be_realtime(false);
	}
	return NULL;
}

static bool makes_sense(const struct pcgdp *dp, const struct pcgdp_bench *b, const struct pcgdp_flow *flows, uint32_t n)
{
	bool ok = b->workers && b->workers <= dp->params.workers && b->burst && b->burst <= RX_MAX && b->frames && b->split < n && b->n_sizes &&
		b->n_sizes <= sizeof(b->sizes) / sizeof(b->sizes[0]) && dp->nics[0].ops == &nic_mem_ops && dp->nics[1].ops == &nic_mem_ops;

	for (uint32_t i = 0; ok && i < b->n_sizes; i++)
		ok = b->sizes[i] >= 40 && b->sizes[i] + TUNNEL <= PCGDP_FRAME_MAX;
	for (uint32_t i = 0; ok && i < n; i++)
		ok = flows[i].protocol == IPP_TCP || flows[i].protocol == IPP_UDP;
	return ok;
}

static int lane_open(struct lane *l)
{
	const struct pcgdp_bench *b = l->what;
	uint32_t longest = 0;
	size_t bytes;

	for (uint32_t i = 0; i < b->n_sizes; i++)
		longest = b->sizes[i] > longest ? b->sizes[i] : longest;
	l->stride = b->stride ? b->stride : STRIDE;
	while (longest + TUNNEL + HEADROOM > l->stride)
		l->stride += b->stride ? l->stride : 2 * STRIDE; // stays an odd multiple of 64
	bytes = ((size_t)b->frames * l->stride + HUGE_PAGE) & ~(HUGE_PAGE - 1);
	pthread_mutex_lock(&l->dp->control);
	l->tep = l->dp->cfg->local.tep_be;
	pthread_mutex_unlock(&l->dp->control);
	l->random = 88172645463325252ull + 7919 * l->id;
	l->pool = aligned_alloc(HUGE_PAGE, bytes);
	l->order = malloc(b->frames * sizeof(*l->order));
	l->frames = malloc(b->frames * sizeof(*l->frames));
	l->roles = malloc(b->frames);
	if (!l->pool || !l->order || !l->frames || !l->roles)
		return -ENOMEM;
	madvise(l->pool, bytes, b->small_pages ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
	for (uint32_t i = 0; i < b->frames; i++) {
		uint32_t j = (uint32_t)(lane_draw(l) % (i + 1));

		l->order[i] = l->order[j];
		l->order[j] = i;
	}
	return 0;
}

static void lane_close(struct lane *l)
{
	free(l->pool);
	free(l->order);
	free(l->frames);
	free(l->roles);
}

// All lanes to their end. They count as running workers meanwhile, so that whoever frees something
// waits for them.
static int run_lanes(struct pcgdp *dp, struct lane *lanes, const struct pcgdp_bench *b)
{
	struct gate gate = {.open = PTHREAD_MUTEX_INITIALIZER};
	pthread_t threads[PCGDP_WORKERS_MAX];
	uint32_t n = 0;

	pthread_mutex_lock(&gate.open);
	STORE(&dp->n_workers, b->workers);
	for (; n < b->workers; n++) {
		cpu_set_t cpu;

		CPU_ZERO(&cpu);
		CPU_SET(b->cpus[n], &cpu);
		lanes[n].gate = &gate;
		if (pthread_create(&threads[n], NULL, lane_main, &lanes[n]))
			break;
		pthread_setaffinity_np(threads[n], sizeof(cpu), &cpu);
	}
	pthread_barrier_init(&gate.start, NULL, n ? n : 1); // those there are; too few is said below
	pthread_mutex_unlock(&gate.open);
	for (uint32_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	STORE(&dp->n_workers, 0);
	pthread_barrier_destroy(&gate.start);
	return n == b->workers ? 0 : -EAGAIN;
}

// Housekeeping on the CPUs that no worker of ours has, where there are any: beside it, not between.
static void keep_apart(pthread_t keeper, const struct pcgdp_bench *b)
{
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		return;
	for (uint32_t i = 0; i < b->workers; i++)
		CPU_CLR(b->cpus[i], &cpus);
	if (CPU_COUNT(&cpus))
		pthread_setaffinity_np(keeper, sizeof(cpus), &cpus);
}

int pcgdp_bench(struct pcgdp *dp, const struct pcgdp_bench *what, const struct pcgdp_flow *flows, uint32_t n, struct pcgdp_pass *passes)
{
	struct lane lanes[PCGDP_WORKERS_MAX] = {{0}};
	int rc = 0;

	if (LOAD(&dp->n_workers))
		return -EBUSY;
	if (!makes_sense(dp, what, flows, n))
		return -EINVAL;
	for (uint32_t i = 0; i < what->workers && !rc; i++) {
		lanes[i] = (struct lane){.dp = dp, .what = what, .flows = flows, .n_flows = n, .id = i, .passes = passes + (size_t)i * what->passes};
		rc = lane_open(&lanes[i]);
	}
	if (!rc && what->keeper) {
		dp->stop = false;
		dp->keeper_runs = !pthread_create(&dp->keeper, NULL, keeper_main, dp);
		if (dp->keeper_runs)
			keep_apart(dp->keeper, what);
	}
	if (!rc)
		rc = run_lanes(dp, lanes, what);
	pcgdp_stop(dp); // housekeeping; the workers were ours and are gone
	for (uint32_t i = 0; i < what->workers; i++)
		lane_close(&lanes[i]);
	return rc;
}
