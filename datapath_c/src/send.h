// SPDX-License-Identifier: Apache-2.0
// send.h - frames from the gateway's relay to workloads' ports.
//
// A workload without an address has no slot to leave by, so each frame brings its tunnel header along,
// made where the tables are written. A ring with one writer and one reader, worker 0 (or inject, while
// no worker runs), who sends it as any packet of the gateway's own: counted as made, then as sent or
// dropped.
#pragma once

#include "worker.h"

enum { SEND_BYTES = 1 << 20 }; // 1,000 DHCP replies

struct sending {
	uint64_t head __attribute__((aligned(LINE))); // bytes ever written
	uint64_t tail __attribute__((aligned(LINE))); // bytes ever read
	uint32_t asleep; // its worker is about to wait
	int fd;          // an eventfd: wakes it
	uint8_t *at;     // NULL: not opened
};

int sending_open(struct sending *s);
void sending_close(struct sending *s);
uint32_t send_serve(struct worker *w); // between worker_begin() and worker_end(); returns the frames

INLINE bool send_waits(const struct sending *s)
{
	return LOAD(&s->head) != s->tail;
}
