// SPDX-License-Identifier: Apache-2.0
// xdp.h - our XDP program on one interface, and its maps of what is owned.
#pragma once

#include "nic.h"

enum { OWNED_MAX = 65536 }; // addresses, and prefixes

struct bpf_object;

struct xdp {
	struct bpf_object *object;
	int program, link, sockets, addresses, prefixes; // file descriptors; link 0: not attached
	bool generic; // the kernel runs it, not the driver
	uint32_t round; // of steering: what an earlier one wrote is no longer owned
};

// Attached, it passes everything to the kernel until sockets and what is owned are given.
int xdp_open(struct xdp *x, const struct nic *nic, uint32_t queues, char *error, uint32_t error_len);
int xdp_socket(struct xdp *x, uint32_t queue, int fd);
int xdp_steer(struct xdp *x, const struct nic *nic, const struct owned *owned, char *error, uint32_t error_len);
void xdp_close(struct xdp *x);

// datapath_c/xdp/steer.c, built and made into C by pcg/datapath/build.py
extern const unsigned char steer_object[];
extern const unsigned long steer_object_len;
