// SPDX-License-Identifier: Apache-2.0
// nic_mem.c - the port without a NIC. Frames come by inject() and replay(); what a running worker
// would send to it is discarded.

#include "nic.h"

static int mem_open(struct nic *nic, uint32_t queues, char *error, uint32_t error_len);

static uint32_t mem_rx(struct nic *nic, uint32_t queue, struct frame *out, uint32_t n)
{
	(void)nic, (void)queue, (void)out, (void)n;
	return 0;
}

static void mem_tx(struct nic *nic, uint32_t queue, struct frame *frames, uint32_t n)
{
	(void)nic, (void)queue, (void)frames, (void)n;
}

static void mem_close(struct nic *nic)
{
	nic->ops = NULL;
}

static int mem_wait_fd(struct nic *nic, uint32_t queue)
{
	(void)nic, (void)queue;
	return -1;
}

static uint64_t mem_missed(struct nic *nic)
{
	(void)nic;
	return 0;
}

static bool mem_up(struct nic *nic)
{
	(void)nic;
	return true;
}

const struct nic_ops nic_mem_ops = {mem_open, mem_rx, mem_tx, mem_close};

static int mem_open(struct nic *nic, uint32_t queues, char *error, uint32_t error_len)
{
	(void)error, (void)error_len;
	nic->queues = queues;
	nic->mtu = PCGDP_FRAME_MAX - ETH_HLEN_;
	// locally administered, told apart by role: tests address frames to them
	memcpy(nic->mac, (const uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)(nic->role + 1)}, 6);
	nic->wait_fd = mem_wait_fd;
	nic->missed = mem_missed;
	nic->up = mem_up;
	return 0;
}
