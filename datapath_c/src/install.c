// SPDX-License-Identifier: Apache-2.0
// install.c - see install.h.

#include "install.h"

#include "csum.h"
#include "dp.h"

// TTL - 1: the TTL is the high byte of its 16-bit word, whatever the protocol in the low one.
#define DELTA_TTL ((uint16_t)~htons(0x0100))

bool source_ok(const struct arena *a, const struct pkt *p, uint32_t port)
{
	const struct pcgdp_ports *r = &a->ports[port].rec;

	return r->tep_be == p->outer_src && (p->vni == r->vni || p->segment->rec.kind == PCGDP_TRANSIT);
}

struct answer { // of one direction
	uint8_t op;
	be32 addr;
	be16 port;
	uint32_t slot, src_slot, in_vni;
};

static void entry_fill(struct entry *e, const union key *k, const struct answer *an, uint32_t now_s)
{
	be32 old_addr = an->op & OP_SRC ? k->src : k->dst;
	be16 old_port = an->op & OP_SRC ? k->sport : k->dport;
	uint32_t proto = proto_of(k);
	uint16_t address = an->op ? delta32(old_addr, an->addr) : 0;

	memset(e, 0, sizeof(*e));
	e->key = *k;
	e->op = an->op;
	e->slot = an->slot;
	e->src_slot = an->src_slot;
	e->in_vni = an->in_vni;
	e->last_s = now_s;
	e->new_addr = an->addr;
	e->new_port = an->port;
	e->csum_off = e->port_off = 0xff;
	e->l3_delta = delta_add(address, DELTA_TTL);
	if (!an->op)
		return;
	if (proto == IPP_TCP || proto == IPP_UDP) {
		e->csum_off = proto == IPP_TCP ? 16 : 6;
		e->port_off = an->op & OP_SRC ? 0 : 2;
		e->l4_delta = delta_add(address, delta16(old_port, an->port));
	} else if (proto == IPP_ICMP) {
		e->csum_off = 2;
		e->port_off = 4;
		e->l4_delta = delta16(old_port, an->port);
	}
}

static void session_fill(struct worker *w, struct entry *fwd, const union key *k, const struct pkt *p, const struct decision *d, be32 addr, be16 port)
{
	struct entry *rev = fwd + 1;
	bool uplink = k->domain_proto >> 8 & 1, translated = d->kind != KIND_PLAIN;
	struct answer f = {.op = translated ? (uplink ? OP_DST : OP_SRC) : 0, .addr = addr, .port = port, .slot = d->slot};
	struct answer r = {.op = translated ? (uplink ? OP_SRC : OP_DST) : 0, .slot = d->back_slot};
	union key rk = {.src = k->dst, .dst = k->src, .sport = k->dport, .dport = k->sport};

	rk.domain_proto = (k->domain_proto ^ 0x100); // the other domain of the same VRF
	if (uplink) {
		r.addr = k->dst;
		r.port = k->dport;
		r.src_slot = port_slot(d->dst_port);
		if (translated) {
			rk.src = addr;
			rk.sport = port;
		}
	} else {
		r.addr = k->src;
		r.port = k->sport;
		f.src_slot = port_slot(d->src_port);
		f.in_vni = p->vni;
		if (translated) {
			rk.dst = addr;
			rk.dport = port;
		}
	}
	if (proto_of(k) == IPP_ICMP) // the identifier stands for both ports
		rk.sport = rk.dport = translated ? port : k->dport;
	entry_fill(fwd, k, &f, w->now_s);
	entry_fill(rev, &rk, &r, w->now_s);
}

static union key mapping_key(const union key *k, uint32_t nat_id)
{
	return mapping_in_key(k->src, k->sport, k->domain_proto, nat_id);
}

// A port of one of the rule's public addresses; the one paired with the source is asked first
// (RFC 4787 REQ-2), the others only when it has none left.
static bool mapping_draw(struct worker *w, const struct decision *d, uint8_t proto, struct mapping *m)
{
	const struct pcgdp_nat *r = d->rule;
	uint16_t first = port_first_of(w->cfg, r), last = port_last_of(w->cfg, r);
	uint32_t start = 0;

	while (start < r->n_pool && r->pool[start] != d->public_index)
		start++;
	for (uint32_t i = 0; i < r->n_pool; i++) {
		const struct public_address *pub = public_of_index(w->cfg, r->pool[(start + i) % r->n_pool]);
		uint16_t port = natport_take(&w->dp->natports, pub->rec.index, proto, first, last, pub->reserved, worker_random(w));

		if (!port)
			continue;
		m->public_index = (uint16_t)pub->rec.index;
		m->out_addr = pub->rec.secondary_be;
		m->out_port = htons(port);
		return true;
	}
	return false;
}

