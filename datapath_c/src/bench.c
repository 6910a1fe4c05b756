// SPDX-License-Identifier: Apache-2.0
// bench.c - the packet path by itself, measured: no NIC, no kernel, every packet of any flow.
//
// Each worker has its own buffers, in an order that no prefetcher guesses. Between passes every
// buffer becomes a frame of another flow, checksums right, untimed; a pass then takes all of them
// through the path in bursts, as a running worker would: its clock read for each burst, its
// counters, its quiescence, housekeeping beside it. What is sent goes to the mem port.
//
// The floor is the same pass over the same buffers with nothing done but what no gateway can
// avoid: the header lines of each packet are read and written, and a tunnel header is copied.

#define _GNU_SOURCE // pthread_setaffinity_np
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "csum.h"
#include "dp.h"

#define HUGE_PAGE (2ul << 20)
enum {
	STRIDE = 2112, // an odd multiple of 64 bytes: 109 cycles where 4096 gave 168
	TUNNEL = TUNNEL_HLEN + OPTION_LEN, // bytes in front of the inner packet
	PRIORITY = 10, // of SCHED_FIFO
	AHEAD = 16,    // frames that the floor prefetches
};

struct gate { // holds all lanes until each is there, then at the start of each pass
	pthread_mutex_t open;
	pthread_barrier_t start;
};

struct lane { // one worker's part
	struct pcgdp *dp;
	const struct pcgdp_bench *what;
	const struct pcgdp_flow *flows;
	uint32_t n_flows, id;
	uint64_t random;
	uint8_t *pool;
	uint32_t stride, *order; // which buffer a frame lies in
	struct frame *frames;
	uint8_t *roles;
	uint8_t header[TUNNEL];
	struct gate *gate;
	struct pcgdp_pass *passes;
	uint64_t sum;       // keeps the floor's reads alive
};

INLINE uint64_t tsc(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	uint64_t v;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
	return v;
#endif
}

static uint64_t draw(struct lane *l)
{
	l->random ^= l->random << 13;
	l->random ^= l->random >> 7;
	l->random ^= l->random << 17;
	return l->random;
}

// ---- frames ----

static void put_eth(uint8_t *at, const uint8_t *dst)
{
	struct eth_hdr eh = {.src = {2, 0, 0, 0, 0, 9}, .type = htons(ETYPE_IPV4)};

	memcpy(eh.dst, dst, 6);
	memcpy(at, &eh, sizeof(eh));
}

static void put_ip(uint8_t *at, be32 src, be32 dst, uint8_t proto, uint32_t len)
{
	struct ip_hdr ip = {.ver_ihl = 0x45, .len = htons((uint16_t)len), .frag = htons(IP_DF), .ttl = 64, .proto = proto, .src = src, .dst = dst};

	ip.csum = (uint16_t)~csum_ip_words(&ip);
	memcpy(at, &ip, sizeof(ip));
}

static void put_sum(uint8_t *l4, uint32_t at, be32 src, be32 dst, uint8_t proto, uint32_t len)
{
	uint16_t sum;

	wr16(l4 + at, 0);
	sum = (uint16_t)~csum_fold(csum_add_bytes(csum_pseudo(src, dst, proto, (uint16_t)len), l4, len));
	wr16(l4 + at, sum ? sum : 0xffff);
}

// The packet itself, `size` bytes; its payload is what lies there.
static void put_packet(uint8_t *at, const struct pcgdp_flow *f, uint32_t size, uint8_t tcp_flags)
{
	uint8_t *l4 = at + IP_HLEN;
	uint32_t n = size - IP_HLEN;

	put_ip(at, f->src_be, f->dst_be, f->protocol, size);
	if (f->protocol == IPP_TCP) {
		struct tcp_hdr th = {.sport = htons(f->sport), .dport = htons(f->dport), .off = 5 << 4, .flags = tcp_flags, .window = 0xffff};

		memcpy(l4, &th, sizeof(th));
		put_sum(l4, 16, f->src_be, f->dst_be, IPP_TCP, n);
	} else {
		struct udp_hdr uh = {.sport = htons(f->sport), .dport = htons(f->dport), .len = htons((uint16_t)n)};

		memcpy(l4, &uh, sizeof(uh));
		put_sum(l4, 6, f->src_be, f->dst_be, IPP_UDP, n);
	}
}

