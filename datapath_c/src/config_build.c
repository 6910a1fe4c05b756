// SPDX-License-Identifier: Apache-2.0
// config_build.c - the indices over the records of one policy: maps, tries, rule lists, reserved ports.

#include <stdio.h>
#include <stdlib.h>

#include "config.h"
#include "hdr.h"
#include "places.h"

#define FAIL(code, ...) (snprintf(error, error_len, __VA_ARGS__), (code))

static int wordmap_init(struct wordmap *m, uint32_t n)
{
	m->mask = places_for(n) - 1;
	m->at = calloc(m->mask + 1ul, sizeof(*m->at));
	return m->at ? 0 : -ENOMEM;
}

static int wordmap_put(struct wordmap *m, uint32_t key, uint32_t value)
{
	uint32_t i = word_hash(key) & m->mask;

	for (; m->at[i].value_plus_1; i = (i + 1) & m->mask)
		if (m->at[i].key == key)
			return -EEXIST;
	m->at[i].key = key;
	m->at[i].value_plus_1 = value + 1;
	return 0;
}

static int build_segments(struct config *c, char *error, uint32_t error_len)
{
	if (wordmap_init(&c->by_vni, c->n_segments) || lpm_init(&c->routed))
		return FAIL(-ENOMEM, "no memory for %u segments", c->n_segments);
	for (unsigned len = 0; len <= 32; len++)
		for (uint32_t i = 0; i < c->n_segments; i++) {
			const struct pcgdp_segments *r = &c->segments[i].rec;

			if (r->kind != PCGDP_SEGMENT || !(r->flags & PCGDP_ROUTED) || r->prefix_len != len)
				continue;
			if (lpm_insert(&c->routed, r->subnet_be, len, i))
				return FAIL(-ENOMEM, "no memory for the routed segments");
			c->n_routed++;
		}
	for (uint32_t i = 0; i < c->n_segments; i++) {
		const struct pcgdp_segments *r = &c->segments[i].rec;

		if (!vrf_of(c, r->vrf))
			return FAIL(-EINVAL, "segments[%u].vrf: %u is no VRF of this policy", r->vni, r->vrf);
		if (r->prefix_len > 32)
			return FAIL(-EINVAL, "segments[%u].prefix_len: %u is above 32", r->vni, r->prefix_len);
		if (wordmap_put(&c->by_vni, r->vni, i))
			return FAIL(-EEXIST, "segments[%u]: the VNI is given twice", r->vni);
	}
	return 0;
}

static int build_publics(struct config *c, char *error, uint32_t error_len)
{
	if (wordmap_init(&c->by_secondary, c->n_publics) || wordmap_init(&c->by_elastic, c->n_publics) ||
		wordmap_init(&c->by_public, c->n_publics))
		return FAIL(-ENOMEM, "no memory for %u public addresses", c->n_publics);
	for (uint32_t i = 0; i < c->n_publics; i++) {
		const struct pcgdp_publics *r = &c->publics[i].rec;

		if (r->index >= 65536 || !vrf_of(c, r->vrf))
			return FAIL(-EINVAL, "publics[%u]: index is not below 65536, or VRF %u is unknown", r->index, r->vrf);
		if (wordmap_put(&c->by_public, r->index, i) || wordmap_put(&c->by_secondary, r->secondary_be, i) ||
			wordmap_put(&c->by_elastic, r->address_be, i))
			return FAIL(-EEXIST, "publics[%u]: index or address is given twice", r->index);
	}
	return 0;
}

static int build_routes(struct config *c, char *error, uint32_t error_len)
{
	for (uint32_t v = 0; v < c->n_vrfs; v++)
		if (c->vrfs[v].used && lpm_init(&c->vrfs[v].routes))
			return FAIL(-ENOMEM, "no memory for routes");
	for (unsigned len = 0; len <= 32; len++)
		for (uint32_t i = 0; i < c->n_routes; i++) {
			const struct pcgdp_routes *r = &c->routes[i];

			if (r->prefix_len > 32 || !vrf_of(c, r->vrf))
				return FAIL(-EINVAL, "routes[%u]: prefix length %u above 32, or VRF %u is unknown", i, r->prefix_len, r->vrf);
			if (r->prefix_len == len && lpm_insert(&c->vrfs[r->vrf].routes, r->prefix_be, len, i))
				return FAIL(-ENOMEM, "no memory for %u routes", c->n_routes);
		}
	return 0;
}

// Ports that a DNAT rule promises are never drawn for SNAT. A rule for all ports promises none:
// replies of SNAT sessions are found in the session table before any rule is asked.
static int reserve_ports(struct config *c, const struct pcgdp_nat *r)
{
	uint32_t i = wordmap_find(&c->by_secondary, r->match.dst_be);
	uint64_t **bits;

	if (r->action != PCGDP_DNAT || i == NONE || r->match.dst_len != 32)
		return 0;
	if (r->match.dport_first == 0 && r->match.dport_last == 65535)
		return 0;
	bits = &c->publics[i].reserved;
	if (!*bits)
		*bits = calloc(65536 / 64, sizeof(**bits));
	if (!*bits)
		return -ENOMEM;
	for (uint32_t p = r->match.dport_first; p <= r->match.dport_last; p++)
		(*bits)[p >> 6] |= 1ull << (p & 63);
	return 0;
}

