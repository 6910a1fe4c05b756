// SPDX-License-Identifier: Apache-2.0
// path_mtu.h - path MTUs that the underlay told of; see path_mtu.c.
#pragma once

#include "worker.h"

struct path_mtu { // of a TEP, by its place
	uint32_t told; // by workers, since housekeeping last looked; 0: nothing
	uint32_t mtu;  // learned; 0: none
	uint64_t at_ns; // when it was last told
};

// Before   an ICMP message to our TEP, behind the IPv4 header of ihl bytes
// Punts    what lowers a TEP's path MTU: to housekeeping
// Drops    OUTER_ICMP
enum pcgdp_verdict path_mtu_told(struct worker *w, struct pkt *p, const struct ip_hdr *ip, uint32_t ihl);
uint32_t path_mtu(const struct pcgdp *dp, uint32_t tep, uint32_t configured); // the smaller of the two
void path_mtu_forget(struct pcgdp *dp, uint32_t tep); // its place is another's
void path_mtu_turn(struct pcgdp *dp, uint64_t now_ns, bool at_once); // housekeeping's
uint32_t path_mtu_read(struct pcgdp *dp, uint32_t from, struct pcgdp_path_mtu *out, uint32_t n); // control lock held
