// SPDX-License-Identifier: Apache-2.0
// outside.c - see outside.h. Mappings are found or made here (RFC 4787), ports drawn.

#include "outside.h"

#include "dp.h"
#include "fair.h"
#include "pool.h"

static union key mapping_key(const union key *k, uint32_t nat_id)
{
	return mapping_in_key(k->src, k->sport, k->domain_proto, nat_id);
}

be16 outside_ahead(struct worker *w, struct making *mk)
{
	const struct mapping_table *t = &w->dp->arena.mappings;
	const struct decision *d = &mk->d;
	union key in = mapping_key(&mk->k, d->nat_id), out;
	uint8_t proto = (uint8_t)mk->k.domain_proto;
	uint16_t first = port_first_of(w->cfg, d->rule), last = port_last_of(w->cfg, d->rule);
	be16 port;

	mk->in_hash = hash_key(t->secret, &in);
	PREFETCH_W(bucket_of(&t->by_in, mk->in_hash));
	mk->random = worker_random(w);
	port = htons(natport_ahead(&w->dp->natports, d->pub->rec.index, proto, first, last, mk->random));
	out = mapping_out_key(d->new_addr, port, proto);
	PREFETCH_W(bucket_of(&t->by_out, hash_key(t->secret, &out)));
	return port;
}

// The i-th of the rule's public addresses, the one paired with the source first (RFC 4787 REQ-2); NULL: the
// firewall lets nothing leave by it.
static const struct public_address *of_pool(struct worker *w, struct making *mk, uint32_t i)
{
	const struct pcgdp_nat *r = mk->d.rule;
	const struct public_address *pub = public_of_index(w->cfg, r->pool[(mk->d.pool_at + i) % r->n_pool]);

	if (!may_leave_as(w->cfg, &mk->k, pub, &mk->d))
		return NULL;
	mk->p->fw_id = mk->d.fw_id;
	return pub;
}

// A port of one of the rule's public addresses; the others are asked only when the first has none left.
static bool draw(struct worker *w, struct making *mk, struct mapping *m)
{
	const struct decision *d = &mk->d;
	const struct pcgdp_nat *r = d->rule;
	const struct public_address *pub = r->n_pool > 1 ? of_pool(w, mk, 0) : d->pub;
	uint16_t first = port_first_of(w->cfg, r), last = port_last_of(w->cfg, r);
	uint64_t random = mk->random;

	for (uint32_t i = 1;; i++) {
		uint16_t port = pub ? natport_take(&w->dp->natports, pub->rec.index, (uint8_t)mk->k.domain_proto, first, last, pub->reserved, random) : 0;

		if (port) {
			m->public_index = (uint16_t)pub->rec.index;
			m->out_addr = pub->rec.secondary_be;
			m->out_port = htons(port);
			return true;
		}
		if (i >= r->n_pool)
			return false;
		pub = of_pool(w, mk, i);
		random = worker_random(w);
	}
}

static void mapping_fill(struct mapping *m, const union key *k, const struct decision *d)
{
	*m = (struct mapping){.src = k->src, .sport = k->sport, .nat_id = (uint16_t)d->nat_id, .domain_proto = k->domain_proto,
		.peer = k->dst, .port = d->src_port & 0xffffff};
}

// Make one in a record of the stock. 0; -EEXIST: another worker was first; -EADDRINUSE, -1: *reason.
static int mapping_make(struct worker *w, struct making *mk, struct stock *st, uint32_t *out, enum reason *reason)
{
	struct mapping_table *t = &w->dp->arena.mappings;
	uint8_t proto = (uint8_t)mk->k.domain_proto;
	uint32_t m, there;
	int rc;

	*reason = fair_mapping(w, mk);
	if (*reason != (enum reason)R_OK)
		return -1;
	*reason = R_NAT_MAPPINGS_FULL;
	if (!st->n_mappings)
		return -1;
	m = st->mapping[st->n_mappings - 1];
	mapping_fill(&t->m[m], &mk->k, &mk->d);
	if (!draw(w, mk, &t->m[m])) {
		*reason = R_NAT_PORTS_EXHAUSTED;
		return -1;
	}
	STORE(&t->m[m].sessions, 1);
	rc = mapping_publish(t, m, mk->in_hash, &there);
	if (rc != -EEXIST && rc != -ENOSPC) { // it may have been seen
		st->n_mappings--;
		fair_mapped(&w->dp->arena, m);
		*out = m;
		*reason = rc == -EADDRINUSE ? R_SESSION_CONFLICT : R_NAT_MAPPINGS_FULL;
		return rc == -EXFULL ? -1 : rc;
	}
	natport_give(&w->dp->natports, t->m[m].public_index, proto, ntohs(t->m[m].out_port));
	return rc == -EEXIST ? rc : -1;
}

