// SPDX-License-Identifier: Apache-2.0
// inside.c - what no border shows: frames of a worker of one's choice, and whether the tables agree with
// each other.

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dp.h"
#include "inside.h"
#include "mail.h"

// ---- a worker's frames ----

static void serve_mail(struct pcgdp *dp, struct capture *c, uint64_t at_ns)
{
	for (uint32_t i = 0; i < dp->params.workers; i++) {
		struct worker *w = dp->workers[i];

		w->capture = c;
		worker_begin(w, at_ns);
		while (mail_waits(dp->boxes[i]))
			mail_serve(w);
		worker_end(w);
		w->capture = NULL;
	}
}

// As pcgdp_inject(), of a worker that does not run: its fragments may be another's, who serves them.
static int as_worker(struct pcgdp *dp, struct worker *w, uint32_t role, const uint8_t *frames, const uint32_t *lengths, uint32_t n,
	struct capture *c, uint64_t at_ns)
{
	struct frame round[RX_MAX];
	uint8_t *bufs[RX_MAX];

	assert(n <= RX_MAX);
	for (uint32_t i = 0; i < n; frames += lengths[i++]) {
		bufs[i] = malloc(HEADROOM + lengths[i]);
		memcpy(bufs[i] + HEADROOM, frames, lengths[i]);
		round[i] = (struct frame){.data = bufs[i] + HEADROOM, .len = lengths[i]};
	}
	w->capture = c;
	worker_begin(w, at_ns);
	while (cuts_waiting(&dp->cuts))
		cuts_ask(w);
	run_frames(w, role, round, n);
	worker_end(w);
	w->capture = NULL;
	for (uint32_t i = 0; i < n; i++)
		free(bufs[i]);
	serve_mail(dp, c, at_ns);
	return (int)c->n;
}

int inject_as(struct pcgdp *dp, uint32_t lane, uint32_t role, const uint8_t *frames, const uint32_t *lengths, uint32_t n, uint64_t at_ns,
	uint8_t *out, uint32_t out_len, uint32_t *out_lengths, uint32_t *out_roles, uint32_t n_out)
{
	struct capture c = {.out = out, .room = out_len, .n_max = n_out, .lengths = out_lengths, .roles = out_roles};

	if (lane == 0 || lane > dp->params.workers)
		return pcgdp_inject(dp, role, frames, lengths, n, at_ns, out, out_len, out_lengths, out_roles, n_out);
	return as_worker(dp, dp->workers[lane - 1], role, frames, lengths, n, &c, at_ns);
}

// ---- sessions ----

static uint32_t found(const struct session_table *t, const union key *k)
{
	struct session_query q = {t, k};

	return sigtab_find(&t->index, hash_key(t->secret, k), session_key_is, &q);
}

static uint32_t entries_of(const struct sigtab *t)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->n_total; i++)
		n += 8 - (uint32_t)__builtin_popcount(sig_match(&t->b[i], 0));
	return n;
}

// The reply is what the receiver of the translated packet answers, and is turned into what the
// initiator waits for.
static void hold_both_ways(const struct entry *fwd)
{
	const struct entry *rev = fwd + 1;
	be32 src = fwd->op == OP_SRC ? fwd->new_addr : fwd->key.src, dst = fwd->op == OP_DST ? fwd->new_addr : fwd->key.dst;

	assert(rev->key.src == dst && rev->key.dst == src);
	assert((rev->key.domain_proto & 0xff) == (fwd->key.domain_proto & 0xff) && rev->key.domain_proto >> 9 == fwd->key.domain_proto >> 9);
	assert(!fwd->op == !rev->op && (!fwd->op || fwd->op + rev->op == OP_SRC + OP_DST));
	assert(fwd->op != OP_SRC || rev->new_addr == fwd->key.src);
	assert(fwd->op != OP_DST || rev->new_addr == fwd->key.dst);
	assert(fwd->src_slot || rev->src_slot); // one side is a workload
}

// By its mapping it has the outside endpoint of this inside endpoint, and no other (RFC 4787 REQ-1).
static void hold_mapped(const struct entry *fwd, const struct mapping *m)
{
	bool uplink = fwd->key.domain_proto >> 8 & 1;

	assert((m->domain_proto & 0xff) == (fwd->key.domain_proto & 0xff) && m->domain_proto >> 9 == fwd->key.domain_proto >> 9);
	assert(m->src == (uplink ? fwd->new_addr : fwd->key.src));
	assert(m->out_addr == (uplink ? fwd->key.dst : fwd->new_addr));
	assert(m->out_port == (uplink ? fwd->key.dport : fwd->new_port));
}

// How many sessions each record has, whatever their state, and how many live with the peer that it is for.
struct used {
	uint32_t users, open;
};

static struct used used[65536];

