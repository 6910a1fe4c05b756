// SPDX-License-Identifier: Apache-2.0
// decide.c - see decide.h. DNAT, route, firewall, SNAT, next hop: in that order.

#include "decide.h"

#include "dhcp.h"
#include "dp.h"
#include "pool.h"

static be16 match_port(uint8_t proto, be16 port)
{
	return proto == IPP_TCP || proto == IPP_UDP ? port : 0; // an ICMP identifier is no port
}

// Only what the VRF would send by the uplink is turned round there.
static uint32_t slot_by(const struct config *c, const struct arena *a, const struct pcgdp_routes *r, be32 dst)
{
	uint32_t hop;

	if (!r || r->kind != PCGDP_VIA_UPLINK)
		return 0;
	if (public_of_elastic(c, dst))
		return SLOT_HAIRPIN;
	hop = nexthop_find(a, r->next_hop_be);
	return hop == NONE ? 0 : nexthop_slot(a, hop);
}

uint32_t slot_outwards(const struct config *c, const struct arena *a, const struct vrf *v, be32 dst)
{
	return slot_by(c, a, route_find(c, v, dst), dst);
}

static bool leaves_by_uplink(const struct config *c, const struct vrf *v, be32 dst)
{
	const struct pcgdp_routes *r = route_find(c, v, dst);

	return r && r->kind == PCGDP_VIA_UPLINK;
}

struct five {
	be32 src, dst;
	uint8_t proto;
	be16 sport, dport;
};

// by: the NAT rule that translates, or says not to; NULL: none.
static void firewall(const struct config *c, const struct vrf *v, uint8_t direction, const struct pcgdp_nat *by, const struct five *f, struct decision *d)
{
	const struct classifier *rules = direction == PCGDP_IN ? &v->fw_in : &v->fw_out;
	uint8_t action = direction == PCGDP_IN ? v->rec.default_in : v->rec.default_out;
	const struct class_rule *found;

	if (by && by->fw_match == PCGDP_FW_BYPASS)
		return;
	found = classifier_find(rules, f->src, f->dst, f->proto, f->sport, f->dport);
	d->by_default = !found;
	if (found) {
		const struct pcgdp_firewall *r = &c->fw[found->rule];

		d->fw_id = r->id;
		d->log |= !!r->log;
		action = r->action;
		d->stateless = r->stateless && d->kind == KIND_PLAIN; // a translation lives in its session
	} else if (direction == PCGDP_IN ? v->rec.log_in : v->rec.log_out) {
		d->log |= PCGDP_LOG_DEFAULT;
	}
	if (action == PCGDP_ALLOW)
		return;
	d->reason = R_FIREWALL_DENIED;
	d->reject = action == PCGDP_REJECT;
}

static const struct pcgdp_nat *nat_out(const struct config *c, const struct vrf *v, const struct five *f)
{
	const struct class_rule *found = classifier_find(&v->snat, f->src, f->dst, f->proto, f->sport, f->dport);

	return found ? &c->nat[found->rule] : NULL;
}

// 1:1 keeps port and protocol: REFLEXIVE, and SNAT of one address to one for what has no ports.
static void translate_source(const struct config *c, const struct pcgdp_nat *r, const struct five *f, struct decision *d)
{
	bool reflexive = r->action == PCGDP_REFLEXIVE;
	uint32_t at = reflexive ? ntohl(f->src) - ntohl(r->match.src_be) : ntohl(f->src) * 0x9e3779b1u >> 8;

	d->kind = r->action;
	d->pool_at = reflexive ? MIN(at, r->n_pool - 1u) : at % r->n_pool;
	d->pub = public_of_index(c, r->pool[d->pool_at]);
	d->new_addr = d->pub->rec.secondary_be;
	if (reflexive)
		return;
	d->draw_port = natport_proto(f->proto) >= 0;
	if (!d->draw_port && !(r->match.src_len == 32 && r->n_pool == 1))
		d->reason = R_NAT_PROTOCOL;
}

static bool is_routed(const struct config *c, uint32_t vni)
{
	const struct segment *seg = segment_of_vni(c, vni);

	return seg && seg->rec.flags & PCGDP_ROUTED;
}

static struct five five_of(const union key *k)
{
	uint8_t proto = (uint8_t)k->domain_proto;

	return (struct five){k->src, k->dst, proto, match_port(proto, k->sport), match_port(proto, k->dport)};
}

// The public address that it leaves by: of a pool the one that its mapping has, if there is one. To look is a
// cache miss before anybody has asked for the line, so only where the firewall may care.
static be32 leaves_as(const struct config *c, const struct arena *a, const struct vrf *v, const union key *k, const struct decision *d)
{
	const struct mapping_table *t = &a->mappings;
	union key in;
	uint32_t m;

	if (!v->apart || !d->draw_port || d->rule->n_pool == 1)
		return d->new_addr;
	in = mapping_in_key(k->src, k->sport, k->domain_proto, d->nat_id);
	m = mapping_find_in(t, &in, hash_key(t->secret, &in));
	return m != NONE && mapping_fits(c, d->rule, &t->m[m]) ? t->m[m].out_addr : d->new_addr;
}

