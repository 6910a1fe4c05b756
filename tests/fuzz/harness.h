// SPDX-License-Identifier: Apache-2.0
// harness.h - what an input of the fuzzer is made of.
//
// An input is a sequence of steps
//
//     op (1 byte), kind (1 byte), length (2 bytes, big endian), data
//
// op: bits of enum op; the rest is time that passes behind it, 0 to 280 s.
// kind: enum kind; bits LANE: which of the workers has its frames; bit HOLD: it goes in one burst with
// the next, and housekeeping does not come by.

#ifndef FUZZ_HARNESS_H
#define FUZZ_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pcgdp.h"

enum op {
	OP_UPLINK = 1,  // a FRAME came by the uplink
	OP_MEND = 2,    // lengths and checksums are made right, so that what is behind them is looked at
	OP_EXPLAIN = 4, // explain is asked before
	OP_COMMIT = 8,  // all policy is committed again behind it
	OP_PORT = 16,   // a workload's port goes, or comes back, behind it
	OP_PASSES = 32, // times PASSES_S
	PASSES_S = 40,
};

// `which` counts backwards through the latest frames that were sent, or came. Patches are pairs of
// bytes: an offset in the IP header and what is behind it (192 and more: in the frame, less 192), and
// its new value.
enum kind {
	KIND_FRAME,  // the frame
	KIND_ANSWER, // which was sent, TCP flags (255: as they are), patches: what its receiver answers
	KIND_ERROR,  // which was sent, type and who complains, bytes quoted, patches of the packet quoted
	KIND_PIECES, // which, size, order, patches: an answer, or (which >= 128) a frame that came, cut
	KIND_AGAIN,  // which came, patches
	KIND_POLICY, // table, row, 0: it goes, or patches of the row: and a commit of that
	KIND_PUT,    // likewise, of a table whose rows are put one by one
	KIND_RELAY,  // parcels to workloads; without data: who reads what is punted goes away
	KIND_WATCH,  // which: 0 a trace, 1 a capture (& 4: of what is inside) by the filter behind it, 2 events;
	             // 3 all of them end; what there is is read
	KIND_TIME,   // how many, of which unit; 1: housekeeping comes by
	KIND_MANY,   // which came (>= 128: was sent), how many, an offset: so many like it, each another there
	KIND_READ,   // all that an operator may read, from a row on, so many rows at a time
	KIND_RESTART, // another process takes the tables over
	KINDS,
	LANE = 0x60, // 0, 0x60: inject's own; else a worker, whose fragments may be another's
	HOLD = 0x80,
};

enum { HEAD = 4, KEPT = 8, PATCH_OF_FRAME = 192, LANES = 3, ETH = 14, IP = 20, OUTER_UDP = ETH + IP, GENEVE = OUTER_UDP + 8 };
enum { ICMP = 1, TCP = 6, UDP = 17, MIXED = 2 };

struct frame {
	uint32_t role, len;
	uint8_t data[PCGDP_FRAME_MAX + 64];
};

struct step {
	uint32_t op, kind, len;
	const uint8_t *data;
};

static inline uint32_t byte_at(const struct step *s, uint32_t at)
{
	return at < s->len ? s->data[at] : 0;
}

static inline uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

// derive.c: frames that follow from others
uint32_t ip_at(const struct frame *f); // where the IP header is that matters: inside the tunnel, or the only one; 0: none
uint32_t sum_of(const uint8_t *data, uint32_t len, uint32_t sum);
void patch(struct frame *f, const struct step *s, uint32_t from);
void answer_to(struct frame *f, uint32_t tcp_flags);
void error_about(struct frame *f, const struct step *s);
uint32_t cut_up(const struct frame *f, const struct step *s, struct frame *pieces, uint32_t n);
void mend(struct frame *f);

// feed.c: frames in, frames out
void feed_begin(void); // of an input
void flush(void);
void nothing_came(uint32_t lane); // but time passed, for what waits
void offer_pieces(const struct step *s);
void offer_made(const struct step *s);
void offer_many(const struct step *s);
void relayed_from_now(void);

// hold.c: what leaves is held against the rules of the wire; all of these abort when it is not so
bool trusted(const struct frame *f); // what is in it is whole, and its checksum right
void hold_sane(const struct frame *sent);
void hold_sums(const struct frame *sent); // all that was offered was trusted
void hold_source(const struct frame *sent); // no overlay source may leave by the uplink
void hold_way(const struct frame *sent, uint32_t vrf); // it goes to somebody who is known; vrf: all that came is of it, or MIXED
uint32_t vrf_of(const struct frame *came);

// reads.c: what an operator may look at, or ask for
void relay(const struct step *s);
void watch(const struct step *s);
void read_all(const struct step *s);

// harness.c
extern struct pcgdp *dp;

// world.c: its time, its tables and how they change
extern uint64_t now_ns;
void world_read(const char *path);
void world_put(struct pcgdp *dp);    // all of it, as it was read
void world_commit(struct pcgdp *dp); // the policy, as it was read
void world_restored(struct pcgdp *dp); // whatever happened to it
bool world_is_own(void); // the policy is the one that was read
void world_changed(struct pcgdp *dp, uint32_t kind, const struct step *s);
void world_port(struct pcgdp *dp);
const void *world_row(uint32_t table, uint32_t i); // of a single table, as it is now; NULL: no more
void must(int rc, const char *what, const char *error);

#endif