static uint32_t record_for(const struct mapping_table *t, const struct mapping *m, be32 peer)
{
	uint32_t f = 0;

	if (m->peer == peer)
		return (uint32_t)(m - t->m);
	for (; f < *t->high; f++) {
		const struct mapping *r = &t->m[f];

		if (r->sessions && r->further && r->peer == peer && r->out_addr == m->out_addr && r->out_port == m->out_port &&
			(r->domain_proto & 0xff) == (m->domain_proto & 0xff))
			break;
	}
	assert(f < *t->high); // who may answer by which port is known (REQ-8)
	return f;
}

static void hold_session(const struct session_table *t, const struct mapping_table *mappings, uint32_t s)
{
	const struct entry *fwd = &t->e[2 * s];
	uint32_t m = t->cold[s].mapping;

	if (m != NONE) {
		assert(m < *mappings->high);
		used[m].users++;
	}
	if (t->cold[s].state != S_LIVE)
		return;
	assert(found(t, &fwd->key) == 2 * s && found(t, &fwd[1].key) == 2 * s + 1);
	assert(fwd[0].mark == fwd[1].mark);
	hold_both_ways(fwd);
	if (m == NONE)
		return;
	hold_mapped(fwd, &mappings->m[m]);
	used[record_for(mappings, &mappings->m[m], peer_of(&fwd->key))].open++;
}

// ---- mappings, and what each workload has ----

static bool taken(const struct natports *n, const struct mapping *m)
{
	uint32_t proto = (m->domain_proto & 0xff) == IPP_TCP ? NATPORT_TCP : (m->domain_proto & 0xff) == IPP_UDP ? NATPORT_UDP : NATPORT_ICMP;
	const uint64_t *bits = n->bits[m->public_index * NATPORT_PROTOS + proto];

	return bits && bits[ntohs(m->out_port) >> 6] >> (ntohs(m->out_port) & 63) & 1;
}

static uint32_t hold_mappings(const struct pcgdp *dp)
{
	const struct mapping_table *t = &dp->arena.mappings;
	uint32_t n = 0;

	for (uint32_t m = 0; m < *t->high; m++) {
		const struct mapping *r = &t->m[m];

		n += r->sessions > 0;
		if (r->further && r->sessions)
			assert(r->sessions == used[m].open && !used[m].users);
		else
			assert(r->sessions == used[m].users);
		if (!r->sessions || r->further)
			continue;
		assert(r->open == used[m].open);
		assert(taken(&dp->natports, r));
		assert(mapping_find_out(t, r->out_addr, r->out_port, (uint8_t)r->domain_proto) == m); // nobody else has it (REQ-3)
	}
	for (uint32_t f = t->limbo; f != NONE; f = t->m[f].next_free)
		n++;
	return n;
}

void hold_tables(const struct pcgdp *dp, bool swept)
{
	const struct session_table *t = &dp->arena.sessions;
	uint32_t n[S_DYING + 1] = {0}, mappings, of_ports = 0;

	memset(used, 0, *dp->arena.mappings.high * sizeof(*used));
	for (uint32_t s = 0; s < *t->high; s++) {
		n[t->cold[s].state]++;
		if (t->cold[s].state != S_FREE)
			hold_session(t, &dp->arena.mappings, s);
	}
	assert(!n[S_MAKING] && (!swept || !n[S_DYING]));
	assert(*t->live == n[S_LIVE] + n[S_DYING]);
	assert(entries_of(&t->index) == 2 * n[S_LIVE]);
	mappings = hold_mappings(dp);
	assert(*dp->arena.mappings.live == mappings);
	assert(entries_of(&dp->arena.mappings.by_in) <= mappings && entries_of(&dp->arena.mappings.by_out) <= mappings);
	for (uint32_t i = 0; i < dp->arena.head->ports_high; i++)
		of_ports += dp->arena.ports[i].sessions;
	assert(of_ports <= *t->live);
}

// Nothing is left, and all that was taken is back.
void hold_empty(const struct pcgdp *dp)
{
	const struct arena *a = &dp->arena;

	assert(!*a->sessions.live && !*a->mappings.live && !*a->mappings.further && dp->cuts.ended == dp->cuts.added);
	assert(!entries_of(&a->sessions.index) && !entries_of(&a->mappings.by_in) && !entries_of(&a->mappings.by_out));
	for (uint32_t i = 0; i < a->head->ports_high; i++)
		assert(!a->ports[i].sessions && !a->ports[i].mappings);
	for (uint32_t i = 0; i < PUBLICS_MAX * NATPORT_PROTOS && i < 3 * 64; i++)
		for (uint32_t word = 0; dp->natports.bits[i] && word < 1024; word++)
			assert(!dp->natports.bits[i][word]);
}