bool may_leave_as(const struct config *c, const union key *k, const struct public_address *pub, struct decision *d)
{
	struct decision asked = {.reason = R_OK, .kind = d->kind, .log = d->rule->log ? PCGDP_LOG_RULE : 0};
	struct five f = five_of(k);

	if (d->rule->fw_match != PCGDP_FW_EXTERNAL || d->asked == pub->rec.secondary_be)
		return true;
	f.src = pub->rec.secondary_be;
	firewall(c, vrf_of(c, k->domain_proto >> 9), PCGDP_OUT, d->rule, &f, &asked);
	if (asked.reason != R_OK)
		return false;
	d->asked = f.src;
	d->fw_id = asked.fw_id;
	d->log = asked.log;
	return true;
}

// By the uplink: d->slot says where to, 0: not known yet. `held`: as decide() has it.
static void leave(const struct config *c, const struct arena *a, const struct vrf *v, const union key *k, be32 held, struct decision *d)
{
	struct five f = five_of(k);
	const struct pcgdp_nat *r = nat_out(c, v, &f);

	d->back_slot = port_slot(d->src_port);
	d->rule = r;
	if (r) {
		d->nat_id = r->id;
		d->log = !!r->log;
	}
	if (r && r->action != PCGDP_NO_SNAT)
		translate_source(c, r, &f, d);
	else if (!r && !(is_routed(c, a->ports[d->src_port].rec.vni) && source_may_leave(c, k, k->src)))
		d->reason = R_NO_NAT; // no overlay source leaves untranslated but by a rule, or a routed segment's own
	if (d->kind == KIND_PLAIN && d->slot == SLOT_HAIRPIN)
		d->reason = R_NO_NAT; // the callee's host would answer its own address straight, past us and the Elastic IP
	if (d->reason != R_OK)
		return;
	if (r && r->fw_match == PCGDP_FW_EXTERNAL && d->kind != KIND_PLAIN)
		f.src = d->asked = held && d->draw_port ? held : leaves_as(c, a, v, k, d);
	firewall(c, v, PCGDP_OUT, r, &f, d);
	if (d->reason == R_OK && !d->slot)
		d->reason = R_NEIGHBOUR_UNRESOLVED;
}

// To a segment: the destination must be a port, or the gateway itself.
static void enter(const struct config *c, const struct arena *a, const struct vrf *v, be32 dst, struct decision *d)
{
	const struct pcgdp_routes *r = route_find(c, v, dst);
	const struct segment *seg;

	if (!r || r->kind != PCGDP_VIA_SEGMENT) {
		d->reason = r && r->kind == PCGDP_VIA_BLACKHOLE ? R_BLACKHOLE : R_NO_ROUTE;
		return;
	}
	seg = segment_of_vni(c, r->vni);
	if (seg && seg->rec.gateway_be == dst) {
		d->to_gateway = true;
		return;
	}
	d->dst_port = port_find(a, v->rec.index, dst);
	if (d->dst_port == NONE)
		d->reason = R_PORT_UNKNOWN;
	else
		d->slot = port_slot(d->dst_port);
}

static void from_overlay(const struct config *c, const struct arena *a, const struct vrf *v, const union key *k, be32 held, struct decision *d)
{
	const struct pcgdp_routes *r;

	d->src_port = port_find(a, v->rec.index, k->src);
	if (d->src_port == NONE) {
		d->reason = R_SOURCE_SPOOFED;
		return;
	}
	r = route_find(c, v, k->dst);
	if (!r) {
		d->reason = R_NO_ROUTE;
	} else if (r->kind == PCGDP_VIA_UPLINK) {
		d->slot = slot_by(c, a, r, k->dst);
		leave(c, a, v, k, held, d);
	} else {
		d->stateless = true;
		if (dhcp_from_server(k))
			d->reason = R_DHCP_SERVER;
		else
			enter(c, a, v, k->dst, d);
	}
}

// Which of the rule's targets: a session stays with the one that it has.
static uint32_t target_at(const struct pcgdp_nat *r, be32 src, be32 held)
{
	uint32_t at = ntohl(held) - ntohl(r->target_be);

	if (r->n_targets <= 1)
		return 0;
	return held && at < r->n_targets ? at : (ntohl(src) * 0x9e3779b1u >> 8) % r->n_targets;
}

