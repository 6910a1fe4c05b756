// SPDX-License-Identifier: Apache-2.0
// natport.h - which ports of each public address are taken.
//
// One bitmap of 65,536 bits per public address and protocol (TCP, UDP, ICMP identifiers), made at
// its first use. A port is drawn at random (RFC 6056 section 3.3.1) and taken with one atomic OR,
// so that all workers share all ports: none can be exhausted while another has some left. Rebuilt
// from the mappings when a process attaches to an arena.
#pragma once

#include "base.h"

enum { NATPORT_TCP, NATPORT_UDP, NATPORT_ICMP, NATPORT_PROTOS };
enum { PUBLICS_MAX = 65536 };

struct natports {
	uint64_t **bits; // [public * NATPORT_PROTOS + proto]
};

int natports_open(struct natports *n);
void natports_close(struct natports *n);
// The port that natport_take asks for first; its word comes into the cache meanwhile.
uint16_t natport_ahead(const struct natports *n, uint32_t public_index, uint8_t proto, uint16_t first, uint16_t last, uint64_t random);
// Draw from first..last (host order), but none that `reserved` (may be NULL) has set.
// The port in host order, or 0: all taken. `random` is any number.
uint16_t natport_take(struct natports *n, uint32_t public_index, uint8_t proto, uint16_t first, uint16_t last,
	const uint64_t *reserved, uint64_t random);
// The first one that natport_take could give, or 0. Nothing is taken.
uint16_t natport_look(const struct natports *n, uint32_t public_index, uint8_t proto, uint16_t first, uint16_t last, const uint64_t *reserved);
bool natport_claim(struct natports *n, uint32_t public_index, uint8_t proto, uint16_t port);
void natport_give(struct natports *n, uint32_t public_index, uint8_t proto, uint16_t port);
// How many of first..last are taken, of the protocol that has most; how many there are but for those promised.
uint32_t natport_used(const struct natports *n, uint32_t public_index, uint16_t first, uint16_t last);
uint32_t natport_there(const uint64_t *reserved, uint16_t first, uint16_t last);
int natport_proto(uint8_t proto); // NATPORT_*, or -1: no ports to draw
