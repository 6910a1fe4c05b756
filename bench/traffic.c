// SPDX-License-Identifier: Apache-2.0
// traffic.c - sender and sink: frames of a file out of one interface at a rate, what comes out of a
// gateway counted and timed on another one.
//
//   traffic OUT IN FILE RATE SECONDS [ORDER [SAMPLE]]
//
//   OUT, IN   interfaces; "-": only the other half
//   FILE      frames, each behind its 32-bit length (this host's byte order)
//   RATE      packets a second; 0: as many as it can
//   ORDER     1: frame after frame; 0: any at random
//   SAMPLE    one of so many packets is timed (1)
//
// The last 16 bytes of each frame become the time of sending and its complement: their one's
// complement sum is zero, so every checksum stays right. They lie at an even offset and are zero in
// the file. The sink takes the kernel's time of arrival, so its own wake-up is not in the latency;
// both interfaces are of one machine for that. One JSON line is printed.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, LONGEST = 9216, BUFFER = 64 << 20, SAMPLES = 1 << 21, DRAIN_MS = 200, STAMP = 16 };

struct frames {
	uint8_t *bytes;
	uint32_t n, *length, *at;
};

static struct {
	const char *in;
	uint32_t sample, n;
	float *us; // latencies
	volatile bool stop;
} sink;

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

// A session of its own with much weight, so that what else runs here is not in the figures.
static void be_preferred(void)
{
	FILE *f;

	setsid();
	f = fopen("/proc/self/autogroup", "w");
	if (f) {
		fputs("-20", f);
		fclose(f);
	}
}

static uint64_t clock_of(clockid_t which)
{
	struct timespec t;

	clock_gettime(which, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static int packet_socket(const char *name, int protocol)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)protocol), .sll_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW, 0), size = BUFFER;

	if (fd < 0 || !at.sll_ifindex)
		fail(name);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)))
		fail(name);
	return fd;
}

static uint64_t received(const char *name)
{
	char path[128];
	uint64_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/rx_packets", name);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%lu", &n) != 1)
		fail(path);
	fclose(f);
	return n;
}

static struct frames load(const char *path)
{
	struct frames f = {0};
	FILE *file = fopen(path, "rb");
	long size, at = 0;

	if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0)
		fail(path);
	rewind(file);
	f.bytes = malloc((size_t)size + 1);
	f.length = malloc(((size_t)size / 8 + 1) * sizeof(*f.length));
	f.at = malloc(((size_t)size / 8 + 1) * sizeof(*f.at));
	if (!f.bytes || !f.length || !f.at || fread(f.bytes, 1, (size_t)size, file) != (size_t)size)
		fail(path);
	for (; at + 4 <= size; at += 4 + (long)f.length[f.n++]) {
		memcpy(&f.length[f.n], f.bytes + at, 4);
		f.at[f.n] = (uint32_t)at + 4;
		if (f.length[f.n] < 60 || f.length[f.n] > LONGEST || at + 4 + (long)f.length[f.n] > size) {
			fprintf(stderr, "%s: frame %u has %u bytes\n", path, f.n, f.length[f.n]);
			exit(1);
		}
	}
	fclose(file);
	return f;
}

// ---- sink ----

static void take_sample(const uint8_t *end, const struct msghdr *m)
{
	uint64_t sent, check;

	memcpy(&sent, end - STAMP, 8);
	memcpy(&check, end - STAMP + 8, 8);
	if (sent != ~check || sink.n == SAMPLES)
		return; // no frame of ours
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
			struct timespec t;

			memcpy(&t, CMSG_DATA(c), sizeof(t));
			sink.us[sink.n++] = (float)((int64_t)((uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec - sent) / 1e3);
		}
}

static int sink_socket(void)
{
	struct timeval wait = {.tv_usec = 20000};
	int fd = packet_socket(sink.in, ETH_P_ALL), on = 1;
	// what came in, not what went out, and of that one in so many
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 3, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 0xffffffffu / sink.sample, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0x40000),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog filter = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) || setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) ||
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)))
		fail("sink");
	return fd;
}

static void *sink_main(void *ready)
{
	static uint8_t data[BATCH][LONGEST], control[BATCH][64];
	struct mmsghdr m[BATCH];
	struct iovec io[BATCH];
	int fd = sink_socket();

	pthread_barrier_wait(ready);
	while (!sink.stop) {
		int n;

		for (int i = 0; i < BATCH; i++) {
			io[i] = (struct iovec){data[i], LONGEST};
			m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &io[i], .msg_iovlen = 1, .msg_control = control[i], .msg_controllen = sizeof(control[i])}};
		}
		n = recvmmsg(fd, m, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++)
			if (m[i].msg_len >= 60)
				take_sample(data[i] + m[i].msg_len, &m[i].msg_hdr);
	}
	return NULL;
}

