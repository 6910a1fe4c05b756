// SPDX-License-Identifier: Apache-2.0
// nic_af_packet.c - a port over AF_PACKET: works with every stock driver and at every MTU.
//
// Receive: a TPACKET_V2 ring. V3 batches by blocks and hands a block over after at least 1 ms at
// low rate, which is five times the round trip we may add; V2 hands over each frame at once. The
// frame is rewritten where it lies in the ring: PACKET_RESERVE leaves the headroom, and the frame
// goes back to the kernel at the next rx_burst. Transmit: sendmmsg straight from there.
//
// The socket taps the interface before nftables' ingress hook, so one nft rule keeps the kernel
// from handling the same frames (drivers/nft.py). A filter lets in owned frames only.

#define _GNU_SOURCE // sendmmsg
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel_if.h"
#include "steer.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#define FAIL(code, ...) (snprintf(error, error_len, __VA_ARGS__), (code))

enum { FRAMES_PER_BLOCK = 64, RING_BYTES = 20 << 20, SNDBUF = 16 << 20 };

struct queue {
	int rx, tx;
	uint8_t *ring;
	size_t bytes;
	uint32_t stride, n, at, held; // frames `at - held` to `at - 1` are with the path
	uint64_t missed;
	struct mmsghdr msg[64];
	struct iovec iov[64];
};

struct state {
	uint32_t n;
	struct queue q[PCGDP_WORKERS_MAX];
};

static struct tpacket2_hdr *ring_frame(const struct queue *q, uint32_t i)
{
	return (struct tpacket2_hdr *)(q->ring + (size_t)i * q->stride);
}

static void give_back(struct queue *q)
{
	for (uint32_t i = (q->at + q->n - q->held) % q->n; q->held; q->held--, i = i + 1 == q->n ? 0 : i + 1)
		STORE(&ring_frame(q, i)->tp_status, TP_STATUS_KERNEL);
}

static uint32_t af_rx(struct nic *nic, uint32_t queue, struct frame *out, uint32_t n)
{
	struct queue *q = &((struct state *)nic->state)->q[queue];
	uint32_t got = 0;

	give_back(q);
	for (; got < n; got++) {
		struct tpacket2_hdr *h = ring_frame(q, q->at);
		uint32_t status = LOAD(&h->tp_status);

		if (!(status & TP_STATUS_USER))
			break;
		out[got].data = (uint8_t *)h + h->tp_mac;
		out[got].len = h->tp_snaplen;
		out[got].flags = (status & TP_STATUS_CSUMNOTREADY ? PF_CSUM_PARTIAL : 0) | (status & TP_STATUS_CSUM_VALID ? PF_CSUM_OK : 0) |
			(h->tp_len > h->tp_snaplen ? PF_TRUNCATED : 0);
		q->at = q->at + 1 == q->n ? 0 : q->at + 1;
		q->held++;
	}
	return got;
}

// A frame that the kernel refuses is skipped; those behind it still go.
// A full send buffer refuses too: a worker that slept here would hold up quiesce().
static void af_tx(struct nic *nic, uint32_t queue, struct frame *frames, uint32_t n)
{
	struct queue *q = &((struct state *)nic->state)->q[queue];

	for (uint32_t i = 0; i < n; i++)
		q->iov[i] = (struct iovec){.iov_base = frames[i].data, .iov_len = frames[i].len};
	for (uint32_t at = 0; at < n;) {
		int rc = sendmmsg(q->tx, q->msg + at, n - at, MSG_DONTWAIT);

		if (rc < 0 && errno == EINTR)
			continue;
		if (rc <= 0)
			frames[at].flags = FRAME_REFUSED;
		at += rc > 0 ? (uint32_t)rc : 1;
	}
}

static void queue_close(struct queue *q)
{
	if (q->ring)
		munmap(q->ring, q->bytes);
	if (q->rx > 0)
		close(q->rx);
	if (q->tx > 0)
		close(q->tx);
	memset(q, 0, sizeof(*q));
}

static void af_close(struct nic *nic)
{
	struct state *st = nic->state;

	for (uint32_t i = 0; st && i < st->n; i++)
		queue_close(&st->q[i]);
	free(st);
	nic->state = NULL;
	nic->ops = NULL;
}

