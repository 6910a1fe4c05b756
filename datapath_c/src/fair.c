// SPDX-License-Identifier: Apache-2.0
// fair.c - see fair.h.

#include "fair.h"

#include "answer.h"
#include "dp.h"

static uint32_t quota(uint32_t of_rule, uint32_t of_all)
{
	uint32_t n = of_rule ? of_rule : of_all;

	return n ? n : NONE;
}

// A quarter is for what the workload opens itself: whoever floods its public ports does not cut it off.
enum reason fair_session(const struct worker *w, const struct making *mk)
{
	const struct decision *d = &mk->d;
	const struct port *p = &w->dp->arena.ports[fair_port(d)];
	uint32_t most = quota(d->rule ? d->rule->sessions_each : 0, w->cfg->local.sessions_each);

	if (mk->k.domain_proto >> 8 & 1 && most != NONE)
		most -= most / 4;
	return PEEK(&p->sessions) < most ? (enum reason)R_OK : R_QUOTA_SESSIONS;
}

enum reason fair_mapping(const struct worker *w, const struct making *mk)
{
	const struct port *p = &w->dp->arena.ports[mk->d.src_port];
	uint32_t most = quota(mk->d.rule->ports_each, w->cfg->local.ports_each);

	return PEEK(&p->mappings) < most ? (enum reason)R_OK : R_QUOTA_PORTS;
}

// Below zero it would be the largest of all: see fair.h, how one may be taken too often.
static void less(uint32_t *count)
{
	uint32_t n = PEEK(count);

	while (n && !__atomic_compare_exchange_n(count, &n, n - 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

void fair_began(struct arena *a, const struct decision *d)
{
	ADD(&a->ports[fair_port(d)].sessions, 1);
}

// One of the two directions comes from the workload, and says from which.
static uint32_t port_of_session(const struct session_table *t, uint32_t s)
{
	uint32_t slot = t->e[2 * s].src_slot ? t->e[2 * s].src_slot : t->e[2 * s + 1].src_slot;

	return slot - 1;
}

void fair_ended(struct arena *a, uint32_t session)
{
	less(&a->ports[port_of_session(&a->sessions, session)].sessions);
}

void fair_mapped(struct arena *a, uint32_t mapping)
{
	ADD(&a->ports[a->mappings.m[mapping].port].mappings, 1);
}

void fair_unmapped(struct arena *a, uint32_t mapping)
{
	less(&a->ports[a->mappings.m[mapping].port].mappings);
}

// RFC 5508 REQ-8: "When a NAT device is unable to establish a NAT Session [...] due to resource
// constraints or administrative restrictions, the NAT device SHOULD send an ICMP destination
// unreachable message, with a code of 13 [...] to the sender". Only workloads are told: from the
// uplink it may be a flood that has filled the table, and its sources forged.
void fair_refused(struct worker *w, const struct making *mk, enum reason reason)
{
	const struct decision *d = &mk->d;
	struct port *p = &w->dp->arena.ports[fair_port(d)];

	if (!w->dry) {
		STORE(&p->refused_s, w->now_s);
		STORE(&p->refused_nat, (uint16_t)d->nat_id);
		STORE(&p->refused_public, d->pub ? d->pub->rec.index : NONE);
		STORE(&p->refused_reason, (uint8_t)reason);
		ADD(&p->refused, 1);
	}
	if (!stranger(mk->p))
		icmp_error(w, mk->p, ICMP_UNREACH, UNREACH_PROHIBITED, 0);
}

void fair_forget(struct port *p)
{
	p->sessions = p->mappings = p->refused = 0;
}

void fair_attach(struct arena *a)
{
	for (uint32_t i = 0; i < a->head->ports_high; i++)
		a->ports[i].sessions = a->ports[i].mappings = 0;
	for (uint32_t s = 0; s < *a->sessions.high; s++)
		if (a->sessions.cold[s].state == S_LIVE)
			a->ports[port_of_session(&a->sessions, s)].sessions++;
	for (uint32_t m = 0; m < *a->mappings.high; m++) {
		struct mapping *r = &a->mappings.m[m];
		uint32_t port = r->sessions && !r->further ? port_find(a, r->domain_proto >> 9, r->src) : NONE;

		if (port == NONE)
			continue;
		r->port = port & 0xffffff;
		a->ports[port].mappings++;
	}
}

uint32_t fair_read(const struct arena *a, uint32_t from, struct pcgdp_usage *out, uint32_t n)
{
	uint32_t got = 0;

	for (uint32_t i = 0, seen = 0; i < a->head->ports_high && got < n; i++) {
		const struct port *p = &a->ports[i];

		if (!p->live || seen++ < from)
			continue;
		out[got++] = (struct pcgdp_usage){.vrf = p->rec.vrf, .address_be = p->rec.address_be, .sessions = PEEK(&p->sessions),
			.ports = PEEK(&p->mappings), .refused = LOAD(&p->refused), .nat_id = PEEK(&p->refused_nat),
			.public_index = PEEK(&p->refused_public), .reason = PEEK(&p->refused_reason)};
	}
	return got;
}
