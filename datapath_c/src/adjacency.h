// SPDX-License-Identifier: Apache-2.0
// adjacency.h - ready-made headers towards a workload's port or an uplink next hop.
//
// A slot is what sessions remember; an adjacency is what a slot points to now. Adjacencies never
// change: when a TEP or a MAC moves, a new one is made and the slot, 8 bytes, is swapped; the old
// one is freed when every worker has been quiescent. The slot also carries the TEP's address, so
// that the source check of a known session reads 8 bytes and not the adjacency.
#pragma once

#include "hdr.h"

enum { ADJ_TMPL = 80, ADJ_PLAIN = 1, ADJ_TUNNEL = 2 };

struct adj {
	uint8_t tmpl[ADJ_TMPL]; // right-aligned: ends where the inner or plain IPv4 header begins
	uint32_t ip_sum;        // of the outer IPv4 header, length and TOS still zero
	uint32_t udp_sum;       // outer pseudo header, UDP header, Geneve, options, inner Ethernet; no lengths
	uint16_t len;           // of the template
	uint16_t mtu;           // longest IPv4 packet that fits behind it
	uint8_t kind, resolved, role, udp_checksum;
	be32 next;              // TEP or next hop
	uint32_t vni, vrf;
	uint32_t counter;       // of the segment, in the workers' counters
	uint32_t next_free;
	be32 address;   // of the workload's port behind it
	uint8_t silent; // not resolved, and nobody answers
	uint8_t pad[7];
} __attribute__((aligned(128)));

_Static_assert(sizeof(struct adj) == 128, "two lines");

struct slot {
	uint32_t adj;  // 0: none
	be32 tep;      // 0: not behind a TEP
};

_Static_assert(sizeof(struct slot) == 8, "swapped at one stroke");

// Not in the table:
#define SLOT_HAIRPIN 0xfffffffeu // turned round inside, as the Internet gateway would (egress.c)
#define SLOT_RAW 0xfffffffdu     // the frame is complete: back where it came from

struct adj_table {
	struct adj *adj;
	struct slot *slots;
	uint32_t n_adj, n_slots;
	uint32_t *free_head, *high;
};

INLINE struct slot slot_get(const struct adj_table *t, uint32_t slot)
{
	uint64_t v = __atomic_load_n((const uint64_t *)&t->slots[slot], __ATOMIC_ACQUIRE);
	struct slot s;

	memcpy(&s, &v, sizeof(s));
	return s;
}

INLINE void slot_set(struct adj_table *t, uint32_t slot, struct slot s)
{
	uint64_t v;

	memcpy(&v, &s, sizeof(v));
	__atomic_store_n((uint64_t *)&t->slots[slot], v, __ATOMIC_RELEASE);
}

uint32_t adj_alloc(struct adj_table *t); // 0: none left
void adj_free(struct adj_table *t, uint32_t adj); // after quiescence only

struct adj_tunnel {
	const uint8_t *our_mac, *next_mac, *inner_src, *inner_dst;
	be32 our_tep, tep, address;
	uint32_t vni, vrf, label, counter;
	uint32_t inner_mtu, underlay_mtu;
	bool option, udp_checksum, resolved, silent;
};

void adj_make_tunnel(struct adj *a, const struct adj_tunnel *t);
// its `resolved` and `silent` are the caller's to say
void adj_make_plain(struct adj *a, const uint8_t *our_mac, const uint8_t *next_mac, be32 next, uint32_t mtu);