// The tunnel around a packet that lies at `at` + TUNNEL, with its checksum.
static void put_tunnel(const struct lane *l, uint8_t *at, const struct pcgdp_flow *f, uint32_t size)
{
	const struct pcgdp_bench *b = l->what;
	be32 tep = l->dp->cfg->local.tep_be;
	uint32_t udp_len = TUNNEL - ETH_HLEN_ - IP_HLEN + size;
	uint8_t *l4 = at + ETH_HLEN_ + IP_HLEN;
	struct udp_hdr uh = {.sport = htons((uint16_t)(0xc000 | (f->sport * 40503u ^ f->src_be >> 16))), .dport = htons(GENEVE_PORT), .len = htons((uint16_t)udp_len)};
	struct geneve_hdr gh = {.ver_optlen = OPTION_LEN / 4, .flags = GENEVE_F_CRITICAL, .proto = htons(ETYPE_TEB), .vni = {(uint8_t)(b->vni >> 16), (uint8_t)(b->vni >> 8), (uint8_t)b->vni}};
	struct geneve_opt opt = {.class_ = htons(OUR_CLASS), .type = OUR_TYPE, .len = 1};

	put_eth(at, l->dp->nics[PCGDP_DOWNLINK].mac);
	put_ip(at + ETH_HLEN_, f->tep_be, tep, IPP_UDP, udp_len + IP_HLEN);
	memcpy(l4, &uh, sizeof(uh));
	memcpy(l4 + UDP_HLEN, &gh, sizeof(gh));
	memcpy(l4 + UDP_HLEN + GENEVE_HLEN, &opt, sizeof(opt));
	memset(l4 + UDP_HLEN + GENEVE_HLEN + sizeof(opt), 0, OPTION_LEN - sizeof(opt));
	put_eth(l4 + UDP_HLEN + GENEVE_HLEN + OPTION_LEN, b->gateway_mac);
	put_sum(l4, 6, f->tep_be, tep, IPP_UDP, udp_len);
}

static const struct pcgdp_flow *pick(struct lane *l, uint32_t pass, uint32_t i)
{
	const struct pcgdp_bench *b = l->what;
	bool odd = b->split && i / b->burst & 1;
	uint32_t first = odd ? b->split : 0, n = b->split && !odd ? b->split : l->n_flows - first;

	if (b->in_order)
		return &l->flows[(((uint64_t)pass * b->workers + l->id) * b->frames + i) % l->n_flows];
	return &l->flows[first + (uint32_t)((draw(l) >> 32) * n >> 32)];
}

static void refill(struct lane *l, uint32_t pass)
{
	const struct pcgdp_bench *b = l->what;

	for (uint32_t i = 0; i < b->frames; i++) {
		const struct pcgdp_flow *f = pick(l, pass, i);
		uint32_t size = b->sizes[l->order[i] % b->n_sizes];
		uint8_t *at = l->pool + (size_t)l->order[i] * l->stride + HEADROOM;

		put_packet(at + (f->tep_be ? TUNNEL : ETH_HLEN_), f, size, (uint8_t)b->tcp_flags);
		if (f->tep_be)
			put_tunnel(l, at, f, size);
		else
			put_eth(at, l->dp->nics[PCGDP_UPLINK].mac);
		l->frames[i] = (struct frame){.data = at, .len = size + (f->tep_be ? TUNNEL : ETH_HLEN_)};
		l->roles[i] = f->tep_be ? PCGDP_DOWNLINK : PCGDP_UPLINK;
	}
}

static void scribble(struct lane *l) // payload
{
	for (size_t i = 0; i + 8 <= (size_t)l->what->frames * l->stride; i += 8)
		*(uint64_t *)(void *)(l->pool + i) = draw(l);
}

// ---- passes ----

static void run_path_pass(struct lane *l, uint64_t *worst)
{
	const struct pcgdp_bench *b = l->what;
	struct worker *w = l->dp->workers[l->id];

	for (uint32_t at = 0; at < b->frames; at += b->burst) {
		uint64_t start = b->time_bursts ? tsc() : 0, took;

		worker_begin(w, clock_ns());
		run_frames(w, l->roles[at], l->frames + at, MIN(b->frames - at, b->burst));
		worker_end(w);
		took = b->time_bursts ? tsc() - start : 0;
		*worst = took > *worst ? took : *worst;
	}
}

static void run_floor_pass(struct lane *l)
{
	uint32_t n = l->what->frames;

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
	scribble(l);
	for (uint32_t i = 0; i < b->passes; i++) {
		struct pcgdp_pass *pass = &l->passes[i];
		uint64_t start, start_ns;

		refill(l, i);
		pthread_barrier_wait(&l->gate->start);
		be_realtime(b->realtime);
		start_ns = clock_ns();
		start = tsc();
		if (b->work == PCGDP_BENCH_PATH)
			run_path_pass(l, &pass->worst);
		else
			run_floor_pass(l);
		pass->cycles = (double)(tsc() - start) / b->frames;
		pass->ns = (double)(clock_ns() - start_ns) / b->frames;
		be_realtime(false);
	}
	return NULL;
}

static bool makes_sense(const struct pcgdp *dp, const struct pcgdp_bench *b, const struct pcgdp_flow *flows, uint32_t n)
{
	bool ok = b->workers && b->workers <= dp->params.workers && b->burst && b->burst <= BURST && b->frames && b->split < n && b->n_sizes &&
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
	l->random = 88172645463325252ull + 7919 * l->id;
	l->pool = aligned_alloc(HUGE_PAGE, bytes);
	l->order = malloc(b->frames * sizeof(*l->order));
	l->frames = malloc(b->frames * sizeof(*l->frames));
	l->roles = malloc(b->frames);
	if (!l->pool || !l->order || !l->frames || !l->roles)
		return -ENOMEM;
	madvise(l->pool, bytes, b->small_pages ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
	for (uint32_t i = 0; i < b->frames; i++) {
		uint32_t j = (uint32_t)(draw(l) % (i + 1));

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
	}
	if (!rc)
		rc = run_lanes(dp, lanes, what);
	pcgdp_stop(dp); // housekeeping; the workers were ours and are gone
	for (uint32_t i = 0; i < what->workers; i++)
		lane_close(&lanes[i]);
	return rc;
}