static int attach(int fd, struct sock_filter *code, int n)
{
	struct sock_fprog prog = {.len = (unsigned short)n, .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ? -errno : 0;
}

static int bind_to(int fd, uint32_t ifindex, uint16_t protocol)
{
	struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_ifindex = (int)ifindex, .sll_protocol = htons(protocol)};

	return bind(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
}

// A slot holds the ring's own header, the headroom and a frame of the interface's MTU; its length
// is an odd multiple of 64 bytes, so that frames do not fall into the same cache sets.
static int ring_open(struct queue *q, uint32_t mtu)
{
	uint32_t room = 128 + HEADROOM + ETH_HLEN_ + 4 + mtu, blocks;
	int version = TPACKET_V2, reserve = HEADROOM;
	struct tpacket_req req;

	q->stride = ((room + 63) / 64 | 1) * 64;
	blocks = RING_BYTES / (q->stride * FRAMES_PER_BLOCK);
	q->n = blocks * FRAMES_PER_BLOCK;
	req = (struct tpacket_req){.tp_block_size = q->stride * FRAMES_PER_BLOCK, .tp_block_nr = blocks, .tp_frame_size = q->stride, .tp_frame_nr = q->n};
	q->bytes = (size_t)req.tp_block_size * blocks;
	if (setsockopt(q->rx, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
		setsockopt(q->rx, SOL_PACKET, PACKET_RESERVE, &reserve, sizeof(reserve)) ||
		setsockopt(q->rx, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
		return -errno;
	q->ring = mmap(NULL, q->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, q->rx, 0);
	if (q->ring == MAP_FAILED) {
		q->ring = NULL;
		return -errno;
	}
	return 0;
}

static int queue_open(struct queue *q, const struct nic *nic)
{
	struct sock_filter none[1];
	int one = 1, sndbuf = SNDBUF, rc;

	q->rx = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	q->tx = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (q->rx < 0 || q->tx < 0)
		return -errno;
	rc = attach(q->rx, none, steer_nothing(none)); // nothing is owned before the first policy
	if (!rc)
		rc = ring_open(q, nic->mtu);
	if (!rc && setsockopt(q->rx, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)))
		rc = -errno;
	if (!rc)
		rc = bind_to(q->rx, nic->ifindex, ETH_P_ALL);
	if (!rc)
		rc = bind_to(q->tx, nic->ifindex, 0); // protocol 0: it never receives
	if (rc)
		return rc;
	setsockopt(q->tx, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
	if (setsockopt(q->tx, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf)))
		setsockopt(q->tx, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
	for (uint32_t i = 0; i < 64; i++) {
		q->msg[i].msg_hdr.msg_iov = &q->iov[i];
		q->msg[i].msg_hdr.msg_iovlen = 1;
	}
	return 0;
}

// Several workers share an interface by the kernel's flow hash.
static int fan_out(const struct state *st, const struct nic *nic)
{
	uint32_t arg = (((uint32_t)getpid() ^ nic->ifindex << 8) & 0xffff) | (uint32_t)PACKET_FANOUT_HASH << 16;

	for (uint32_t i = 0; st->n > 1 && i < st->n; i++)
		if (setsockopt(st->q[i].rx, SOL_PACKET, PACKET_FANOUT, &arg, sizeof(arg)))
			return -errno;
	return 0;
}

static int af_steer(struct nic *nic, const struct owned *o, char *error, uint32_t error_len)
{
	struct sock_filter *code = calloc(STEER_MAX, sizeof(*code));
	struct state *st = nic->state;
	int n, rc = 0;

	if (!code)
		return -ENOMEM;
	n = nic->role == PCGDP_UPLINK ? steer_uplink(code, o) : steer_downlink(code, o);
	if (n < 0)
		rc = FAIL(n, "%s: %u addresses are more than a socket filter holds (about 2000)", nic->name, o->n);
	for (uint32_t i = 0; !rc && i < st->n; i++) {
		rc = attach(st->q[i].rx, code, n);
		if (rc)
			snprintf(error, error_len, "%s: the kernel refused the filter: %s", nic->name, strerror(-rc));
	}
	free(code);
	return rc;
}

static int af_wait_fd(struct nic *nic, uint32_t queue)
{
	int fd = ((struct state *)nic->state)->q[queue].rx, pending;
	socklen_t len = sizeof(pending);

	// an interface that went down leaves an error that would make poll return at once for ever
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &len);
	return fd;
}

static uint64_t af_missed(struct nic *nic)
{
	struct state *st = nic->state;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < st->n; i++) {
		struct tpacket_stats s;
		socklen_t len = sizeof(s);

		if (!getsockopt(st->q[i].rx, SOL_PACKET, PACKET_STATISTICS, &s, &len))
			st->q[i].missed += s.tp_drops; // reading clears the kernel's count
		sum += st->q[i].missed;
	}
	return sum;
}

static int af_open(struct nic *nic, uint32_t queues, char *error, uint32_t error_len)
{
	struct state *st = calloc(1, sizeof(*st));
	int rc = st ? kernel_if_facts(nic) : -ENOMEM;

	nic->state = st;
	for (uint32_t i = 0; !rc && i < queues; i++, st->n++)
		rc = queue_open(&st->q[i], nic);
	if (!rc)
		rc = fan_out(st, nic);
	if (rc) {
		if (rc == -EMSGSIZE)
			snprintf(error, error_len, "%s: MTU %u is above %d", nic->name, nic->mtu, PCGDP_FRAME_MAX - ETH_HLEN_);
		else
			snprintf(error, error_len, "%s: %s", nic->name, kernel_if_mend(rc));
		if (st)
			st->n = queues;
		af_close(nic);
		return rc;
	}
	nic->queues = queues;
	nic->steer = af_steer;
	nic->wait_fd = af_wait_fd;
	nic->missed = af_missed;
	nic->up = kernel_if_up;
	return 0;
}

const struct nic_ops nic_af_packet_ops = {af_open, af_rx, af_tx, af_close};
