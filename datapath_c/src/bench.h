// SPDX-License-Identifier: Apache-2.0
// bench.h - one worker's part of the bench, and the frames that it takes through the path.
#pragma once

#include <pthread.h>

#include "dp.h"

enum { TUNNEL = TUNNEL_HLEN + OPTION_LEN }; // bytes in front of the inner packet

struct gate { // holds all lanes until each is there, then at the start of each pass
	pthread_mutex_t open;
	pthread_barrier_t start;
};

struct lane { // one worker's part
	struct pcgdp *dp;
	const struct pcgdp_bench *what;
	const struct pcgdp_flow *flows;
	uint32_t n_flows, id;
	be32 tep;           // ours; between passes a commit may free the policy that says so
	uint64_t random;
	uint8_t *pool;
	uint32_t stride, *order; // which buffer a frame lies in
	struct frame *frames;
	uint8_t *roles;
	uint8_t header[TUNNEL];
	struct gate *gate;
	struct pcgdp_pass *passes;
	uint64_t sum;       // keeps the floor's reads alive
};

uint64_t lane_draw(struct lane *l); // xorshift: the same order each time
void lane_refill(struct lane *l, uint32_t pass); // every buffer becomes a frame of some flow
void lane_scribble(struct lane *l); // payload