// Find or make the mapping of this inside endpoint and hold it for one session. False: *reason, and
// *out, if it is not NONE, must be released all the same.
static bool mapping_get(struct worker *w, const union key *k, const struct decision *d, uint32_t *out, enum reason *reason)
{
	struct mapping_table *t = &w->dp->arena.mappings;
	union key in = mapping_key(k, d->nat_id);
	uint8_t proto = (uint8_t)k->domain_proto;
	uint32_t m, there = NONE;
	int rc;

	*out = NONE;
	for (unsigned tries = 0; tries < 4; tries++) {
		m = mapping_find_in(t, &in);
		if (m != NONE && !mapping_fits(w->cfg, d->rule, &t->m[m])) {
			mapping_retire(t, m);
		} else if (m != NONE && mapping_hold(t, m)) {
			*out = m;
			return true;
		}
		m = mapping_alloc(t);
		if (m == NONE) {
			*reason = R_NAT_MAPPINGS_FULL;
			return false;
		}
		t->m[m].src = in.src;
		t->m[m].sport = in.sport;
		t->m[m].domain_proto = in.domain_proto;
		t->m[m].nat_id = (uint16_t)d->nat_id;
		if (!mapping_draw(w, d, proto, &t->m[m])) {
			mapping_free(t, m);
			*reason = R_NAT_PORTS_EXHAUSTED;
			return false;
		}
		STORE(&t->m[m].sessions, 1);
		rc = mapping_publish(t, m, &there);
		*reason = rc == -EADDRINUSE ? R_SESSION_CONFLICT : R_NAT_MAPPINGS_FULL;
		if (!rc || rc == -EADDRINUSE) {
			*out = m;
			return !rc;
		}
		natport_give(&w->dp->natports, t->m[m].public_index, proto, ntohs(t->m[m].out_port));
		mapping_free(t, m);
		if (rc != -EEXIST)
			return false;
	}
	return false;
}

static bool take_mapping(struct worker *w, const union key *k, const struct decision *d, uint32_t *m, enum reason *reason)
{
	if (d->draw_port)
		return mapping_get(w, k, d, m, reason);
	*m = d->mapping;
	if (*m == NONE || mapping_hold(&w->dp->arena.mappings, *m))
		return true;
	*m = NONE;
	return false;
}

static struct entry *install_dry(struct worker *w, struct pkt *p, const union key *k, const struct decision *d)
{
	union key in = mapping_key(k, d->nat_id);
	const struct mapping_table *t = &w->dp->arena.mappings;
	uint32_t m = d->draw_port ? mapping_find_in(t, &in) : NONE;
	be16 port = d->new_port;

	if (m != NONE && !mapping_fits(w->cfg, d->rule, &t->m[m]))
		m = NONE;

	if (d->kind == PCGDP_REFLEXIVE || d->kind == PCGDP_DNAT)
		port = d->kind == PCGDP_DNAT || k->domain_proto >> 8 & 1 ? d->new_port : k->sport;
	if (d->draw_port)
		port = m != NONE ? t->m[m].out_port : htons(port_first_of(w->cfg, d->rule));
	session_fill(w, w->dry_entry, k, p, d, d->new_addr, port);
	p->flags |= PF_NEW;
	p->number = NONE;
	return &w->dry_entry[!key_equal(&p->key, k)];
}

static void inherit(struct session_table *t, uint32_t s, uint32_t old)
{
	for (uint32_t i = 0; i < 2; i++) {
		t->e[2 * s + i].tcp_flags = t->e[2 * old + i].tcp_flags;
		t->e[2 * s + i].last_s = t->e[2 * old + i].last_s;
	}
	t->cold[s].made_s = t->cold[old].made_s;
}

static void cold_fill(struct cold *c, const struct decision *d, uint32_t mapping, uint32_t now_s)
{
	c->published = 0;
	c->nat_id = (uint16_t)d->nat_id;
	c->fw_id = d->fw_id;
	c->mapping = mapping;
	c->made_s = now_s;
	c->kind = d->kind & 7;
	c->log = !!d->log;
}

struct entry *session_install(struct worker *w, struct pkt *p, const union key *k, const struct decision *d, uint32_t old)
{
	struct session_table *t = &w->dp->arena.sessions;
	struct mapping_table *mt = &w->dp->arena.mappings;
	be32 addr = d->new_addr;
	be16 port = d->draw_port ? 0 : d->kind == PCGDP_DNAT || k->domain_proto >> 8 & 1 ? d->new_port : k->sport;
	enum reason reason = R_NO_DNAT;
	uint32_t s, m, there = NONE, number;
	int rc;

	if (w->dry)
		return install_dry(w, p, k, d);
	s = session_alloc(t);
	if (s == NONE) {
		drop(p, R_SESSIONS_FULL);
		return NULL;
	}
	if (!take_mapping(w, k, d, &m, &reason)) {
		cold_fill(&t->cold[s], d, m, w->now_s);
		if (m == NONE)
			session_free(t, s);
		else
			STORE(&t->cold[s].state, S_DYING);
		drop(p, reason);
		return NULL;
	}
	cold_fill(&t->cold[s], d, m, w->now_s);
	if (m != NONE)
		mapping_contact(&mt->m[m], k->domain_proto >> 8 & 1 ? k->src : k->dst);
	if (d->draw_port) {
		addr = mt->m[m].out_addr;
		port = mt->m[m].out_port;
	}
	session_fill(w, &t->e[2 * s], k, p, d, addr, port);
	if (old != NONE)
		inherit(t, s, old);
	rc = session_publish(t, s, &there);
	if (!rc) {
		BUMP(&w->c.sessions_made, 1);
		p->flags |= PF_NEW;
		number = 2 * s + !key_equal(&p->key, k);
		p->number = number;
		return &t->e[number];
	}
	if (rc == -EADDRINUSE && m == NONE)
		session_free(t, s); // neither key was ever in the index
	else
		STORE(&t->cold[s].state, S_DYING); // housekeeping gives the mapping back, once nobody looks
	if (rc == -EEXIST) {               // another worker was first with this flow
		p->number = there;
		return &t->e[there];
	}
	drop(p, rc == -EADDRINUSE ? R_SESSION_CONFLICT : R_SESSIONS_FULL);
	return NULL;
}
