// SPDX-License-Identifier: Apache-2.0
// reassemble.h - datagrams that arrive in pieces; see reassemble.c.
#pragma once

#include "worker.h"

// Who may fill the table: each kind has a room of its own, so that a stranger on the Internet
// cannot crowd out what comes through a tunnel.
enum fragment_kind { FRAGMENT_OUTER, FRAGMENT_INNER, FRAGMENT_UPLINK, FRAGMENT_DHCP, N_FRAGMENT_KINDS };

enum {
	DATAGRAMS = RX_MAX,              // of a kind; as many as one call of run_frames() may complete
	REASSEMBLY_NS_PER_S = 1000000000,
	REASSEMBLY_S = 15,               // RFC 791 section 3.2; counted from the first piece
};

struct reassembly;

struct reassembly *reassembly_new(void); // NULL: no memory
void reassembly_free(struct reassembly *r);

// Before   the IPv4 header at p->l3 is whole, p->ip_len its total length, it has MF or an offset
// After    NEXT: p is the whole datagram; HELD: it waits for its other pieces
// Drops    FRAGMENT_BAD, FRAGMENT_DUPLICATE, FRAGMENT_OVERLAP, ECN_CONGESTED; others' FRAGMENTS_FULL
// Domain   where its addresses are: INNER, UPLINK; who sent it, as that may have no address: DHCP
enum pcgdp_verdict reassemble(struct worker *w, struct pkt *p, enum fragment_kind kind, uint32_t domain);
// Gives up what has waited too long. Between worker_begin() and worker_end().
void reassembly_expire(struct worker *w);
// What was completed has left: its room is free again.
void reassembly_release(struct worker *w);
bool reassembly_idle(const struct worker *w); // nothing waits
// Longest packet that the pieces of a PF_WHOLE packet with DF may become again; 0: none.
uint32_t reassembled_piece(const struct worker *w, const struct pkt *p);
