// SPDX-License-Identifier: Apache-2.0
// punt.h - packets that the gateway's relay is to answer, on their way to its process.
//
// A ring for each worker, with one writer and one reader, who never wait for each other. A parcel
// stays in its ring until it has gone on for sure; nobody there to take it, or no room, and the packet
// is dropped with that as its reason: none is counted as punted and then lost.
#pragma once

#include <pthread.h>

#include "worker.h"

enum { PUNT_LANES = PCGDP_WORKERS_MAX + 1, PUNT_BYTES = 1 << 22 }; // 10,000 DHCP requests

struct punt_lane {
	uint64_t head __attribute__((aligned(LINE))); // bytes ever written
	uint64_t tail __attribute__((aligned(LINE))); // bytes that are done with
	uint64_t given; // the reader's: bytes that it was given
};

struct punts {
	uint32_t open;    // somebody reads
	uint32_t waiting; // he is to be woken
	int fd;           // an eventfd, by which
	uint8_t *memory;  // NULL: not opened
	pthread_mutex_t reading;
	struct punt_lane lane[PUNT_LANES];
};

int punts_open(struct punts *t);
void punts_close(struct punts *t);
// Before   p->l3 at the IP header, the inner Ethernet header before it; p->len its end
// After    PUNTED: a copy of it is on its way
// Drops    PUNT_NOBODY, PUNT_FULL
enum pcgdp_verdict punt(struct worker *w, struct pkt *p, be32 tep, const uint8_t *mac);
