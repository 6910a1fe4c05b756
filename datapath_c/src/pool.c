// SPDX-License-Identifier: Apache-2.0
// pool.c - see pool.h.

#include "pool.h"

uint16_t port_first_of(const struct config *c, const struct pcgdp_nat *r)
{
	return r->port_first ? r->port_first : (uint16_t)c->local.port_first;
}

uint16_t port_last_of(const struct config *c, const struct pcgdp_nat *r)
{
	return r->port_first ? r->port_last : (uint16_t)c->local.port_last;
}

static bool pool_has(const struct pcgdp_nat *r, uint32_t public_index)
{
	for (uint32_t i = 0; i < r->n_pool; i++)
		if (r->pool[i] == public_index)
			return true;
	return false;
}

bool mapping_fits(const struct config *c, const struct pcgdp_nat *r, const struct mapping *m)
{
	const struct public_address *pub = public_of_index(c, m->public_index);
	uint16_t port = ntohs(m->out_port);

	return r->id == m->nat_id && r->action == PCGDP_SNAT && pub && pub->rec.secondary_be == m->out_addr &&
		pool_has(r, m->public_index) && port >= port_first_of(c, r) && port <= port_last_of(c, r);
}

bool overflow_fits(const struct config *c, const struct pcgdp_nat *r, uint32_t nat_id, be32 addr, be16 port_be)
{
	const struct public_address *pub = public_of_secondary(c, addr);
	uint16_t port = ntohs(port_be);

	return r->overflow && r->id == nat_id && pub && pool_has(r, pub->rec.index) && port >= port_first_of(c, r) && port <= port_last_of(c, r);
}

const struct pcgdp_nat *pool_mapping(const struct config *c, const struct vrf *v, const struct mapping *m)
{
	const struct pcgdp_nat *r = snat_of_source(c, m->nat_id, m->src);

	return r && r->vrf == v->rec.index && m->domain_proto >> 8 == domain_of(r->vrf, false) && mapping_fits(c, r, m) ? r : NULL;
}