// Outwards: source -> pool; so inwards: pool -> source, for the same peers, any protocol and port.
static int add_reflexive(struct config *c, struct vrf *v, uint32_t i)
{
	const struct pcgdp_nat *r = &c->nat[i];
	int rc = classifier_add(&v->snat, &r->match, i, 0);

	for (uint32_t k = 0; !rc && k < r->n_pool; k++) {
		struct pcgdp_match in = {.src_be = r->match.dst_be, .src_len = r->match.dst_len, .dst_len = 32, .sport_last = 65535, .dport_last = 65535};

		in.dst_be = public_of_index(c, r->pool[k])->rec.secondary_be;
		rc = classifier_add(&v->dnat, &in, i, k);
	}
	return rc;
}

static int add_nat(struct config *c, struct vrf *v, uint32_t i)
{
	const struct pcgdp_nat *r = &c->nat[i];
	int rc;

	if (r->action == PCGDP_REFLEXIVE)
		rc = add_reflexive(c, v, i);
	else
		rc = classifier_add(r->action == PCGDP_DNAT || r->action == PCGDP_NO_DNAT ? &v->dnat : &v->snat, &r->match, i, 0);
	return rc ? rc : reserve_ports(c, r);
}

// Of one rule's records with the same source the first stands for all.
static int build_sources(struct config *c)
{
	struct rule_sources *s = &c->sources;

	s->mask = places_for(c->n_nat) - 1;
	s->at = calloc(s->mask + 1ul, sizeof(*s->at));
	if (!s->at)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->n_nat; i++) {
		const struct pcgdp_nat *r = &c->nat[i];
		be32 src = r->match.src_be & mask_be(r->match.src_len);
		uint32_t at = places_hash(src, r->id, r->match.src_len) & s->mask;

		if (r->action != PCGDP_SNAT)
			continue;
		while (s->at[at] && !same_source(&c->nat[s->at[at] - 1], r->id, src, r->match.src_len))
			at = (at + 1) & s->mask;
		if (!s->at[at])
			s->at[at] = i + 1;
		s->lengths |= 1ull << r->match.src_len;
	}
	return 0;
}

static bool match_possible(const struct pcgdp_match *m)
{
	return m->src_len <= 32 && m->dst_len <= 32 && m->sport_first <= m->sport_last && m->dport_first <= m->dport_last;
}

static int build_nat(struct config *c, char *error, uint32_t error_len)
{
	for (uint32_t i = 0; i < c->n_nat; i++) {
		const struct pcgdp_nat *r = &c->nat[i];
		bool pool = r->action == PCGDP_SNAT || r->action == PCGDP_REFLEXIVE;

		if (!vrf_of(c, r->vrf) || r->action > PCGDP_NO_DNAT || r->id == 0 || r->id >= 65536)
			return FAIL(-EINVAL, "nat[%.48s]: VRF %u, action %u or id %u is out of range", r->name, r->vrf, r->action, r->id);
		if (!match_possible(&r->match))
			return FAIL(-EINVAL, "nat[%.48s].match: a prefix length above 32, or a range of ports that ends before it begins", r->name);
		if (pool && (r->n_pool == 0 || r->n_pool > PCGDP_POOL_MAX))
			return FAIL(-EINVAL, "nat[%.48s]: %u public addresses, not 1 to %u", r->name, r->n_pool, PCGDP_POOL_MAX);
		for (uint32_t k = 0; pool && k < r->n_pool; k++)
			if (!public_of_index(c, r->pool[k]))
				return FAIL(-EINVAL, "nat[%.48s]: public address number %u is unknown", r->name, r->pool[k]);
		if (r->action == PCGDP_SNAT && r->port_last < r->port_first)
			return FAIL(-EINVAL, "nat[%.48s]: ports %u to %u are no range to draw from", r->name, r->port_first, r->port_last);
		if (r->action == PCGDP_DNAT && !r->n_targets)
			return FAIL(-EINVAL, "nat[%.48s]: a DNAT rule needs a target", r->name);
		if (add_nat(c, &c->vrfs[r->vrf], i))
			return FAIL(-ENOMEM, "no memory for %u NAT rules", c->n_nat);
	}
	return build_sources(c) ? FAIL(-ENOMEM, "no memory for %u NAT rules", c->n_nat) : 0;
}