// ---- sender ----

struct sender {
	int fd;
	struct frames f;
	uint64_t random, next, sent, refused;
	bool in_order;
};

static void send_batch(struct sender *s, uint32_t n)
{
	struct mmsghdr m[BATCH];
	struct iovec io[BATCH];
	uint64_t now[2] = {clock_of(CLOCK_REALTIME), 0};
	int done;

	now[1] = ~now[0];
	for (uint32_t i = 0; i < n; i++) {
		uint32_t which;

		s->random ^= s->random << 13;
		s->random ^= s->random >> 7;
		s->random ^= s->random << 17;
		which = (uint32_t)(s->in_order ? s->next++ % s->f.n : ((s->random >> 32) * s->f.n) >> 32);
		io[i] = (struct iovec){s->f.bytes + s->f.at[which], s->f.length[which]};
		memcpy((uint8_t *)io[i].iov_base + io[i].iov_len - STAMP, now, STAMP);
		m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &io[i], .msg_iovlen = 1}};
	}
	done = sendmmsg(s->fd, m, n, 0);
	s->sent += (uint64_t)(done < 0 ? 0 : done);
	s->refused += (uint64_t)(done < 0 ? (int)n : (int)n - done);
	if (s->in_order && done < (int)n)
		s->next -= n - (uint32_t)(done < 0 ? 0 : done);
}

// As many as are due, evenly; sleeps when there is time to.
static double send_all(struct sender *s, double rate, double seconds)
{
	uint64_t start = clock_of(CLOCK_MONOTONIC), now = start, offered = 0, end = start + (uint64_t)(seconds * 1e9);

	for (; now < end; now = clock_of(CLOCK_MONOTONIC)) {
		uint64_t due = rate ? (uint64_t)((double)(now - start) * rate / 1e9) + 1 : offered + BATCH;
		uint64_t n = due > offered ? due - offered : 0;

		if (n)
			send_batch(s, (uint32_t)(n > BATCH ? BATCH : n));
		else if (rate < 20000)
			usleep(5);
		offered += n > BATCH ? BATCH : n;
	}
	return (double)(now - start) / 1e9;
}

// ---- the whole ----

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static double percentile(double p)
{
	return sink.n ? (double)sink.us[(uint32_t)((sink.n - 1) * p)] : 0;
}

int main(int argc, char **argv)
{
	pthread_barrier_t ready;
	struct sender s = {.random = 88172645463325252ull};
	uint64_t before = 0, came = 0;
	double took, rate, seconds;
	pthread_t thread;
	int one = 1;

	if (argc < 6) {
		fprintf(stderr, "usage: traffic OUT IN FILE RATE SECONDS [ORDER [SAMPLE]]\n");
		return 2;
	}
	be_preferred();
	rate = atof(argv[4]);
	seconds = atof(argv[5]);
	s.in_order = argc > 6 && atoi(argv[6]);
	sink.in = strcmp(argv[2], "-") ? argv[2] : NULL;
	sink.sample = argc > 7 ? (uint32_t)atoi(argv[7]) : 1;
	sink.us = malloc(SAMPLES * sizeof(*sink.us));
	pthread_barrier_init(&ready, NULL, 2);
	if (sink.in) {
		before = received(sink.in);
		if (!sink.us || !sink.sample || pthread_create(&thread, NULL, sink_main, &ready))
			fail("sink");
		pthread_barrier_wait(&ready);
	}
	if (strcmp(argv[1], "-")) {
		s.fd = packet_socket(argv[1], 0);
		setsockopt(s.fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
		s.f = load(argv[3]);
		took = send_all(&s, rate, seconds);
	} else {
		usleep((useconds_t)(seconds * 1e6));
		took = seconds;
	}
	if (sink.in) {
		if (!rate)
			came = received(sink.in) - before; // what waits in queues came too late
		usleep(DRAIN_MS * 1000);
		if (rate)
			came = received(sink.in) - before;
		sink.stop = true;
		pthread_join(thread, NULL);
		qsort(sink.us, sink.n, sizeof(*sink.us), compare);
	}
	printf("{\"seconds\": %.4f, \"sent\": %lu, \"refused\": %lu, \"received\": %lu, \"samples\": %u, "
		"\"us\": {\"50\": %.2f, \"90\": %.2f, \"99\": %.2f, \"99.9\": %.2f, \"100\": %.2f}}\n",
		took, s.sent, s.refused, came, sink.n, percentile(0.5), percentile(0.9), percentile(0.99), percentile(0.999), percentile(1));
	return 0;
}
