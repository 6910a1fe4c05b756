// SPDX-License-Identifier: Apache-2.0
// xsock.h - one AF_XDP socket: a queue of an interface, with memory of its own.
#pragma once

#include <linux/if_xdp.h>
#include <xdp/xsk.h>

#include "nic.h"

// Of Linux 6.6; Debian 12's headers are older.
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#define XDP_PKT_CONTD (1 << 0)
#endif

enum {
	XSOCK_LINEAR_MAX = 4096 - 256 - ETH_HLEN_ - 4, // MTU above which a frame comes in pieces
	RX_CHUNKS = 4096,
	TX_CHUNKS = 2048,
};

struct xsock {
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	struct xsk_ring_cons rx, done;
	struct xsk_ring_prod fill, tx;
	uint8_t *area;
	size_t bytes;
	uint32_t chunk; // bytes
	bool pieces, zero_copy;
	bool down; // the kernel takes nothing: the interface is down
	uint32_t lock; // of the sending half
	uint32_t n_free, n_held, n_linear;
	uint64_t free[TX_CHUNKS], held[RX_CHUNKS];
	uint8_t (*linear)[HEADROOM + PCGDP_FRAME_MAX]; // BURST frames that came in pieces
};

int xsock_open(struct xsock **out, const struct nic *nic, uint32_t queue, bool copy, char *error, uint32_t error_len);
void xsock_close(struct xsock *x);
int xsock_fd(const struct xsock *x);
uint64_t xsock_missed(const struct xsock *x);

// One thread receives. Frames are the caller's until it gives them back.
uint32_t xsock_rx(struct xsock *x, struct frame *out, uint32_t n);
void xsock_give_back(struct xsock *x);

// Any thread.
void xsock_tx(struct xsock *x, struct frame *frames, uint32_t n); // as tx_burst of nic.h
void xsock_push(struct xsock *x); // once more for what the kernel could not take at once
