// SPDX-License-Identifier: Apache-2.0
// install.c - see install.h.

#include "install.h"

#include "csum.h"
#include "dp.h"
#include "events.h"
#include "fair.h"
#include "find.h"
#include "outside.h"

// TTL - 1: the TTL is the high byte of its 16-bit word, whatever the protocol in the low one.
#define DELTA_TTL ((uint16_t)~htons(0x0100))

bool source_ok(const struct arena *a, const struct pkt *p, uint32_t port)
{
	return source_fits(&a->ports[port], p->outer_src, p->vni, p->segment->rec.kind == PCGDP_TRANSIT);
}

struct answer { // of one direction
	uint8_t op;
	be32 addr;
	be16 port;
	uint32_t slot, src_slot, in_vni;
};

// What a translation changes in the sums, and where in the L4 header; 0xff: nowhere.
struct change {
	uint16_t address, l4;
	uint8_t csum_off, src_off, dst_off;
};

static inline struct change change_of(uint32_t proto, be32 addr, be32 new_addr, be16 port, be16 new_port)
{
	struct change c = {.address = delta32(addr, new_addr), .csum_off = 0xff, .src_off = 0xff, .dst_off = 0xff};
	uint16_t of_port = delta16(port, new_port);

	if (LIKELY(proto == IPP_TCP || proto == IPP_UDP)) {
		c.csum_off = proto == IPP_TCP ? 16 : 6;
		c.src_off = 0;
		c.dst_off = 2;
		c.l4 = delta_add(c.address, of_port);
	} else if (proto == IPP_ICMP) {
		c.csum_off = 2;
		c.src_off = c.dst_off = 4;
		c.l4 = of_port;
	}
	return c;
}

// The other direction changes a sum by as much the other way: minus a word is its complement.
static inline void entry_fill(struct entry *e, const union key *k, const struct answer *an, const struct change *c, uint16_t minus, uint32_t now_s)
{
	*e = (struct entry){.key = *k, .new_addr = an->addr, .new_port = an->port, .l3_delta = delta_add(c->address ^ minus, DELTA_TTL),
		.l4_delta = c->l4 ^ minus, .op = an->op, .slot = an->slot, .src_slot = an->src_slot, .in_vni = an->in_vni, .last_s = now_s,
		.csum_off = c->csum_off, .port_off = an->op & OP_SRC ? c->src_off : c->dst_off};
}

union key reply_key(const union key *k, bool translated, be32 addr, be16 port)
{
	bool uplink = k->domain_proto >> 8 & 1;
	union key rk = {.src = k->dst, .dst = k->src, .sport = k->dport, .dport = k->sport};

	rk.domain_proto = k->domain_proto ^ 0x100; // the other domain of the same VRF
	if (translated && uplink) {
		rk.src = addr;
		rk.sport = port;
	} else if (translated) {
		rk.dst = addr;
		rk.dport = port;
	}
	if (proto_of(k) == IPP_ICMP) // the identifier stands for both ports
		rk.sport = rk.dport = translated ? port : k->dport;
	return rk;
}

static void session_fill(struct worker *w, struct entry *fwd, const struct making *mk, be32 addr, be16 port)
{
	const struct decision *d = &mk->d;
	const union key *k = &mk->k;
	bool uplink = k->domain_proto >> 8 & 1, translated = d->kind != KIND_PLAIN;
	struct answer f = {.op = uplink ? OP_DST : OP_SRC, .addr = addr, .port = port, .slot = d->slot};
	struct answer r = {.op = uplink ? OP_SRC : OP_DST, .addr = uplink ? k->dst : k->src, .port = uplink ? k->dport : k->sport, .slot = d->back_slot};
	struct change c = {0, 0, 0xff, 0xff, 0xff};

	if (translated)
		c = change_of(proto_of(k), r.addr, addr, r.port, port);
	else
		f.op = r.op = 0;
	if (uplink) {
		r.src_slot = port_slot(d->dst_port);
	} else {
		f.src_slot = port_slot(d->src_port);
		f.in_vni = mk->p->vni;
	}
	entry_fill(fwd, k, &f, &c, 0, w->now_s);
	entry_fill(fwd + 1, &mk->reply, &r, &c, translated ? 0xffff : 0, w->now_s);
	fwd[0].ours = fwd[1].ours = d->ours;
}

// The port that the session rewrites to, where no mapping says it.
static be16 own_port(const union key *k, const struct decision *d)
{
	return d->kind == PCGDP_DNAT || k->domain_proto >> 8 & 1 ? d->new_port : k->sport;
}

static void reply_fill(const struct session_table *t, struct making *mk, be32 addr, be16 port)
{
	mk->reply = reply_key(&mk->k, mk->d.kind != KIND_PLAIN, addr, port);
	mk->reply_hash = hash_key(t->secret, &mk->reply);
	mk->addr = addr;
	mk->port = port;
}

