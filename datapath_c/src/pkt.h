// SPDX-License-Identifier: Apache-2.0
// pkt.h - one packet on its way through the stages, and the burst it travels in.
//
// A struct pkt lives in the worker's burst (in L1), not beside the frame: no metadata line per
// packet. The frame's bytes are reached only through pull(), which checks the length, or at
// offsets that a pull has covered. A packet ends by exactly one verdict; drop() is the only way to
// end it early.
#pragma once

#include "hdr.h"
#include "hash.h"

#ifndef PCG_BURST // bench/ablations.py asks what more than one is worth
#define PCG_BURST 32
#endif
enum { BURST = PCG_BURST, HEADROOM = 128 };

#define X(name, text, advice) R_##name,
enum reason {
#include "../include/reasons.def"
	N_REASONS
};
#undef X

#define X(from, name, text) STAGE_##name,
enum stage {
#include "../include/stages.def"
	N_STAGES
};
#undef X

enum {
	PF_CSUM_OK = 1,       // the port verified the outer checksum
	PF_CSUM_PARTIAL = 2,  // the sender left the L4 checksum to an offload that never ran
	PF_UPLINK = 4,        // in the uplink's domain
	PF_ANSWER = 8,        // turned round or made here: straight to egress by `slot`
	PF_STATELESS = 16,    // no session: TTL only
	PF_ICMP_ERROR = 32,   // the key is that of the packet it quotes, reversed
	PF_LOOPED = 64,       // turned round inside once (hairpin)
	PF_ARP = 128,
	PF_NEW = 256,         // its session was made by this packet
	PF_TRUNCATED = 512,   // longer than the ring's slot
	PF_HAS_UDP_SUM0 = 1024, // UDP without checksum, or a protocol whose sum we do not know
	PF_DECIDED = 2048,    // a first packet, and what becomes of it is known
	PF_WHOLE = 4096,      // put together from fragments
	PF_COUNTED = 8192,    // its segment counted it, at the worker that it came from
	PF_PARSED = 16384,    // by plain.c: the parsing stages count it, no more
	PF_TOLD = 32768,       // its sender was sent a RST about it, or it asks for a RST's numbers
};

enum { TOLD_RST = 1 };

struct entry;
struct segment;

struct pkt {
	uint8_t *data;
	uint32_t len;      // bytes from data; cut to what the IP header says once that is known
	uint16_t off;      // next byte not yet pulled
	uint16_t l3;       // offset of the IPv4 (or ARP) header that will be sent on
	uint16_t ip_len;   // its total length
	uint16_t flags;    // PF_*
	uint8_t nic;       // role it came by
	uint8_t verdict;   // enum pcgdp_verdict
	uint8_t reason;
	uint8_t proto, tcp_flags, trace;
	uint8_t ecn;       // of the outer header
	uint8_t told;      // for trace, what its sender hears about it: ICMP type << 4 | code, or TOLD_RST; 0: nothing
	be32 outer_src;    // TEP it came from; 0: by the uplink
	uint32_t vni, vrf;
	union key key;
	uint64_t hash;
	const struct segment *segment; // it arrived on; NULL by the uplink
	struct entry *entry;
	uint32_t number;   // of the entry; NONE: none
	uint32_t slot;     // leaves by
	uint32_t nat_id, fw_id; // for trace
};

struct burst {
	uint32_t n;
	uint32_t ended;    // packets whose verdict is not NEXT, since the last settle
	struct pkt pkt[BURST];
};

// Where a parser stands. A copy in registers: the packet's own fields would be loaded and stored
// again for each header.
struct reader {
	uint8_t *at;
	const uint8_t *end;
};

INLINE struct reader pkt_read(const struct pkt *p)
{
	return (struct reader){p->data + p->off, p->data + p->len};
}

// The next n bytes, or NULL: there are fewer.
INLINE void *pull(struct reader *r, uint32_t n)
{
	void *at = r->at;

	if (UNLIKELY((size_t)(r->end - r->at) < n))
		return NULL;
	r->at += n;
	return at;
}

// The next stage reads on from here.
INLINE void pkt_read_to(struct pkt *p, const struct reader *r)
{
	p->off = (uint16_t)(r->at - p->data);
}

INLINE enum pcgdp_verdict drop(struct pkt *p, enum reason reason)
{
	p->reason = (uint8_t)reason;
	return PCGDP_DROPPED;
}

// By the uplink from outside: what was turned round inside is a workload's.
INLINE bool stranger(const struct pkt *p)
{
	return (p->flags & (PF_UPLINK | PF_LOOPED)) == PF_UPLINK;
}

INLINE struct ip_hdr *pkt_ip(const struct pkt *p)
{
	return (struct ip_hdr *)(p->data + p->l3);
}
