// SPDX-License-Identifier: Apache-2.0
// plain.h - nearly every packet: of a known session, and nothing odd about it.
#pragma once

#include "worker.h"

#ifdef PCG_NO_PLAIN // bench/ablations.py asks what it is worth
enum { PLAIN = 0 };
#else
enum { PLAIN = 1 };
#endif

enum { PLAIN_BURST = 64 };

struct plain { // a packet on its way past the stages
	uint8_t *ip;
	uint64_t hash;
	union key key;
	union {
		const struct bucket *bucket; // of the session's key, until that has been looked at
		struct entry *entry;
		uint64_t src_hash; // overlay to overlay: its own port, until that has been looked at
		uint32_t src_port;
	};
	union {
		const struct adj *adj;
		uint64_t dst_hash;
		uint32_t dst_slot;
	};
	const struct vni_seen *segment; // it came from; NULL by the uplink
	be32 outer_src;
	uint32_t vni;
};

_Static_assert(sizeof(struct plain) == LINE, "one line of L1");

// What plain_burst() leaves to the stages: a bit for each frame. Those that are parsed need none of
// the parsing stages any more.
struct plain_left {
	uint64_t odd, parsed;
	struct plain plain[PLAIN_BURST];
};

// Forward those of the n frames, at most PLAIN_BURST, that are plain. Those left have not been
// touched. `more` frames lie behind, for the next call.
void plain_burst(struct worker *w, uint32_t role, const struct frame *frames, uint32_t n, uint32_t more, struct plain_left *left);
// As the parsing stages would leave this packet, of which nothing but `data` and `flags` is set.
// Not done where they have more to ask.
void plain_hand_over(const struct plain *q, struct pkt *p);
// Is the tunnel frame plain, its outer checksum judged by the headers alone?
bool plain_tunnel(const struct worker *w, const uint8_t *frame, uint32_t len);
