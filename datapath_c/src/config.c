// SPDX-License-Identifier: Apache-2.0
// config.c - building one policy; see config.h. Control thread only.
//
// The records were validated where the operator wrote them; what is checked here is only what
// would make this process read past an array or loop, and says which record it was.

#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "hdr.h"

struct config *config_new(void)
{
	return calloc(1, sizeof(struct config));
}

static void vrf_free(struct vrf *v)
{
	lpm_free(&v->routes);
	classifier_free(&v->dnat);
	classifier_free(&v->snat);
	classifier_free(&v->fw_in);
	classifier_free(&v->fw_out);
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (uint32_t i = 0; i < c->n_vrfs; i++)
		vrf_free(&c->vrfs[i]);
	for (uint32_t i = 0; i < c->n_publics; i++)
		free(c->publics[i].reserved);
	free(c->vrfs);
	free(c->segments);
	free(c->publics);
	free(c->routes);
	free(c->nat);
	free(c->fw);
	free(c->groups);
	free(c->members);
	free(c->by_vni.at);
	free(c->by_secondary.at);
	free(c->by_elastic.at);
	free(c->by_public.at);
	free(c->sources.at);
	lpm_free(&c->routed);
	free(c);
}

size_t record_size(uint32_t table)
{
	static const size_t sizes[PCGDP_N_TABLES] = {
		[PCGDP_T_TEPS] = sizeof(struct pcgdp_teps),
		[PCGDP_T_PORTS] = sizeof(struct pcgdp_ports),
		[PCGDP_T_NEXTHOPS] = sizeof(struct pcgdp_nexthops),
		[PCGDP_T_CLIENTS] = sizeof(struct pcgdp_clients),
		[PCGDP_T_LOCAL] = sizeof(struct pcgdp_local),
		[PCGDP_T_VRFS] = sizeof(struct pcgdp_vrfs),
		[PCGDP_T_SEGMENTS] = sizeof(struct pcgdp_segments),
		[PCGDP_T_PUBLICS] = sizeof(struct pcgdp_publics),
		[PCGDP_T_ROUTES] = sizeof(struct pcgdp_routes),
		[PCGDP_T_NAT] = sizeof(struct pcgdp_nat),
		[PCGDP_T_FIREWALL] = sizeof(struct pcgdp_firewall),
		[PCGDP_T_GROUPS] = sizeof(struct pcgdp_groups),
		[PCGDP_T_MEMBERS] = sizeof(struct pcgdp_members),
	};

	return table < PCGDP_N_TABLES ? sizes[table] : 0;
}

// Add n records of `size` bytes, which lie `stride` bytes apart in the array we keep.
static int append(void **array, uint32_t *have, size_t stride, const void *records, uint32_t n, size_t size)
{
	uint8_t *more = realloc(*array, ((size_t)*have + n) * stride + 1);

	if (!more)
		return -ENOMEM;
	*array = more;
	memset(more + *have * stride, 0, n * stride);
	for (uint32_t i = 0; i < n; i++)
		memcpy(more + (*have + i) * stride, (const uint8_t *)records + i * size, size);
	*have += n;
	return 0;
}

static int put_vrfs(struct config *c, const struct pcgdp_vrfs *r, uint32_t n, char *error, uint32_t error_len)
{
	for (uint32_t i = 0; i < n; i++) {
		if (r[i].index >= VRFS_MAX) {
			snprintf(error, error_len, "vrfs[%u].index: %u is not below %u", i, r[i].index, VRFS_MAX);
			return -EINVAL;
		}
		if (r[i].index >= c->n_vrfs) {
			struct vrf *more = realloc(c->vrfs, (r[i].index + 1ul) * sizeof(*more));

			if (!more)
				return -ENOMEM;
			memset(more + c->n_vrfs, 0, (r[i].index + 1ul - c->n_vrfs) * sizeof(*more));
			c->vrfs = more;
			c->n_vrfs = r[i].index + 1;
		}
		if (c->vrfs[r[i].index].used) {
			snprintf(error, error_len, "vrfs[%u].index: %u is given twice", i, r[i].index);
			return -EEXIST;
		}
		c->vrfs[r[i].index].rec = r[i];
		c->vrfs[r[i].index].used = true;
	}
	return 0;
}

