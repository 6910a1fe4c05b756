// SPDX-License-Identifier: Apache-2.0
// answer.h - what the path says itself: ARP, ping, ICMP errors, RST.
#pragma once

#include "worker.h"

struct decision;

// The packet itself is turned round (ARP, echo): nothing is made, it leaves as it came.
enum pcgdp_verdict arp_overlay(const struct worker *w, struct pkt *p, struct reader *r);
enum pcgdp_verdict arp_uplink(const struct worker *w, struct pkt *p, struct reader *r);
enum pcgdp_verdict gateway_addressed(const struct worker *w, struct pkt *p, uint32_t port);

// A packet is made about this one, which its caller then drops. The packet must still be as it
// came. Nothing happens where RFC 1812 section 4.3.2.7 forbids an error, or over the rate limit.
void icmp_error(struct worker *w, struct pkt *p, uint8_t type, uint8_t code, uint16_t mtu);
// Type 3 with that code to a workload whose packet has no way. Strangers on the uplink are told nothing.
void no_way(struct worker *w, struct pkt *p, uint8_t code);
// The rest of a datagram did not come; this is its first piece.
void reassembly_error(struct worker *w, struct pkt *p);
void tcp_reset(struct worker *w, struct pkt *p);
// A first packet is refused: its sender hears what it may.
void tell_refused(struct worker *w, struct pkt *p, const struct decision *d);
// The session of this packet ends under both ends: each is told in the other's name, with the numbers
// that it waits for. `e`: the packet's direction, `back`: the other.
void tcp_cut(struct worker *w, struct pkt *p, const struct entry *e, const struct entry *back);
// To the sender of `e`, in the other's name, an ACK out of its window: it must answer with its numbers
// (RFC 9293 section 3.10.7.4).
void tcp_ask(struct worker *w, const struct entry *e, const struct entry *back, uint32_t session);

// An ICMP error that belongs to a session: rewrite it and the packet inside it.
enum pcgdp_verdict icmp_error_translate(struct pkt *p, const struct entry *e);
// Another source and destination of the packet that an ICMP error quotes.
void icmp_error_quote(const struct pkt *p, be32 src, be32 dst);
// The key, reversed, of the packet that an ICMP error quotes. false: cut short or malformed.
bool icmp_error_key(const struct pkt *p, uint32_t domain, union key *k);
