// SPDX-License-Identifier: Apache-2.0
// nic_af_xdp.c - a port over AF_XDP: faster than af_packet where driver and MTU allow it.
//
// An XDP program hands owned frames to the AF_XDP socket of the queue they came by and leaves the
// kernel all others (xdp.c, xdp/steer.c). Every receive queue of the interface has a socket, or its
// owned frames would fall to the kernel: worker i serves queues i, i + workers, and so on. A worker
// without a queue of its own receives nothing here; it sends through another's socket.

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "kernel_if.h"
#include "xdp.h"
#include "xsock.h"

#define FAIL(code, ...) (snprintf(error, error_len, __VA_ARGS__), (code))

enum { SOCKETS_MAX = 64 };

struct state {
	struct xdp xdp;
	uint32_t workers;
	uint32_t n, n_tx; // sockets; the first n_tx of them can send
	struct xsock *socket[SOCKETS_MAX];
	uint32_t first[PCGDP_WORKERS_MAX]; // where the worker looks first: each queue in turn
	int wait[PCGDP_WORKERS_MAX]; // of a worker with several sockets: an epoll of them; else 0
};

static uint32_t af_xdp_rx(struct nic *nic, uint32_t queue, struct frame *out, uint32_t n)
{
	struct state *st = nic->state;
	uint32_t got = 0;

	for (uint32_t i = queue; i < st->n; i += st->workers)
		xsock_give_back(st->socket[i]);
	if (queue >= st->n)
		return 0;
	for (uint32_t i = st->first[queue]; got < n && i < st->n; i += st->workers)
		got += xsock_rx(st->socket[i], out + got, n - got);
	for (uint32_t i = queue; got < n && i < st->first[queue]; i += st->workers)
		got += xsock_rx(st->socket[i], out + got, n - got);
	st->first[queue] += st->workers;
	if (st->first[queue] >= st->n)
		st->first[queue] = queue;
	if (!got && queue < st->n_tx)
		xsock_push(st->socket[queue]);
	return got;
}

static void af_xdp_tx(struct nic *nic, uint32_t queue, struct frame *frames, uint32_t n)
{
	struct state *st = nic->state;

	xsock_tx(st->socket[queue % st->n_tx], frames, n);
}

static int af_xdp_steer(struct nic *nic, const struct owned *o, char *error, uint32_t error_len)
{
	struct state *st = nic->state;

	return xdp_steer(&st->xdp, nic, o, error, error_len);
}

static int af_xdp_wait_fd(struct nic *nic, uint32_t queue)
{
	struct state *st = nic->state;

	if (queue >= st->n)
		return -1;
	return st->wait[queue] ? st->wait[queue] : xsock_fd(st->socket[queue]);
}

static uint64_t af_xdp_missed(struct nic *nic)
{
	struct state *st = nic->state;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < st->n; i++)
		sum += xsock_missed(st->socket[i]);
	return sum;
}

static void af_xdp_close(struct nic *nic)
{
	struct state *st = nic->state;

	if (!st)
		return;
	xdp_close(&st->xdp); // first, so that no frame is sent to a socket that goes
	for (uint32_t i = 0; i < PCGDP_WORKERS_MAX; i++)
		if (st->wait[i])
			close(st->wait[i]);
	for (uint32_t i = 0; i < st->n; i++)
		xsock_close(st->socket[i]);
	free(st);
	nic->state = NULL;
	nic->ops = NULL;
}

static int open_sockets(struct state *st, const struct nic *nic, uint32_t n, char *error, uint32_t error_len)
{
	for (; st->n < n; st->n++) {
		int rc = xsock_open(&st->socket[st->n], nic, st->n, st->xdp.generic, error, error_len);

		if (rc)
			return rc;
	}
	for (uint32_t i = 0; i < n; i++) {
		int rc = xdp_socket(&st->xdp, i, xsock_fd(st->socket[i]));

		if (rc)
			return FAIL(rc, "%s: AF_XDP socket on queue %u: %s", nic->name, i, strerror(-rc));
	}
	return 0;
}

// A worker polls one descriptor for each port.
static int open_waits(struct state *st)
{
	for (uint32_t w = 0; w < st->workers && w + st->workers < st->n; w++) {
		st->wait[w] = epoll_create1(EPOLL_CLOEXEC);
		if (st->wait[w] < 0) {
			st->wait[w] = 0;
			return -errno;
		}
		for (uint32_t i = w; i < st->n; i += st->workers) {
			struct epoll_event event = {.events = EPOLLIN};

			if (epoll_ctl(st->wait[w], EPOLL_CTL_ADD, xsock_fd(st->socket[i]), &event))
				return -errno;
		}
	}
	return 0;
}

// How it works on this interface, for `pcgctl show nics` and the log.
static void describe(const struct state *st, struct nic *nic)
{
	uint32_t serving = MIN(st->n, st->workers);

	snprintf(nic->note, sizeof(nic->note), "%s, %s%s, %u queue%s, %u of %u worker%s", st->xdp.generic ? "generic XDP" : "driver XDP",
		st->socket[0]->zero_copy ? "zero copy" : "copy", nic->mtu > XSOCK_LINEAR_MAX ? ", frames in pieces" : "", st->n,
		st->n == 1 ? "" : "s", serving, st->workers, st->workers == 1 ? "" : "s");
}

static int open_all(struct nic *nic, struct state *st, char *error, uint32_t error_len)
{
	uint32_t queues, n_tx;
	int rc = kernel_if_facts(nic);

	if (rc == -EMSGSIZE)
		return FAIL(rc, "%s: MTU %u is above %d", nic->name, nic->mtu, PCGDP_FRAME_MAX - ETH_HLEN_);
	if (rc)
		return FAIL(rc, "%s: %s", nic->name, kernel_if_mend(rc));
	kernel_if_queues(nic, &queues, &n_tx);
	if (!queues || !n_tx || queues > SOCKETS_MAX)
		return FAIL(-EOPNOTSUPP, "%s: %u receive queues are more than %u; lower them: ethtool -L %s combined %u", nic->name,
			queues, SOCKETS_MAX, nic->name, st->workers);
	st->n_tx = MIN(queues, n_tx);
	rc = xdp_open(&st->xdp, nic, queues, error, error_len);
	if (!rc)
		rc = open_sockets(st, nic, queues, error, error_len);
	if (!rc && open_waits(st))
		rc = FAIL(-errno, "%s: epoll: %s", nic->name, strerror(errno));
	return rc;
}

static int af_xdp_open(struct nic *nic, uint32_t queues, char *error, uint32_t error_len)
{
	struct state *st = calloc(1, sizeof(*st));
	int rc;

	if (!st)
		return -ENOMEM;
	nic->state = st;
	st->workers = queues;
	for (uint32_t i = 0; i < queues; i++)
		st->first[i] = i;
	rc = open_all(nic, st, error, error_len);
	if (rc) {
		af_xdp_close(nic);
		return rc;
	}
	describe(st, nic);
	nic->second_best = st->xdp.generic ? "the interface's driver has no XDP of its own" : NULL;
	nic->queues = st->n;
	nic->steer = af_xdp_steer;
	nic->wait_fd = af_xdp_wait_fd;
	nic->missed = af_xdp_missed;
	nic->up = kernel_if_up;
	return 0;
}

const struct nic_ops nic_af_xdp_ops = {af_xdp_open, af_xdp_rx, af_xdp_tx, af_xdp_close};
