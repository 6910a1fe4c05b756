// SPDX-License-Identifier: Apache-2.0
// successor.c - see successor.h.
//
// The other direction's packets are on another worker and do not wait. So in the index one number takes the
// other's place (sigtab_replace), key by key: whoever looks finds either, and both say the same of addresses and
// ports. Who has found the old one goes on by it, for its lines hold until every worker has been quiescent;
// what it counts there is summed up then.

#include "successor.h"

#include "dp.h"
#include "events.h"
#include "fair.h"
#include "install.h"

enum { PATIENCE = 1000 }; // looks at a state: longer than another needs, unless it was interrupted

// Another worker was first with session s, or housekeeping. Who serves its packets now?
static struct entry *find_anew(struct worker *w, struct pkt *p, uint32_t s)
{
	struct session_table *t = &w->dp->arena.sessions;
	struct session_query q = {t, &p->key};

	for (uint32_t i = 0; i < PATIENCE && LOAD(&t->cold[s].state) == S_LEAVING; i++)
		cpu_relax();
	p->number = sigtab_find(&t->index, p->hash, session_key_is, &q);
	return p->number == NONE ? NULL : &t->e[p->number];
}

// As the old one, flags and times included, but for where it leaves and comes from; and whether its source may
// send on this VNI is asked again. What a packet that goes on by the old one says of the connection (a FIN,
// perhaps) is not seen here.
static void entries_follow(struct entry *fwd, const struct entry *old, const struct decision *d)
{
	bool uplink = old->key.domain_proto >> 8 & 1;

	for (uint32_t i = 0; i < 2; i++) {
		fwd[i] = old[i];
		fwd[i].odd = 0;
		fwd[i].ours = d->ours;
		fwd[i].in_vni = 0;
		fwd[i].packets = fwd[i].bytes = 0;
	}
	fwd[0].slot = d->slot;
	fwd[1].slot = d->back_slot;
	fwd[uplink].src_slot = port_slot(uplink ? d->dst_port : d->src_port);
}

// Record s in the place of `old`, which is LEAVING by our doing.
static struct entry *succeed(struct worker *w, struct pkt *p, const struct decision *d, uint32_t old, uint32_t s)
{
	struct arena *a = &w->dp->arena;
	struct session_table *t = &a->sessions;
	uint32_t m = t->cold[old].mapping;

	STORE(&t->cold[s].state, S_MAKING);
	if (m != NONE)
		mapping_hold(&a->mappings, m); // it is not dying, for the old session holds it; to their peer it stays open
	cold_fill(&t->cold[s], d, m, t->cold[old].made_s);
	entries_follow(&t->e[2 * s], &t->e[2 * old], d);
	t->cold[old].succeeded = 1;
	session_replace(t, old, s);
	BUMP(&w->c.sessions_made, 1);
	if (UNLIKELY(LOAD(&w->dp->events) != NULL))
		event_began(w, s, true);
	fair_ended(a, old); // at once, so that a workload does not wait for housekeeping with half its quota
	fair_began(a, d);
	p->flags |= PF_NEW;
	p->number = 2 * s + (p->number & 1);
	return &t->e[p->number];
}

// In a full table the old one goes on as it was; still marked, it asks again at its next packet.
struct entry *successor_make(struct worker *w, struct pkt *p, const struct decision *d)
{
	struct session_table *t = &w->dp->arena.sessions;
	uint32_t old = p->number / 2, s;

	if (!session_take(t, &s, 1))
		return &t->e[p->number];
	if (session_leave(t, old))
		return succeed(w, p, d, old, s);
	session_give(t, &s, 1);
	return find_anew(w, p, old);
}
