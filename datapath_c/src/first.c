// SPDX-License-Identifier: Apache-2.0
// first.c - packets without a session: what is to become of them, and of those that follow.
//
//   in:   parse_inner -> session_lookup [ -> first_burst ] -> rewrite
//
// To make a session writes a dozen cache lines of which none is near another. So a burst's first
// packets go together: each is decided and asks for its lines, records are taken for all, then each
// session is made. The second packet of a flow in the same burst finds the session of the first.
//
// Only what may open a session goes this way. The rest (a TCP segment without a session, an error)
// waits until it is its turn in session_lookup: a packet before it may have opened one.

#include "first.h"

#include "answer.h"
#include "dp.h"
#include "events.h"

enum { RECORDS_AHEAD = 4 };

static enum pcgdp_verdict refuse(struct worker *w, struct pkt *p, const struct decision *d)
{
	tell_refused(w, p, d);
	p->fw_id = d->fw_id;
	p->nat_id = d->nat_id;
	return drop(p, (enum reason)d->reason);
}

// May this packet open a session? Only a SYN, a ping, or what has no such notion.
static bool opens(const struct pkt *p)
{
	const struct icmp_hdr *ic = (const void *)((const uint8_t *)pkt_ip(p) + IP_HLEN);

	if (p->proto == IPP_TCP)
		return (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
	return p->proto != IPP_ICMP || ic->type == ICMP_ECHO;
}

// An ICMP error whose quoted packet has no session goes on only between workloads.
static union key error_own_key(const struct pkt *p)
{
	const struct ip_hdr *ip = pkt_ip(p);
	union key k = {.src = ip->src, .dst = ip->dst, .domain_proto = (p->key.domain_proto & ~0xffu) | IPP_ICMP};

	return k;
}

// For explain: the peer whose last session has ended does not come back in by their mapping.
static bool shut_out(const struct worker *w, const union key *k, const struct decision *d)
{
	const struct arena *a = &w->dp->arena;
	uint32_t s = w->dry_ended;

	if (!w->dry || s == NONE || d->open || d->mapping == NONE || d->mapping != a->sessions.cold[s].mapping)
		return false;
	return k->src == peer_of(&a->sessions.e[2 * s].key) && mapping_open_sessions(&a->mappings, d->mapping, k->src) == 1;
}

// Before   p has no session
// After    NEXT: PF_STATELESS or PF_ANSWER and p->slot; or mk->p set: a session is to be made
// Drops    SOURCE_SPOOFED, every reason of decide(), TCP_NO_SESSION, ICMP_NO_SESSION, TTL_EXPIRED
static inline enum pcgdp_verdict decide_first(struct worker *w, struct pkt *p, struct making *mk)
{
	const struct arena *a = &w->dp->arena;
	struct decision *d = &mk->d;

	mk->p = NULL;
	mk->draws = 0;
	mk->k = p->flags & PF_ICMP_ERROR ? error_own_key(p) : p->key;
	mk->hash = p->hash;
	decide(w->cfg, a, &mk->k, 0, d);
	BUMP(&w->c.decisions, 1);
	ledger_decided(w->ledger, mk->k.domain_proto >> 8, d->fw_id, d->by_default);
	p->nat_id = d->nat_id;
	p->fw_id = d->fw_id;
	if (!(p->flags & PF_UPLINK) && d->src_port != NONE && !source_ok(a, p, d->src_port))
		return drop(p, R_SOURCE_SPOOFED);
	if (UNLIKELY(shut_out(w, &mk->k, d)) && (d->reason == R_OK || d->reason == R_NEIGHBOUR_UNRESOLVED))
		d->reason = R_NAT_FILTERED;
	if (UNLIKELY(d->log) && (d->reason == R_FIREWALL_DENIED || (d->reason == R_OK && d->stateless)))
		event_packet(w, &mk->k, d);
	if (d->reason != R_OK)
		return refuse(w, p, d);
	if (d->to_gateway)
		return gateway_addressed(w, p, d->src_port);
	if (d->stateless) {
		p->flags |= PF_STATELESS;
		p->slot = d->slot;
		return PCGDP_NEXT;
	}
	if (p->flags & PF_ICMP_ERROR)
		return drop(p, R_ICMP_NO_SESSION);
	if (!opens(p)) {
		if (p->proto != IPP_TCP)
			return drop(p, R_ICMP_NO_SESSION);
		if (!stranger(p)) // RST inwards, silence outwards
			tcp_reset(w, p);
		return drop(p, R_TCP_NO_SESSION);
	}
	if (pkt_ip(p)->ttl <= 1) { // a traceroute's probe goes no further: no session, no port for it
		icmp_error(w, p, ICMP_TIME, 0, 0);
		return drop(p, R_TTL_EXPIRED);
	}
	mk->p = p;
	return PCGDP_NEXT;
}

static enum pcgdp_verdict make(struct worker *w, struct making *mk, struct stock *st)
{
	struct pkt *p = mk->p;

	p->entry = session_install(w, mk, st);
	if (!p->entry)
		return PCGDP_DROPPED;
	p->slot = p->entry->slot;
	return PCGDP_NEXT;
}

// Drops    and SESSIONS_FULL, SESSION_CONFLICT, NAT_*
enum pcgdp_verdict first_one(struct worker *w, struct pkt *p)
{
	struct making mk;
	struct stock st;
	enum pcgdp_verdict v = decide_first(w, p, &mk);

	if (!mk.p)
		return v;
	stock_take(w, &st, 1, records_wanted(&mk.d));
	install_ahead(w, &mk);
	v = make(w, &mk, &st);
	stock_give(w, &st);
	return v;
}

// Which hashes have been met in this burst: a few say yes that have not, none says no that has.
struct met {
	uint64_t bits[4];
};

static bool met_before(struct met *m, uint64_t hash)
{
	uint64_t *word = &m->bits[hash >> 8 & 3], bit = 1ull << (hash & 63);
	bool met = *word & bit;

	*word |= bit;
	return met;
}

static uint32_t find(const struct worker *w, const struct pkt *p)
{
	const struct session_table *t = &w->dp->arena.sessions;
	struct session_query q = {t, &p->key};

	return sigtab_find(&t->index, p->hash, session_key_is, &q);
}

// Those to make sessions for are counted in the return value.
static uint32_t decide_all(struct worker *w, struct burst *b, struct pkt **list, uint32_t n, struct making *mk, uint32_t *records)
{
	uint32_t k = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct pkt *p = list[i];

		if (p->flags & (PF_STATELESS | PF_ICMP_ERROR) || !opens(p))
			continue;
		if (UNLIKELY(LOAD(&bucket_of(&w->dp->arena.sessions.index, p->hash)->next))) { // its first bucket had none
			p->number = find(w, p);
			if (p->number != NONE)
				continue;
		}
		p->flags |= PF_DECIDED;
		settle_one(b, p, decide_first(w, p, &mk[k]));
		if (!mk[k].p)
			continue;
		install_ahead(w, &mk[k]);
		*records += records_wanted(&mk[k++].d);
	}
	return k;
}

void first_burst(struct worker *w, struct burst *b, struct pkt **list, uint32_t n)
{
	struct making mk[BURST];
	struct met met = {{0}};
	struct stock st;
	uint32_t records = 0, k = decide_all(w, b, list, n, mk, &records);

	if (!k)
		return;
	stock_take(w, &st, k, records);
	for (uint32_t i = 0; i < RECORDS_AHEAD; i++)
		stock_ask(w, &st, i);
	for (uint32_t i = 0; i < k; i++) {
		struct pkt *p = mk[i].p;

		stock_ask(w, &st, RECORDS_AHEAD);
		p->number = met_before(&met, p->hash) ? find(w, p) : NONE;
		if (p->number != NONE) // the session of a packet before it
			p->flags &= (uint16_t)~PF_DECIDED;
		else
			settle_one(b, p, make(w, &mk[i], &st));
	}
	stock_give(w, &st);
}