// Does the reply's tuple belong to another session?
static bool conflict_dry(const struct worker *w, const struct making *mk)
{
	const struct session_table *t = &w->dp->arena.sessions;
	struct session_query q = {t, &mk->reply};
	uint32_t there = sigtab_find(&t->index, mk->reply_hash, session_key_is, &q);

	return there != NONE && there / 2 != w->dry_ended && !key_equal(&t->e[there ^ 1].key, &mk->k);
}

// Something that all share is short, or too much of it is this workload's. A conflict of two tuples is
// neither, nor are LAND and what the firewall says of the address that it would leave by.
static struct entry *want(struct worker *w, const struct making *mk, enum reason reason)
{
	if (reason != R_SESSION_CONFLICT && reason != R_NO_DNAT && reason != R_LAND && reason != R_FIREWALL_DENIED)
		fair_refused(w, mk, reason);
	drop(mk->p, reason);
	return NULL;
}

static struct entry *install_dry(struct worker *w, struct making *mk)
{
	const struct decision *d = &mk->d;
	struct outside out = {.mapping = d->mapping, .addr = d->new_addr, .port = own_port(&mk->k, d)};
	const struct session_table *t = &w->dp->arena.sessions;
	enum reason reason = PEEK(t->live) < t->n ? (enum reason)R_OK : R_SESSIONS_FULL;
	struct pkt *p = mk->p;

	if (reason == (enum reason)R_OK && d->draw_port)
		reason = outside_dry(w, mk, &out);
	if (reason != (enum reason)R_OK)
		return want(w, mk, reason);
	if (lands(&mk->k, d, out.addr))
		return want(w, mk, R_LAND);
	if (out.mapping != NONE && !mapping_may_open_to(&w->dp->arena.mappings, out.mapping, peer_of(&mk->k)))
		return want(w, mk, R_NAT_MAPPINGS_FULL);
	reply_fill(t, mk, out.addr, out.port);
	session_fill(w, w->dry_entry, mk, out.addr, out.port);
	if (conflict_dry(w, mk))
		return want(w, mk, R_SESSION_CONFLICT);
	w->dry_draws = d->draw_port && out.mapping == NONE;
	p->flags |= PF_NEW;
	p->number = NONE;
	return &w->dry_entry[!key_equal(&p->key, &mk->k)];
}

void cold_fill(struct cold *c, const struct decision *d, uint32_t mapping, uint32_t made_s)
{
	c->published = c->succeeded = 0;
	c->nat_id = (uint16_t)d->nat_id;
	c->fw_id = d->fw_id;
	c->mapping = mapping;
	c->made_s = made_s;
	c->kind = d->kind & 7;
	c->log = d->log & PCGDP_LOG_RULE;
	c->log_default = !!(d->log & PCGDP_LOG_DEFAULT);
}

void stock_take(struct worker *w, struct stock *st, uint32_t sessions, uint32_t mappings)
{
	st->n_sessions = st->n_mappings = 0;
	if (w->dry)
		return;
	st->n_sessions = session_take(&w->dp->arena.sessions, st->session, sessions);
	st->n_mappings = mappings ? mapping_take(&w->dp->arena.mappings, st->mapping, mappings) : 0;
}

void stock_ask(const struct worker *w, const struct stock *st, uint32_t ahead)
{
	const struct session_table *t = &w->dp->arena.sessions;

	if (ahead < st->n_sessions) {
		uint32_t s = st->session[st->n_sessions - 1 - ahead];

		PREFETCH_W(&t->cold[s]);
		PREFETCH_W(&t->e[2 * s]);
		PREFETCH_W(&t->e[2 * s + 1]);
	}
	if (ahead < st->n_mappings) { // some lie across two lines
		const struct mapping *m = &w->dp->arena.mappings.m[st->mapping[st->n_mappings - 1 - ahead]];

		PREFETCH_W(m);
		PREFETCH_W((const uint8_t *)(m + 1) - 1);
	}
}

void stock_give(struct worker *w, const struct stock *st)
{
	if (st->n_sessions)
		session_give(&w->dp->arena.sessions, st->session, st->n_sessions);
	if (st->n_mappings)
		mapping_give(&w->dp->arena.mappings, st->mapping, st->n_mappings);
}

void install_ahead(struct worker *w, struct making *mk)
{
	const struct session_table *t = &w->dp->arena.sessions;
	be16 port = mk->d.draw_port ? outside_ahead(w, mk) : own_port(&mk->k, &mk->d);

	reply_fill(t, mk, mk->d.new_addr, port);
	PREFETCH_W(bucket_of(&t->index, mk->reply_hash));
}

