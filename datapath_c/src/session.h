// SPDX-License-Identifier: Apache-2.0
// session.h - the session table: what was decided for a flow's first packet, kept for the rest.
//
// Theory. A session is a pair of 64-byte entries: number 2s is the initiator's direction (fwd),
// 2s + 1 the reply (rev). Each holds its own key and its own complete answer: the one address and
// port to rewrite, checksum differences worked out beforehand, the slot to leave by, the slot the
// packet must have come from. A packet needs its own direction's entry and nothing else, so the two
// directions may be served by two workers at no cost. What packets rarely need lies in a cold
// record beside the table, and nothing that follows from something else: whose VRF and which
// side began stand in the forward key, the public address is the mapping's or is found by the
// session's own outside address, and whatever a rule says of its sessions is found by its id.
//
// States of a session (cold.state), and who may move it:
//   FREE   -> MAKING  a worker, one of those that it has taken from the free list
//   MAKING -> LIVE    the same worker, when both keys are in the index
//   MAKING -> FREE    the same worker, when a key was taken and nobody can have seen the other
//   MAKING -> DYING   the same worker, when somebody may have, or it holds a mapping
//   LIVE   -> LEAVING whoever ends it (housekeeping, or a worker whose decision changed), or makes another
//                     in its place (a worker: the same keys, by another way or in another rule's name)
//   LEAVING -> DYING  the same, when neither key leads to it any more
//   DYING  -> FREE    housekeeping, once every worker has been quiescent
// Until then its lines hold: who found it earlier goes on by it, and what it counts there is summed up.
// A process that attaches to an arena drops what is MAKING, LEAVING or DYING.
//
// Written in place in a LIVE entry: mark, TCP flags seen, last seen, counters, in_vni; each by
// the worker of that direction (mark and in_vni by whoever decides it again, too). Nothing else ever.
#pragma once

#include "hdr.h"
#include "sigtab.h"

// Why a session is not as its entries say. Of both directions alike; a packet of a marked one takes the
// stages (plain.c).
enum mark {
	MARK_NONE,
	MARK_ASK,  // a change may concern it: to be decided again
	MARK_KEPT, // decided again: it goes another way, or by another rule, from its next packet on
	MARK_LATE, // it is to end, and waits until its ends can be told: as MARK_ASK until then
	MARK_CUT,  // it is over; its ends are about to be told (cuts.c)
	MARK_IDLE, // likewise, for it was silent for too long
};

enum { OP_SRC = 1, OP_DST = 2 }; // which address and port of the packet are rewritten; 0: neither

struct entry {
	union key key;
	be32 new_addr;
	be16 new_port;
	uint16_t l3_delta;     // address and TTL - 1
	uint16_t l4_delta;     // address (TCP, UDP) and port
	union {
		struct {
			uint8_t mark;  // enum mark
			uint8_t ours;  // to an address of ours, so turned round inside; by the wire only a forger speaks in its name
		};
		uint16_t odd;          // either: not for plain.c
	};
	uint32_t slot;         // leaves by
	uint32_t src_slot;     // must come from this port's TEP; 0: came by the uplink
	uint32_t in_vni;       // arrival VNI for which the source check was last made in full
	uint32_t last_s;       // seconds since the arena was born
	uint8_t csum_off, port_off; // in the L4 header; 0xff: none
	uint8_t tcp_flags;     // all that were seen
	uint8_t op;
	uint64_t packets, bytes;
} __attribute__((aligned(LINE)));

_Static_assert(sizeof(struct entry) == LINE, "one line");

enum session_state { S_FREE, S_MAKING, S_LIVE, S_DYING, S_LEAVING };
enum { KIND_PLAIN = 7 }; // not translated; otherwise enum pcgdp_nat_action

struct cold {
	uint8_t state;
	uint8_t kind : 3, log : 1;
	uint8_t published : 1; // it lived; 0: it was lost before
	uint8_t log_default : 1; // as log, of the firewall's default
	uint8_t succeeded : 1; // another has its place, in the workload's quota too
	uint16_t nat_id;       // 0: none
	uint32_t fw_id;        // 0: none
	union {
		uint32_t mapping;   // NONE: none
		uint32_t next_free; // while FREE
	};
	uint32_t made_s;
};

_Static_assert(sizeof(struct cold) == PCGDP_COLD_LEN, "four to a line");

struct session_table {
	struct entry *e; // 2 a session
	struct cold *cold;
	struct sigtab index;
	uint32_t n;
	const struct secret *secret;
	uint32_t *free_head, *lock, *high, *live;
};

INLINE uint8_t log_of(const struct cold *c)
{
	return (uint8_t)(c->log | c->log_default << 1); // enum pcgdp_log
}

INLINE uint32_t proto_of(const union key *k)
{
	return k->domain_proto & 0xff;
}

INLINE uint32_t domain_of(uint32_t vrf, bool uplink)
{
	return 2 * vrf + uplink;
}

INLINE uint32_t session_vrf(const struct session_table *t, uint32_t s)
{
	return t->e[2 * s].key.domain_proto >> 9;
}

INLINE bool session_from_uplink(const struct session_table *t, uint32_t s)
{
	return t->e[2 * s].key.domain_proto >> 8 & 1;
}

// By a session's forward key: the address beyond the uplink.
INLINE be32 peer_of(const union key *fwd)
{
	return fwd->domain_proto >> 8 & 1 ? fwd->src : fwd->dst;
}

INLINE uint32_t entry_number(const struct session_table *t, const struct entry *e)
{
	return (uint32_t)(e - t->e);
}

INLINE struct entry *entry_other(struct entry *e, uint32_t number)
{
	return number & 1 ? e - 1 : e + 1;
}

// Up to n free numbers, of which there may be fewer; they stay FREE until something is made there.
uint32_t session_take(struct session_table *t, uint32_t *numbers, uint32_t n);
// After quiescence, or never published.
void session_give(struct session_table *t, const uint32_t *numbers, uint32_t n);
// Publish a filled MAKING session; the hashes are of its two keys. 0; -EEXIST: *there is the entry that
// has the fwd key (a race was lost); -EADDRINUSE: the rev key belongs to another session; -ENOSPC:
// index full
int session_publish(struct session_table *t, uint32_t s, uint64_t hash, uint64_t reply_hash, uint32_t *there);
bool session_leave(struct session_table *t, uint32_t s); // LIVE -> LEAVING; false: somebody else did
bool session_unlink(struct session_table *t, uint32_t s); // and out of the index: DYING
// LEAVING -> DYING: s, MAKING, filled, with the same keys, takes its place. No packet finds neither.
void session_replace(struct session_table *t, uint32_t leaving, uint32_t s);
enum pcgdp_tcp_state session_tcp_state(const struct session_table *t, uint32_t s);
uint32_t session_timeout_s(const struct session_table *t, uint32_t s, const uint32_t *of_rule); // PCGDP_TIMERS of them, 0: not said
void session_attach(struct session_table *t);

bool session_key_is(const void *table_and_key, uint32_t number);
struct session_query {
	const struct session_table *t;
	const union key *k;
};
