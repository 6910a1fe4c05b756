// SPDX-License-Identifier: Apache-2.0
// perf.h - where a worker's cycles go: what `pcgctl show performance` reads.
//
// One round in PCGDP_TIMED_EVERY is timed, part by part; the others cost a branch. A round is what
// one look at a port brought, from the driver's ring to the driver's queue. It is an odd number:
// under load both ports bring frames in turns, and one of them would never be timed.
//
// What lies within another part, as the sending of a full queue does, is its own and not the
// other's: the clock that a part is timed by stands still while another one is.
#pragma once

#include "base.h"

// Parts of a round that are no stage; they stand behind the stages.
enum perf_part { PERF_RX = PCGDP_STAGES, PERF_PLAIN, PERF_TX, N_PERF_PARTS };

_Static_assert((int)N_PERF_PARTS == (int)PCGDP_PARTS, "the border names as many");

struct perf {
	bool timed; // the round that comes, or is under way
	uint32_t rounds;
	uint64_t spent; // cycles of all parts so far
	uint64_t plain; // packets forwarded past the stages
	uint64_t sizes[PCGDP_SIZES]; // rounds by frames: 1, 2 to 3, 4 to 7 ...
	uint64_t busy_ns, idle_ns; // rounds with frames; without, asleep included
	uint64_t slept, napped; // times it waited for a frame; times it let them gather
	struct {
		uint64_t packets, cycles;
	} part[N_PERF_PARTS];
};

INLINE uint64_t tsc(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	uint64_t v;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
	return v;
#endif
}

// A round of so many frames is over.
INLINE void perf_round(struct perf *p, uint32_t frames)
{
	uint32_t size = 31 - (uint32_t)__builtin_clz(frames | 1);

	p->timed = p->rounds++ % PCGDP_TIMED_EVERY == 0;
	BUMP(&p->sizes[MIN(size, (uint32_t)PCGDP_SIZES - 1)], 1);
}

INLINE uint64_t perf_begin(const struct perf *p)
{
	return UNLIKELY(p->timed) ? tsc() - p->spent : 0;
}

INLINE void perf_end(struct perf *p, unsigned part, uint32_t packets, uint64_t begun)
{
	uint64_t own;

	if (LIKELY(!p->timed))
		return;
	own = tsc() - p->spent - begun;
	p->spent += own;
	BUMP(&p->part[part].cycles, own);
	BUMP(&p->part[part].packets, packets);
}