// Session s, which nobody has seen, is not to be; or housekeeping is to take it apart.
static struct entry *refuse(struct worker *w, struct making *mk, struct stock *st, uint32_t s, enum reason reason)
{
	struct session_table *t = &w->dp->arena.sessions;
	uint32_t m = t->cold[s].mapping;

	if (reason != R_SESSIONS_FULL && (m == NONE || mapping_unhold(&w->dp->arena.mappings, m)))
		st->session[st->n_sessions++] = s; // neither key was ever in the index
	else
		STORE(&t->cold[s].state, S_DYING); // it gives the mapping back, once nobody looks
	return want(w, mk, reason);
}

static struct entry *use(struct pkt *p, struct session_table *t, uint32_t number)
{
	p->number = number;
	return &t->e[number];
}

// How often a port is drawn anew that turns out to serve somebody else.
enum { DRAWS = 4 };

static bool mapping_is_ours_alone(const struct worker *w, uint32_t m)
{
	return m != NONE && LOAD(&w->dp->arena.mappings.m[m].sessions) == 1;
}

// By the port drawn answers reach somebody already: a DNAT rule lets a peer in by it, or a public address
// had another number when it was drawn. So session s, which nobody has seen, takes the mapping to its
// grave, where the port stays taken until housekeeping has been there, and another is drawn.
static struct entry *another_port(struct worker *w, struct making *mk, uint32_t s, uint32_t mapping)
{
	struct stock st;
	struct entry *e;

	mapping_retire(&w->dp->arena.mappings, mapping);
	STORE(&w->dp->arena.sessions.cold[s].state, S_DYING);
	mk->draws++;
	stock_take(w, &st, 1, 1);
	install_ahead(w, mk);
	e = session_install(w, mk, &st);
	stock_give(w, &st);
	return e;
}

static enum reason reason_of(int rc)
{
	return rc == -EADDRINUSE ? R_SESSION_CONFLICT : rc == -ENFILE ? R_NAT_MAPPINGS_FULL : R_SESSIONS_FULL;
}

struct entry *session_install(struct worker *w, struct making *mk, struct stock *st)
{
	struct session_table *t = &w->dp->arena.sessions;
	const struct decision *d = &mk->d;
	const union key *k = &mk->k;
	struct outside out = {.mapping = NONE, .addr = d->new_addr, .port = own_port(k, d)};
	enum reason reason = fair_session(w, mk);
	uint32_t s, there = NONE;
	int rc;

	if (reason != (enum reason)R_OK)
		return want(w, mk, reason);
	if (w->dry)
		return install_dry(w, mk);
	if (!st->n_sessions)
		return want(w, mk, R_SESSIONS_FULL);
	s = st->session[--st->n_sessions];
	STORE(&t->cold[s].state, S_MAKING);
	rc = outside_take(w, mk, st, &out, &reason);
	cold_fill(&t->cold[s], d, out.mapping, w->now_s);
	if (UNLIKELY(rc == -EADDRINUSE) && mk->draws < DRAWS)
		return another_port(w, mk, s, out.mapping);
	if (!rc && UNLIKELY(lands(k, d, out.addr))) {
		reason = R_LAND;
		rc = -1;
	}
	if (rc)
		return refuse(w, mk, st, s, reason);
	if (UNLIKELY(out.addr != mk->addr || out.port != mk->port)) // another one than was foreseen
		reply_fill(t, mk, out.addr, out.port);
	session_fill(w, &t->e[2 * s], mk, out.addr, out.port);
	rc = outside_publish(w, mk, st, s, &there);
	if (!rc) {
		BUMP(&w->c.sessions_made, 1);
		if (UNLIKELY(LOAD(&w->dp->events) != NULL))
			event_began(w, s, false);
		fair_began(&w->dp->arena, d);
		if (UNLIKELY(d->draw_port && out.mapping == NONE))
			ADD(&w->dp->overflows[d->nat_id], 1);
		mk->p->flags |= PF_NEW;
		return use(mk->p, t, 2 * s + !key_equal(&mk->p->key, k));
	}
	if (rc == -EADDRINUSE && d->draw_port && mk->draws < DRAWS && mapping_is_ours_alone(w, out.mapping))
		return another_port(w, mk, s, out.mapping);
	if (rc != -EEXIST)
		return refuse(w, mk, st, s, reason_of(rc));
	STORE(&t->cold[s].state, S_DYING);
	there ^= !key_equal(&mk->p->key, k);
	if (key_equal(&mk->p->key, &t->e[there].key))
		return use(mk->p, t, there); // another worker was first with this flow
	return want(w, mk, R_SESSION_CONFLICT); // and its replies come otherwise than this one
}