static int build_members(struct config *c, char *error, uint32_t error_len)
{
	for (uint32_t i = 0; i < c->n_members; i++)
		if (!vrf_of(c, c->members[i].vrf) || c->members[i].prefix_len > 32)
			return FAIL(-EINVAL, "members[%u]: VRF %u or prefix length %u is out of range", i, c->members[i].vrf, c->members[i].prefix_len);
	return 0;
}

static int build_firewall(struct config *c, char *error, uint32_t error_len)
{
	for (uint32_t i = 0; i < c->n_fw; i++) {
		const struct pcgdp_firewall *r = &c->fw[i];
		struct vrf *v;
		int rc = 0;

		if (!vrf_of(c, r->vrf) || r->action > PCGDP_REJECT)
			return FAIL(-EINVAL, "firewall[%.48s]: VRF %u or action %u is out of range", r->name, r->vrf, r->action);
		if (!match_possible(&r->match))
			return FAIL(-EINVAL, "firewall[%.48s].match: a prefix length above 32, or a range of ports that ends before it begins", r->name);
		v = &c->vrfs[r->vrf];
		if (r->direction & PCGDP_IN)
			rc = classifier_add_grouped(&v->fw_in, &r->match, r->src_group, r->dst_group, i);
		if (!rc && r->direction & PCGDP_OUT)
			rc = classifier_add_grouped(&v->fw_out, &r->match, r->src_group, r->dst_group, i);
		if (rc)
			return FAIL(-ENOMEM, "no memory for %u firewall rules", c->n_fw);
	}
	return 0;
}

static int build_classifiers(struct config *c, char *error, uint32_t error_len)
{
	struct members m;
	int rc = members_order(&m, c->members, c->n_members);

	for (uint32_t i = 0; !rc && i < c->n_vrfs; i++) {
		struct vrf *v = &c->vrfs[i];

		if (v->used && (classifier_build(&v->dnat, &m) || classifier_build(&v->snat, &m) || classifier_build(&v->fw_in, &m) || classifier_build(&v->fw_out, &m)))
			rc = -ENOMEM;
	}
	free(m.at);
	return rc ? FAIL(rc, "no memory for %u rules", c->n_nat + c->n_fw) : 0;
}

// ---- which public address is asked about ----

static int by_address(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

// How many of n sorted addresses lie before this one.
static uint32_t before(const uint32_t *sorted, uint32_t n, uint64_t address)
{
	uint32_t at = 0;

	while (n > 0) {
		uint32_t half = n / 2;

		if (sorted[at + half] < address) {
			at += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return at;
}

// May it matter to these rules by which of the addresses a session leaves? Not where each source that they name
// has all of the addresses, or none.
static bool tells_apart(const struct classifier *fw, const uint32_t *sorted, uint32_t n)
{
	const struct column_side *groups = &fw->columns.src;

	for (uint32_t i = 0; i < fw->n; i++) {
		const struct pcgdp_match *m = &fw->rules[i].match;
		uint64_t first = ntohl(m->src_be & mask_be(m->src_len)), size = 1ull << (32 - m->src_len);
		uint32_t in = before(sorted, n, first + size) - before(sorted, n, first);

		if (!fw->rules[i].src_group && in && in < n)
			return true;
	}
	for (uint32_t i = 1; fw->columns.n && i < n; i++)
		if (columns_row(groups, htonl(sorted[i])) != columns_row(groups, htonl(sorted[0])))
			return true;
	return false;
}

static int build_apart(struct config *c, char *error, uint32_t error_len)
{
	uint32_t *sorted = malloc((c->n_publics + 1ul) * sizeof(*sorted));

	if (!sorted)
		return FAIL(-ENOMEM, "no memory for %u public addresses", c->n_publics);
	for (uint32_t i = 0; i < c->n_publics; i++)
		sorted[i] = ntohl(c->publics[i].rec.secondary_be);
	qsort(sorted, c->n_publics, sizeof(*sorted), by_address);
	for (uint32_t i = 0; i < c->n_vrfs; i++)
		c->vrfs[i].apart = tells_apart(&c->vrfs[i].fw_out, sorted, c->n_publics);
	free(sorted);
	return 0;
}

int config_build(struct config *c, char *error, uint32_t error_len)
{
	int rc;

	if (!c->has_local)
		return FAIL(-EINVAL, "local: missing");
	if (!c->local.port_first || c->local.port_last > 65535 || c->local.port_first > c->local.port_last)
		return FAIL(-EINVAL, "local.port_first, port_last: %u to %u is not a range of ports", c->local.port_first, c->local.port_last);
	rc = build_segments(c, error, error_len);
	if (!rc)
		rc = build_publics(c, error, error_len);
	if (!rc)
		rc = build_routes(c, error, error_len);
	if (!rc)
		rc = build_nat(c, error, error_len);
	if (!rc)
		rc = build_members(c, error, error_len);
	if (!rc)
		rc = build_firewall(c, error, error_len);
	if (!rc)
		rc = build_classifiers(c, error, error_len);
	return rc ? rc : build_apart(c, error, error_len);
}
