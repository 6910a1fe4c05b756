// SPDX-License-Identifier: Apache-2.0
// clients.h - the ports that may ask for an address: by MAC on a segment, since they have none yet.
//
// Not in the arena: without a policy no segment has DHCP, and a new process gets both at once.
// The control thread writes, workers find; a place is used again only when every worker has been
// quiescent.
#pragma once

#include "arena.h"

struct client {
	struct pcgdp_clients rec;
	uint32_t live;
	uint32_t next_free;
	uint64_t rate; // of what it sends; see limit.h
};

struct clients {
	struct client *c;
	struct sigtab index;
	uint32_t n, high, live, free; // free: the latest that was given back; NONE: none
	size_t bytes;
};

struct pcgdp;

int clients_open(struct clients *t, uint32_t n);
void clients_close(struct clients *t);
struct client *client_find(const struct pcgdp *dp, uint32_t vni, const uint8_t *mac); // NULL: there is none
int clients_put(struct pcgdp *dp, const struct pcgdp_clients *r, uint32_t n, char *error, uint32_t error_len);
int clients_del(struct pcgdp *dp, const struct pcgdp_clients *r, uint32_t n);