int config_put(struct config *c, uint32_t table, const void *records, uint32_t n, char *error, uint32_t error_len)
{
	switch (table) {
	case PCGDP_T_LOCAL:
		if (n != 1) {
			snprintf(error, error_len, "local: %u records, not 1", n);
			return -EINVAL;
		}
		memcpy(&c->local, records, sizeof(c->local));
		c->has_local = true;
		return 0;
	case PCGDP_T_VRFS:
		return put_vrfs(c, records, n, error, error_len);
	case PCGDP_T_SEGMENTS:
		return append((void **)&c->segments, &c->n_segments, sizeof(*c->segments), records, n, record_size(table));
	case PCGDP_T_PUBLICS:
		return append((void **)&c->publics, &c->n_publics, sizeof(*c->publics), records, n, record_size(table));
	case PCGDP_T_ROUTES:
		return append((void **)&c->routes, &c->n_routes, sizeof(*c->routes), records, n, record_size(table));
	case PCGDP_T_NAT:
		return append((void **)&c->nat, &c->n_nat, sizeof(*c->nat), records, n, record_size(table));
	case PCGDP_T_FIREWALL:
		return append((void **)&c->fw, &c->n_fw, sizeof(*c->fw), records, n, record_size(table));
	case PCGDP_T_GROUPS:
		return append((void **)&c->groups, &c->n_groups, sizeof(*c->groups), records, n, record_size(table));
	case PCGDP_T_MEMBERS:
		return append((void **)&c->members, &c->n_members, sizeof(*c->members), records, n, record_size(table));
	default:
		snprintf(error, error_len, "table %u is not a policy table", table);
		return -EINVAL;
	}
}

static uint32_t config_count(const struct config *c, uint32_t table)
{
	switch (table) {
	case PCGDP_T_LOCAL:
		return c->has_local;
	case PCGDP_T_SEGMENTS:
		return c->n_segments;
	case PCGDP_T_PUBLICS:
		return c->n_publics;
	case PCGDP_T_ROUTES:
		return c->n_routes;
	case PCGDP_T_NAT:
		return c->n_nat;
	case PCGDP_T_FIREWALL:
		return c->n_fw;
	case PCGDP_T_GROUPS:
		return c->n_groups;
	case PCGDP_T_MEMBERS:
		return c->n_members;
	default:
		return 0;
	}
}

static const void *config_at(const struct config *c, uint32_t table, uint32_t i)
{
	switch (table) {
	case PCGDP_T_SEGMENTS:
		return &c->segments[i].rec;
	case PCGDP_T_PUBLICS:
		return &c->publics[i].rec;
	case PCGDP_T_ROUTES:
		return &c->routes[i];
	case PCGDP_T_NAT:
		return &c->nat[i];
	case PCGDP_T_FIREWALL:
		return &c->fw[i];
	case PCGDP_T_GROUPS:
		return &c->groups[i];
	case PCGDP_T_MEMBERS:
		return &c->members[i];
	default:
		return &c->local;
	}
}

// They lie at their index, with gaps: one walk for all that are wanted.
static uint32_t read_vrfs(const struct config *c, uint32_t from, struct pcgdp_vrfs *records, uint32_t n)
{
	uint32_t got = 0;

	for (uint32_t v = 0, seen = 0; v < c->n_vrfs && got < n; v++)
		if (c->vrfs[v].used && seen++ >= from)
			records[got++] = c->vrfs[v].rec;
	return got;
}

uint32_t config_read(const struct config *c, uint32_t table, uint32_t from, void *records, uint32_t n)
{
	uint32_t count = config_count(c, table), got = 0;
	size_t size = record_size(table);

	if (table == PCGDP_T_VRFS)
		return read_vrfs(c, from, records, n);
	for (uint32_t i = from; i < count && got < n; i++, got++)
		memcpy((uint8_t *)records + got * size, config_at(c, table, i), size);
	return got;
}

// ---- what may leave by the uplink ----

// Asked of the whole flow, not of a rule's number: two VRFs may have the same prefix, and a number another
// rule after a commit.
bool source_exempt(const struct config *c, const union key *k, be32 src)
{
	uint32_t vrf = k->domain_proto >> 9, seg = c->n_routed ? lpm_find(&c->routed, src) : NONE;
	const struct vrf *v = vrf_of(c, vrf);
	uint8_t proto = (uint8_t)k->domain_proto;
	bool ports = proto == IPP_TCP || proto == IPP_UDP; // an ICMP identifier is no port
	const struct class_rule *found;

	if (seg != NONE && c->segments[seg].rec.vrf == vrf)
		return true;
	if (!v || k->src != src || k->domain_proto >> 8 & 1)
		return false;
	found = classifier_find(&v->snat, k->src, k->dst, proto, ports ? k->sport : 0, ports ? k->dport : 0);
	return found && c->nat[found->rule].action == PCGDP_NO_SNAT;
}