// The target of the first rule that takes this packet; false: none does. `held`: as decide() has it.
static bool nat_in(const struct config *c, const struct vrf *v, const struct five *f, be32 held, struct decision *d)
{
	const struct class_rule *found = classifier_find(&v->dnat, f->src, f->dst, f->proto, f->sport, f->dport);
	const struct pcgdp_nat *r;

	if (!found)
		return false;
	r = &c->nat[found->rule];
	d->new_port = f->dport;
	if (r->action == PCGDP_REFLEXIVE) {
		d->new_addr = htonl(ntohl(r->match.src_be) + found->at);
	} else {
		d->new_addr = htonl(ntohl(r->target_be) + target_at(r, f->src, held));
		if (r->port_first)
			d->new_port = htons((uint16_t)(r->port_first + (r->port_last > r->port_first ? ntohs(f->dport) - r->match.dport_first : 0)));
	}
	d->rule = r;
	d->nat_id = r->id;
	d->log = !!r->log;
	d->kind = r->action == PCGDP_NO_DNAT ? KIND_PLAIN : r->action;
	return true;
}

// To a mapping's outside endpoint; whether a session of it with the sender lives is asked last, if at
// all (RFC 4787 REQ-8: the rule says how strangers are dealt with).
static const struct pcgdp_nat *to_mapping(const struct config *c, const struct arena *a, const struct vrf *v, const union key *k, struct decision *d)
{
	const struct pcgdp_nat *r;
	const struct mapping *m;

	d->mapping = mapping_find_out(&a->mappings, k->dst, k->dport, (uint8_t)k->domain_proto);
	r = d->mapping == NONE ? NULL : pool_mapping(c, v, &a->mappings.m[d->mapping]);
	if (!r) {
		d->reason = R_NO_DNAT;
		return NULL;
	}
	d->rule = r;
	d->open = r->filtering == PCGDP_ENDPOINT_INDEPENDENT;
	m = &a->mappings.m[d->mapping];
	d->kind = PCGDP_SNAT;
	d->nat_id = m->nat_id;
	d->new_addr = m->src;
	d->new_port = m->sport;
	return r;
}

static void from_uplink(const struct config *c, const struct arena *a, const struct vrf *v, const union key *k, be32 held, struct decision *d)
{
	const struct public_address *pub = public_of_secondary(c, k->dst);
	uint8_t proto = (uint8_t)k->domain_proto;
	struct five f = five_of(k);
	const struct pcgdp_nat *by;
	uint32_t vrf;

	d->new_addr = k->dst;
	by = pub && nat_in(c, v, &f, held, d) ? d->rule : NULL;
	if (!pub && (!uplink_owner(c, k->dst, &vrf) || vrf != v->rec.index))
		d->reason = R_NOT_OWNED; // any more: no packet comes as far as this, only a session that lives
	else if (by && d->kind == KIND_PLAIN)
		d->reason = R_NO_DNAT;
	else if (by && proto == IPP_ICMP)
		d->new_port = k->dport;
	else if (pub && !by)
		by = to_mapping(c, a, v, k, d);
	if (d->reason == R_OK)
		enter(c, a, v, d->new_addr, d);
	if (d->reason == R_OK && d->to_gateway)
		d->reason = R_GATEWAY_ADDRESSED;
	if (d->reason != R_OK)
		return;
	d->back_slot = slot_outwards(c, a, v, k->src);
	if (!d->back_slot && !leaves_by_uplink(c, v, k->src)) {
		d->reason = R_NO_ROUTE;
		return;
	}
	if (by && by->fw_match == PCGDP_FW_INTERNAL) {
		f.dst = d->new_addr;
		f.dport = match_port(proto, d->new_port);
	}
	firewall(c, v, PCGDP_IN, by, &f, d);
	if (d->mapping != NONE) // RFC 5382 REQ-4: its owner may be about to send a SYN itself
		d->reject = false;
	if (d->reason != R_OK)
		return;
	if (!d->back_slot)
		d->reason = R_NEIGHBOUR_UNRESOLVED;
	if (d->mapping != NONE && !d->open && !mapping_open_sessions(&a->mappings, d->mapping, k->src))
		d->reason = R_NAT_FILTERED;
}

void decide(const struct config *c, const struct arena *a, const union key *k, be32 held, struct decision *d)
{
	uint32_t domain = k->domain_proto >> 8;
	const struct vrf *v = vrf_of(c, domain / 2);

	memset(d, 0, sizeof(*d));
	d->reason = R_OK;
	d->kind = KIND_PLAIN;
	d->mapping = d->src_port = d->dst_port = NONE;
	if (!v)
		d->reason = R_NO_ROUTE;
	else if (domain & 1)
		from_uplink(c, a, v, k, held, d);
	else
		from_overlay(c, a, v, k, held, d);
	d->ours = !d->stateless && public_either(c, domain & 1 ? k->src : k->dst);
}
