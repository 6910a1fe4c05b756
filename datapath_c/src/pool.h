// SPDX-License-Identifier: Apache-2.0
// pool.h - what an SNAT rule has to give, and whether it would still give what it once gave.
#pragma once

#include "arena.h"
#include "config.h"

// Would this rule still give a mapping its outside endpoint? Not when its pool, a public address's
// secondary address or its range of ports has changed since.
bool mapping_fits(const struct config *c, const struct pcgdp_nat *r, const struct mapping *m);
// Likewise a session that shares a port, and so has no mapping.
bool overflow_fits(const struct config *c, const struct pcgdp_nat *r, uint32_t nat_id, be32 addr, be16 port);
uint16_t port_first_of(const struct config *c, const struct pcgdp_nat *r); // host order
uint16_t port_last_of(const struct config *c, const struct pcgdp_nat *r);
// The rule that a mapping is open by. NULL: it is gone, or the VRF has lost the address, so to nobody.
const struct pcgdp_nat *pool_mapping(const struct config *c, const struct vrf *v, const struct mapping *m);