// One that another packet made since the decision may stand on another address of the pool.
static bool leaves_by(struct worker *w, struct making *mk, be32 addr)
{
	const struct public_address *pub = mk->d.rule->n_pool > 1 ? public_of_secondary(w->cfg, addr) : NULL;

	return !pub || may_leave_as(w->cfg, &mk->k, pub, &mk->d);
}

// Find or make the mapping of this inside endpoint and hold it for one session.
static int mapping_get(struct worker *w, struct making *mk, struct stock *st, uint32_t *out, enum reason *reason)
{
	struct mapping_table *t = &w->dp->arena.mappings;
	union key in = mapping_key(&mk->k, mk->d.nat_id);
	int rc = -EEXIST;

	for (unsigned tries = 0; rc == -EEXIST && tries < 4; tries++) {
		uint32_t m = mapping_find_in(t, &in, mk->in_hash);

		if (m != NONE && !mapping_fits(w->cfg, mk->d.rule, &t->m[m])) {
			mapping_retire(t, m);
		} else if (m != NONE && !leaves_by(w, mk, t->m[m].out_addr)) {
			*reason = R_FIREWALL_DENIED;
			return -1;
		} else if (m != NONE && mapping_hold(t, m)) {
			*out = m;
			return 0;
		}
		rc = mapping_make(w, mk, st, out, reason);
	}
	return rc;
}

// ---- overflow ----
//
// A rule may allow one outside port to serve several inside endpoints, as long as each talks to
// another destination: by the whole tuple the answers are told apart. That is what RFC 4787 REQ-1
// and REQ-3 forbid, so only once a pool's ports have run out, only where the rule says so, and
// counted. Such a session has no mapping: nobody but its destination gets in by it.

enum { TRIES_PAIRED = 64, TRIES_OTHER = 16 };

static bool answer_is_ours(const struct worker *w, const struct making *mk, be32 addr, be16 port)
{
	const struct session_table *t = &w->dp->arena.sessions;
	union key rk = reply_key(&mk->k, true, addr, port);
	struct session_query q = {t, &rk};
	uint32_t there = sigtab_find(&t->index, hash_key(t->secret, &rk), session_key_is, &q);

	return there == NONE || (w->dry && there / 2 == w->dry_ended);
}

// A few neighbours from a random port on: the search is bounded, and complete where ports are few.
static bool overflow_at(struct worker *w, const struct making *mk, const struct public_address *pub, uint32_t tries, struct outside *out)
{
	const struct pcgdp_nat *r = mk->d.rule;
	uint32_t first = port_first_of(w->cfg, r), span = port_last_of(w->cfg, r) - first + 1u;
	uint32_t start = (uint32_t)((worker_random(w) >> 32) * span >> 32);

	for (uint32_t i = 0; i < MIN(tries, span); i++) {
		uint32_t port = first + (start + i) % span;

		if (pub->reserved && pub->reserved[port >> 6] >> (port & 63) & 1)
			continue;
		if (!answer_is_ours(w, mk, pub->rec.secondary_be, htons((uint16_t)port)))
			continue;
		out->addr = pub->rec.secondary_be;
		out->port = htons((uint16_t)port);
		return true;
	}
	return false;
}

static int overflow(struct worker *w, struct making *mk, struct outside *out)
{
	for (uint32_t i = 0; i < mk->d.rule->n_pool; i++) { // RFC 4787 REQ-2, as above
		const struct public_address *pub = of_pool(w, mk, i);

		if (pub && overflow_at(w, mk, pub, i ? TRIES_OTHER : TRIES_PAIRED, out))
			return 0;
	}
	return -1;
}

