// SPDX-License-Identifier: Apache-2.0
// worker.h - one thread of the fast path: its counters, its burst, what it is about to send.
//
// Quiescence: a worker's `seq` is odd while it may hold references into the tables, even while
// it may not. Whoever has unlinked something waits in quiesce() until each worker was even, or
// moved, once; after that nobody holds what was unlinked before.
#pragma once

#include "arena.h"
#include "config.h"
#include "ledger.h"
#include "natport.h"
#include "nic.h"
#include "perf.h"
#include "shape.h"

enum { RX_MAX = 128, COUNTERS_MAX = 65536, TX_MAX = 64, MADE_LEN = 768 };
// What one burst makes at most: two for each packet, and two for each that is turned round inside, of which
// there may be as many among those that were made.
enum { MADE_MAX = 4 * BURST };
// Fragments on their way out: as many as the longest packet becomes where 576 bytes are the least
// that passes; HEADROOM and PCGDP_FRAME_MAX, to an odd multiple of 64.
enum { PIECES = 128, PIECE_STRIDE = 9408 };

struct seg_counter {
	uint64_t in_packets, in_bytes, out_packets, out_bytes;
};

struct counters {
	uint64_t rx, made, tx, punt;
	uint64_t unmade, unmade_source, unmade_all, unmade_no_way; // see pcgdp.h
	uint64_t held, joined; // held goes up and down; its sum over all workers counts
	uint64_t drops[N_REASONS];
	uint64_t stages[N_STAGES];
	uint64_t sessions_made, sessions_cut, decisions;
	struct {
		uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	} nic[2];
};

struct txq {
	uint32_t n;
	struct frame frame[TX_MAX];
};

// Where frames go instead of a NIC: inject and explain.
struct capture {
	uint8_t *out;
	uint32_t room, used, n, n_max;
	uint32_t *lengths, *roles;
};

struct tracer;
struct reassembly;

// What a worker has lately found, to find again at one look: placed by the low bits, valid for one
// state of the TEP table and one policy.
enum { TEPS_SEEN = 1024, VNIS_SEEN = 64, OWNED_SEEN = 256 };

struct vni_seen {
	uint32_t vni, domain;
	uint64_t gateway_mac; // its six bytes, then two of zero
	struct seg_counter *counter;
	const struct segment *segment;
	bool transit;
};

struct seen {
	uint32_t tep_epoch;
	uint64_t policy; // serial number
	struct shape shape[2]; // by role, for these MACs
	uint64_t mac[2];
	be32 teps[TEPS_SEEN]; // known ones; 0: none
	struct vni_seen vnis[VNIS_SEEN];
	struct owned_seen {
		be32 address;
		uint32_t domain;
	} owned[OWNED_SEEN];
};

struct worker {
	uint64_t seq; // see above
	struct pcgdp *dp;
	const struct config *cfg; // of this burst
	uint64_t now_ns;
	uint32_t now_s, id;
	uint64_t random;
	bool busy;               // its last look at the ports brought frames
	bool dry;                // explain: nothing is counted, made, installed
	bool by_mail;            // its frames came from another worker, who counted them
	struct capture *capture;
	struct tracer *tracer;   // NULL: not traced

	struct seen seen;
	struct txq tx[2];
	struct burst burst, loop;
	struct {
		uint32_t n;
		struct pkt pkt[MADE_MAX];
	} made;
	uint8_t (*made_buf)[HEADROOM + MADE_LEN]; // MADE_MAX of them
	struct entry dry_entry[2];
	uint32_t dry_ended;      // explain: the session that this packet would have ended; NONE
	bool dry_draws;          // explain: the port of its new session would be drawn, so none is known yet
	struct reassembly *reassembly;
	uint8_t (*piece_buf)[PIECE_STRIDE]; // PIECES of them
	uint32_t n_pieces;

	struct counters c;
	struct perf perf;
	struct seg_counter *seg; // COUNTERS_MAX
	struct ledger *ledger;
} __attribute__((aligned(LINE)));

_Static_assert((int)N_STAGES == (int)PCGDP_STAGES, "the border names as many");

struct worker *worker_new(struct pcgdp *dp, uint32_t id);
void worker_free(struct worker *w);
void worker_begin(struct worker *w, uint64_t now_ns); // before a burst: clock and policy
void worker_end(struct worker *w);
void *worker_main(void *worker);
// Take frames of one port through the path and send what comes out.
void run_frames(struct worker *w, uint32_t role, const struct frame *frames, uint32_t n);
void tx_flush(struct worker *w);
void send_made(struct worker *w); // what was made outside of run_frames()

// The stages, in stages.def's order, and by which ports packets come to each: bits by role.
extern const uint8_t stage_enters[N_STAGES];
#define X(from, name, text) void name(struct worker *w, struct burst *b);
#include "../include/stages.def"
#undef X

void burst_settle(struct worker *w, struct burst *b, enum stage stage); // counts, traces, takes out what ended
void settle_ended(struct worker *w, const struct pkt *p); // counts how it ended
enum pcgdp_verdict egress_one(struct worker *w, struct pkt *p);
enum pcgdp_verdict egress_by(struct worker *w, struct pkt *p, const struct adj *a); // whatever its slot
void mss_clamp(struct worker *w, struct pkt *p, uint32_t mtu);
// fragment.c: may a packet that is longer than mtu leave in pieces? Then cut it and send them.
bool may_fragment(const struct worker *w, const struct pkt *p, uint32_t mtu);
enum pcgdp_verdict fragment_out(struct worker *w, struct pkt *p, const struct adj *a);

// RFC 6056 section 3.1: not to be guessed by who sees many of them. A keyed hash of a counter whose start is
// drawn by the kernel too.
uint64_t worker_random(struct worker *w);

INLINE void settle_one(struct burst *b, struct pkt *p, enum pcgdp_verdict v)
{
	if (LIKELY(v == PCGDP_NEXT)) // which it is from the start
		return;
	p->verdict = (uint8_t)v;
	b->ended++;
}

INLINE void tx_put(struct worker *w, uint32_t role, uint8_t *data, uint32_t len)
{
	struct txq *q = &w->tx[role];
	uint32_t n = q->n;

	q->frame[n] = (struct frame){.data = data, .len = len};
	q->n = n + 1;
	if (UNLIKELY(n + 1 == TX_MAX))
		tx_flush(w);
}
