// SPDX-License-Identifier: Apache-2.0
// xsock_open.c - the life of an AF_XDP socket; its rings at work are in xsock.c.
//
// Memory: chunks of 2048 or 4096 bytes (the kernel knows no larger ones); part of them receive,
// part send.

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include "xsock.h"

#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9 // of Linux 6.17
#endif
#define FAIL(code, ...) (snprintf(error, error_len, __VA_ARGS__), (code))

enum {
	KERNEL_HEADROOM = 256, // XDP_PACKET_HEADROOM
	VLAN_HLEN = 4,
	SNDBUF = 64 << 20,     // bytes on their way that the kernel accounts to us
	TX_BUDGET = 256,       // descriptors a call takes, where the kernel lets us say it; else 32
};
_Static_assert((int)KERNEL_HEADROOM >= (int)HEADROOM, "a tunnel header fits in front of each frame");

static int memory_open(struct xsock *x)
{
	struct xsk_umem_config config = {.fill_size = RX_CHUNKS, .comp_size = TX_CHUNKS, .frame_size = x->chunk};
	uint32_t at;
	int rc;

	x->bytes = (size_t)(RX_CHUNKS + TX_CHUNKS) * x->chunk;
	x->area = mmap(NULL, x->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (x->area == MAP_FAILED) {
		x->area = NULL;
		return -ENOMEM;
	}
	madvise(x->area, x->bytes, MADV_HUGEPAGE);
	if (x->pieces) {
		x->linear = calloc(BURST, sizeof(*x->linear));
		if (!x->linear)
			return -ENOMEM;
	}
	rc = xsk_umem__create(&x->umem, x->area, x->bytes, &x->fill, &x->done, &config);
	if (rc)
		return rc;
	if (!xsk_ring_prod__reserve(&x->fill, RX_CHUNKS, &at))
		return -EPROTO;
	for (uint32_t i = 0; i < RX_CHUNKS; i++)
		*xsk_ring_prod__fill_addr(&x->fill, at + i) = (uint64_t)i * x->chunk;
	xsk_ring_prod__submit(&x->fill, RX_CHUNKS);
	for (; x->n_free < TX_CHUNKS; x->n_free++)
		x->free[x->n_free] = (uint64_t)(RX_CHUNKS + x->n_free) * x->chunk;
	return 0;
}

static int socket_open(struct xsock *x, const struct nic *nic, uint32_t queue, bool copy)
{
	struct xsk_socket_config config = {
		.rx_size = RX_CHUNKS,
		.tx_size = TX_CHUNKS,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = (uint16_t)(XDP_USE_NEED_WAKEUP | (copy ? XDP_COPY : 0) | (x->pieces ? XDP_USE_SG : 0)),
	};
	int rc = xsk_socket__create(&x->socket, nic->name, queue, x->umem, &x->rx, &x->tx, &config), fd;
	int sndbuf = SNDBUF, budget = TX_BUDGET;
	struct xdp_options options;
	socklen_t len = sizeof(options);

	if (rc)
		return rc;
	fd = xsk_socket__fd(x->socket);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
	setsockopt(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget, sizeof(budget)); // an older kernel takes 32
	x->zero_copy = !getsockopt(fd, SOL_XDP, XDP_OPTIONS, &options, &len) && options.flags & XDP_OPTIONS_ZEROCOPY;
	return 0;
}

static int refusal(const struct nic *nic, uint32_t queue, int rc, char *error, uint32_t error_len)
{
	if (rc == -EPERM || rc == -EACCES)
		return FAIL(-EPERM, "%s: no permission for an AF_XDP socket", nic->name);
	if (rc == -EBUSY)
		return FAIL(rc, "%s: another program has an AF_XDP socket on queue %u", nic->name, queue);
	if (rc == -EINVAL && nic->mtu > XSOCK_LINEAR_MAX)
		return FAIL(-EOPNOTSUPP, "%s: MTU %u is above %d, where AF_XDP needs Linux 6.6; lower it, or use `driver: af_packet`",
			nic->name, nic->mtu, XSOCK_LINEAR_MAX);
	return FAIL(rc == -ENOMEM ? rc : -EOPNOTSUPP, "%s: AF_XDP socket on queue %u: %s", nic->name, queue, strerror(-rc));
}

static int try_open(struct xsock **out, const struct nic *nic, uint32_t queue, bool copy)
{
	struct xsock *x = calloc(1, sizeof(*x));
	int rc;

	*out = x;
	if (!x)
		return -ENOMEM;
	// the smallest chunk that takes a whole frame; else the largest there is, and pieces
	x->chunk = nic->mtu + ETH_HLEN_ + VLAN_HLEN + KERNEL_HEADROOM <= 2048 ? 2048 : 4096;
	x->pieces = nic->mtu > XSOCK_LINEAR_MAX;
	rc = memory_open(x);
	return rc ? rc : socket_open(x, nic, queue, copy);
}

// The kernel frees a closed socket's queue a moment later: a restart would find it busy.
int xsock_open(struct xsock **out, const struct nic *nic, uint32_t queue, bool copy, char *error, uint32_t error_len)
{
	int rc;

	for (uint32_t i = 0; (rc = try_open(out, nic, queue, copy)) == -EBUSY && i < 100; i++) {
		xsock_close(*out);
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	if (rc) {
		rc = refusal(nic, queue, rc, error, error_len);
		xsock_close(*out);
		*out = NULL;
	}
	return rc;
}

void xsock_close(struct xsock *x)
{
	if (!x)
		return;
	if (x->socket)
		xsk_socket__delete(x->socket);
	if (x->umem)
		xsk_umem__delete(x->umem);
	if (x->area)
		munmap(x->area, x->bytes);
	free(x->linear);
	free(x);
}

int xsock_fd(const struct xsock *x)
{
	return xsk_socket__fd(x->socket);
}

uint64_t xsock_missed(const struct xsock *x)
{
	struct xdp_statistics s;
	socklen_t len = sizeof(s);

	if (getsockopt(xsock_fd(x), SOL_XDP, XDP_STATISTICS, &s, &len))
		return 0;
	return s.rx_dropped + s.rx_ring_full;
}