// Its own port leads to this destination already, for somebody who shares it.
static bool mapping_taken_there(const struct worker *w, const struct making *mk)
{
	const struct mapping_table *t = &w->dp->arena.mappings;
	union key in = mapping_key(&mk->k, mk->d.nat_id);
	uint32_t m = mapping_find_in(t, &in, mk->in_hash);

	return m != NONE && mapping_fits(w->cfg, mk->d.rule, &t->m[m]) && !answer_is_ours(w, mk, t->m[m].out_addr, t->m[m].out_port);
}

static int draw_for(struct worker *w, struct making *mk, struct stock *st, struct outside *out, enum reason *reason)
{
	bool may = mk->d.rule->overflow;
	int rc;

	if (UNLIKELY(may && mapping_taken_there(w, mk))) {
		*reason = R_NAT_PORTS_EXHAUSTED;
		return overflow(w, mk, out);
	}
	rc = mapping_get(w, mk, st, &out->mapping, reason);
	if (!rc)
		return 0;
	return may && *reason == R_NAT_PORTS_EXHAUSTED ? overflow(w, mk, out) : rc;
}

// ---- for install.c ----

int outside_take(struct worker *w, struct making *mk, struct stock *st, struct outside *out, enum reason *reason)
{
	struct mapping_table *t = &w->dp->arena.mappings;
	const struct decision *d = &mk->d;
	struct mapping *m;
	int rc = d->draw_port ? draw_for(w, mk, st, out, reason) : 0;

	if (rc)
		return rc;
	if (!d->draw_port && d->mapping != NONE) {
		if (!mapping_hold(t, d->mapping)) { // it has died since the decision
			*reason = R_NO_DNAT;
			return -1;
		}
		out->mapping = d->mapping;
	}
	if (out->mapping == NONE)
		return 0;
	m = &t->m[out->mapping];
	if (d->draw_port) {
		out->addr = m->out_addr;
		out->port = m->out_port;
	}
	return 0;
}

// The first port that a new mapping could have, and by which answers reach nobody yet: any other is
// drawn in vain (install.c). 0: none is left.
static uint16_t look_at(const struct worker *w, const struct making *mk, const struct public_address *pub)
{
	uint16_t first = port_first_of(w->cfg, mk->d.rule), last = port_last_of(w->cfg, mk->d.rule), port;

	for (;; first = port + 1) {
		port = natport_look(&w->dp->natports, pub->rec.index, (uint8_t)mk->k.domain_proto, first, last, pub->reserved);
		if (!port || answer_is_ours(w, mk, pub->rec.secondary_be, htons(port)))
			return port;
		if (port == last)
			return 0;
	}
}

static bool look(struct worker *w, struct making *mk, struct outside *out)
{
	uint16_t port = 0;

	for (uint32_t i = 0; !port && i < mk->d.rule->n_pool; i++) {
		const struct public_address *pub = i ? of_pool(w, mk, i) : mk->d.pub;

		if (!pub)
			continue;
		port = look_at(w, mk, pub);
		out->addr = pub->rec.secondary_be;
	}
	out->port = htons(port);
	return port;
}

enum reason outside_dry(struct worker *w, struct making *mk, struct outside *out)
{
	const struct mapping_table *t = &w->dp->arena.mappings;
	const struct decision *d = &mk->d;
	union key in = mapping_key(&mk->k, d->nat_id);
	uint32_t m = mapping_find_in(t, &in, mk->in_hash);
	enum reason reason;

	if (m != NONE && mapping_fits(w->cfg, d->rule, &t->m[m])) {
		out->addr = t->m[m].out_addr;
		out->port = t->m[m].out_port;
		out->mapping = m;
		if (!d->rule->overflow || answer_is_ours(w, mk, out->addr, out->port))
			return (enum reason)R_OK;
	} else {
		reason = fair_mapping(w, mk);
		if (reason != (enum reason)R_OK)
			return reason;
		if (PEEK(t->live) >= t->n)
			return R_NAT_MAPPINGS_FULL;
		if (look(w, mk, out))
			return (enum reason)R_OK;
	}
	out->mapping = NONE;
	return d->rule->overflow && !overflow(w, mk, out) ? (enum reason)R_OK : R_NAT_PORTS_EXHAUSTED;
}
