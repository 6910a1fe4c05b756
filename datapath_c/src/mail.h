// SPDX-License-Identifier: Apache-2.0
// mail.h - frames from worker to worker: fragments alone, since all of a datagram must meet.
//
// A box is a worker's; a lane in it is from one other worker: a ring of bytes with one writer and
// one reader, who never wait for each other. A frame lies in it in one piece, with HEADROOM in
// front, so that it is worked on where it lies and no more is copied than once. There are boxes only
// where there is more than one worker. A frame under way counts as held.
#pragma once

#include "worker.h"

enum { LANE_BYTES = 1 << 18 };

struct mail_lane {
	uint64_t head __attribute__((aligned(LINE))); // bytes ever written
	uint64_t tail __attribute__((aligned(LINE))); // bytes ever read
	uint8_t at[LANE_BYTES] __attribute__((aligned(LINE)));
};

struct mailbox {
	int fd;          // an eventfd: wakes its worker
	uint32_t asleep; // its worker is about to wait
	uint64_t sent, taken; // frames, of all lanes: one look instead of one a lane
	uint32_t n;      // of lanes
	struct mail_lane lane[];
};

struct mailbox *mailbox_new(uint32_t workers); // NULL: no memory, or no eventfd
void mailbox_free(struct mailbox *box);
// The packet's frame, as it is, to another worker. false: its lane is full.
bool mail_send(struct worker *w, uint32_t to, const struct pkt *p);
uint32_t mail_serve(struct worker *w); // between worker_begin() and worker_end(); returns the frames

INLINE bool mail_waits(const struct mailbox *box)
{
	return box && LOAD(&box->sent) != box->taken;
}
