// SPDX-License-Identifier: Apache-2.0
// behind.h - flows of which a burst has left a packet to the stages: what follows it waits there,
// too, or it would overtake it.
//
// By a hash of the flow: of a few it is said that have none waiting, of none that has one is it not.
#pragma once

#include "nic.h"

enum { FLOWS_BEHIND = 512 };

struct behind {
	uint64_t noted; // a bit for each frame that is in `flows`
	uint32_t at;    // of the IP header in a plain frame
	const struct secret *secret;
	uint64_t flows[FLOWS_BEHIND / 64];
};

// Of any frame, plain or not; NONE: it is too short to be of a flow that has plain ones.
static inline uint32_t flow_of(const struct behind *b, const struct frame *f)
{
	const uint8_t *ip = f->data + b->at;

	if (f->len < b->at + IP_HLEN + sizeof(uint32_t))
		return NONE;
	return (uint32_t)mul_fold(rd64(ip + 12) ^ b->secret->k[0], rd32(ip + IP_HLEN) ^ b->secret->k[1]) % FLOWS_BEHIND;
}

// Does one of the frames in front of the i-th, which is plain, wait? `odd`: a bit for each that is left
// to the stages.
static __attribute__((noinline)) bool must_wait(struct behind *b, const struct frame *frames, uint32_t i, uint64_t odd)
{
	uint64_t front = odd & ((1ull << i) - 1);
	uint32_t flow;

	for (uint64_t left = front & ~b->noted; left; left &= left - 1) {
		flow = flow_of(b, &frames[__builtin_ctzll(left)]);
		if (flow != NONE)
			b->flows[flow / 64] |= 1ull << flow % 64;
	}
	b->noted = front;
	flow = flow_of(b, &frames[i]);
	return b->flows[flow / 64] >> flow % 64 & 1;
}
