// SPDX-License-Identifier: Apache-2.0
// decide.h - what becomes of a session, from its first packet's key alone. Pure: nothing is
// written, so a live session can be decided again, and `explain` can ask what would be.
#pragma once

#include "arena.h"
#include "config.h"

enum { R_OK = 255 };

struct decision {
	uint8_t reason;         // R_OK, or why not; NAT_FILTERED, NEIGHBOUR_UNRESOLVED: all else is decided
	uint8_t kind;           // enum pcgdp_nat_action, or KIND_PLAIN
	uint8_t log;            // bits of enum pcgdp_log
	bool reject;            // FIREWALL_DENIED: say so to the sender
	bool by_default;        // the firewall was asked, and no rule of it fits
	bool stateless;         // no session: overlay to overlay, or the firewall rule says so
	bool to_gateway;        // the destination is a segment gateway's own address
	bool open;              // inbound to a mapping: strangers are let in
	bool ours;              // a session whose far end, on the uplink, has a public address of ours
	bool draw_port;         // SNAT: new_addr and new_port come from a mapping
	uint32_t nat_id, fw_id; // 0: none
	const struct pcgdp_nat *rule;
	const struct public_address *pub; // SNAT: the one of the rule's pool that is asked first
	uint32_t pool_at;       // its place in the pool
	uint32_t mapping;       // inbound to a mapping's outside endpoint; NONE: not that
	be32 asked;             // SNAT from a pool: the address that the firewall was asked about
	be32 new_addr;          // SNAT: source; DNAT: destination
	be16 new_port;
	uint32_t slot;          // fwd leaves by
	uint32_t back_slot;     // rev leaves by
	uint32_t src_port, dst_port; // workload ports; NONE: none
};

// held: the address that a session which lives gives to its forward packets; 0: there is none yet.
void decide(const struct config *c, const struct arena *a, const union key *k, be32 held, struct decision *d);
// Would the firewall let it leave by another address of its rule's pool? If so, *d names that rule.
bool may_leave_as(const struct config *c, const union key *k, const struct public_address *pub, struct decision *d);
// The slot towards an address that the VRF routes by the uplink: a next hop, or SLOT_HAIRPIN for an
// Elastic IP of ours. 0: no such route, or its next hop is unknown.
uint32_t slot_outwards(const struct config *c, const struct arena *a, const struct vrf *v, be32 dst);
