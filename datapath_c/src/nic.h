// SPDX-License-Identifier: Apache-2.0
// nic.h - a port of the datapath: four functions move frames; four more, which open() sets, steer
// them, wait for them, and say how the port is.
//
// Frames that rx_burst hands out belong to the driver and stay valid until the next rx_burst of
// that queue; there are HEADROOM writable bytes in front of each. tx_burst has sent or copied
// what it was given when it returns; what it could not, wherever it stood, has FRAME_REFUSED.
#pragma once

#include "pkt.h"

struct frame {
	uint8_t *data;
	uint32_t len;
	uint32_t flags; // PF_CSUM_OK, PF_CSUM_PARTIAL, PF_TRUNCATED
};

enum { FRAME_REFUSED = 1 }; // flags of a frame given to tx_burst, which come as 0

struct nic;

struct nic_ops {
	int (*open)(struct nic *nic, uint32_t queues, char *error, uint32_t error_len);
	uint32_t (*rx_burst)(struct nic *nic, uint32_t queue, struct frame *out, uint32_t n);
	void (*tx_burst)(struct nic *nic, uint32_t queue, struct frame *frames, uint32_t n);
	void (*close)(struct nic *nic);
};

// What the port's filter lets in: the addresses we own on this side.
struct owned {
	be32 tep;              // downlink: our TEP
	const be32 *addresses; // uplink: secondary addresses
	uint32_t n;
	const struct owned_prefix {
		be32 prefix;
		uint32_t len;
	} *prefixes;           // uplink: routed segments
	uint32_t n_prefixes;
};

struct nic {
	const struct nic_ops *ops;
	char name[16];
	char note[160];        // how it works here, in words; "": nothing to say
	uint32_t role, driver, ifindex, mtu, queues;
	uint8_t mac[6];
	void *state;           // of the driver
	const char *second_best; // why `auto` should take another driver though this one works; NULL
	// Take only owned frames; called before the policy that owns them is published.
	int (*steer)(struct nic *nic, const struct owned *owned, char *error, uint32_t error_len);
	int (*wait_fd)(struct nic *nic, uint32_t queue); // to poll when idle; -1: none
	uint64_t (*missed)(struct nic *nic);
	bool (*up)(struct nic *nic);
};

extern const struct nic_ops nic_mem_ops, nic_af_packet_ops, nic_af_xdp_ops;

// Opened by `driver`, or with nothing left open. Nobody else looks at `nic`: `auto` tries one after the other.
int nic_open(struct nic *nic, const char *name, uint32_t role, uint32_t driver, uint32_t queues, char *error, uint32_t error_len);
void nic_publish(struct nic *to, const struct nic *opened); // workers may run: they look at `ops` first
