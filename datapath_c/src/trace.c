// SPDX-License-Identifier: Apache-2.0
// trace.c - see trace.h.

#include "trace.h"

#include <stdio.h>
#include <string.h>

#include "decide.h"
#include "dp.h"
#include "tap.h"

enum { NOT_TRACED = TRACE_STEPS + 1 }; // a packet that came while only a capture ran

void trace_begin(struct worker *w, struct pkt *p, uint32_t place)
{
	struct tracer *t = w->tracer;
	struct tap *tap = LOAD(&t->tap);

	p->trace = (uint8_t)(place + 1);
	t->scratch[w->id][place].n = PEEK(&t->left) ? 0 : NOT_TRACED;
	if (tap)
		tap_rx(w, tap, p, place);
}

static bool fits(const struct pcgdp_trace_filter *f, const struct pkt *p)
{
	const union key *k = &p->key;
	uint16_t port = htons(f->port);

	return (!f->only_drops || p->verdict == PCGDP_DROPPED) && (!f->vni || f->vni == p->vni) &&
		(!f->protocol || f->protocol == p->proto) && (!f->port || port == k->sport || port == k->dport) &&
		(!f->address_be || f->address_be == k->src || f->address_be == k->dst) &&
		(!f->peer_be || f->peer_be == k->src || f->peer_be == k->dst);
}

static void say_address(char *at, size_t n, const char *what, be32 address, be16 port)
{
	const uint8_t *b = (const uint8_t *)&address;

	int used = snprintf(at, n, "%s %u.%u.%u.%u", what, b[0], b[1], b[2], b[3]);

	if (port && used > 0 && (size_t)used < n)
		snprintf(at + used, n - (size_t)used, ":%u", ntohs(port));
}

// In explain no port is drawn: there is none to name, unless the new session's endpoint has a mapping already.
static bool would_draw(const struct worker *w, const struct pkt *p)
{
	return w->dry_draws && p->flags & PF_NEW && p->number == NONE;
}

// What the stage found, in words.
static void note(const struct worker *w, const struct pkt *p, enum stage stage, struct pcgdp_trace_event *ev)
{
	const struct entry *e = p->entry;
	const uint8_t *b = (const uint8_t *)&p->outer_src;

	switch (stage) {
	case STAGE_parse_outer:
		if (p->outer_src)
			snprintf(ev->note, sizeof(ev->note), "from TEP %u.%u.%u.%u", b[0], b[1], b[2], b[3]);
		break;
	case STAGE_geneve_decap:
		if (p->segment)
			snprintf(ev->note, sizeof(ev->note), "VNI %u, %.40s", p->vni, p->segment->rec.name);
		break;
	case STAGE_parse_inner:
		if (p->verdict == PCGDP_PUNTED)
			snprintf(ev->note, sizeof(ev->note), "DHCP, to the relay");
		break;
	case STAGE_session_lookup:
		if (p->flags & PF_ANSWER)
			snprintf(ev->note, sizeof(ev->note), "answered by the gateway");
		else if (p->flags & PF_STATELESS)
			snprintf(ev->note, sizeof(ev->note), "%s, no session", p->fw_id ? "by a stateless rule" : "overlay to overlay");
		else if (e)
			snprintf(ev->note, sizeof(ev->note), "%s session", p->flags & PF_NEW ? "new" : "known");
		break;
	case STAGE_rewrite:
		if (e && would_draw(w, p))
			say_address(ev->note, sizeof(ev->note), "port drawn at random, source becomes", e->new_addr, 0);
		else if (e && e->op)
			say_address(ev->note, sizeof(ev->note), e->op & OP_SRC ? "source becomes" : "destination becomes", e->new_addr, e->new_port);
		break;
	default:
		break;
	}
}

// Instead of what the stage found: it ends there.
static void note_told(const struct pkt *p, struct pcgdp_trace_event *ev)
{
	memset(ev->note, 0, sizeof(ev->note));
	if (p->told == TOLD_RST)
		snprintf(ev->note, sizeof(ev->note), "its sender is told by RST");
	else
		snprintf(ev->note, sizeof(ev->note), "its sender is told by ICMP %u/%u", p->told >> 4, p->told & 15);
}

static void fill(const struct worker *w, const struct pkt *p, enum stage stage, struct pcgdp_trace_event *ev)
{
	const struct adj_table *t = &w->dp->arena.adjs;

	memset(ev, 0, sizeof(*ev));
	ev->at_ns = w->now_ns;
	ev->stage = (uint8_t)stage;
	ev->verdict = p->verdict;
	ev->reason = p->verdict == PCGDP_DROPPED ? p->reason : 0;
	ev->protocol = p->proto;
	ev->outer_src_be = p->outer_src;
	ev->vni = p->vni;
	ev->src_be = p->key.src;
	ev->dst_be = p->key.dst;
	ev->sport = ntohs(p->key.sport);
	ev->dport = ntohs(p->key.dport);
	ev->length = (uint16_t)(p->ip_len ? p->ip_len : p->len);
	ev->ttl = p->ip_len && !(p->flags & PF_ARP) && stage != STAGE_egress ? pkt_ip(p)->ttl : 0;
	ev->session = p->number == NONE ? NONE : p->number / 2;
	ev->nic_in = p->nic;
	ev->new_session = !!(p->flags & PF_NEW);
	ev->nat_id = p->nat_id;
	ev->fw_id = p->fw_id;
	if (p->entry && p->entry->op) {
		ev->new_be = p->entry->new_addr;
		ev->new_port = would_draw(w, p) ? 0 : ntohs(p->entry->new_port);
	}
	if (p->entry && p->number != NONE) {
		ev->nat_id = w->dp->arena.sessions.cold[p->number / 2].nat_id;
		ev->fw_id = w->dp->arena.sessions.cold[p->number / 2].fw_id;
	}
	if (p->slot && p->slot < t->n_slots) {
		const struct adj *a = &t->adj[slot_get(t, p->slot).adj];

		ev->next_be = a->next;
		ev->mtu = (uint16_t)a->mtu;
		ev->nic_out = a->role;
		if (stage == STAGE_egress && a->kind == ADJ_TUNNEL)
			snprintf(ev->note, sizeof(ev->note), "Geneve, VNI %u", a->vni);
	}
	note(w, p, stage, ev);
	if (p->told && p->verdict == PCGDP_DROPPED)
		note_told(p, ev);
}

static void keep(struct tracer *t, const struct pcgdp_trace_event *ev)
{
	uint32_t next = (t->tail + 1) % TRACE_EVENTS;

	if (next == t->head)
		t->head = (t->head + 1) % TRACE_EVENTS; // nobody reads: the oldest goes
	t->ring[t->tail] = *ev;
	t->tail = next;
}

// Its packet has left: into the ring, if it is one that was asked for.
static void tell(struct tracer *t, const struct pkt *p, struct pcgdp_trace_event *step, uint32_t n)
{
	pthread_mutex_lock(&t->lock);
	if (t->left && fits(&t->filter, p)) {
		for (uint32_t i = 0; i < n; i++) {
			step[i].packet = t->packets;
			keep(t, &step[i]);
		}
		t->packets++;
		STORE(&t->left, t->left - 1);
		if (!t->left)
			__atomic_and_fetch(&t->on, ~(uint32_t)TRACE_STAGES, __ATOMIC_SEQ_CST);
	}
	pthread_mutex_unlock(&t->lock);
}

void trace_stage(struct worker *w, const struct pkt *p, enum stage stage)
{
	bool ends = p->verdict != PCGDP_NEXT && p->verdict != PCGDP_LOOPED;
	struct tracer *t = w->tracer;
	struct tap *tap = LOAD(&t->tap);
	uint32_t place = p->trace - 1u, n;

	if (!p->trace)
		return;
	if (tap && ends)
		tap_end(w, tap, p, place, stage);
	n = t->scratch[w->id][place].n;
	if (n < TRACE_STEPS) {
		fill(w, p, stage, &t->scratch[w->id][place].step[n]);
		n = ++t->scratch[w->id][place].n;
	}
	if (ends && n != NOT_TRACED)
		tell(t, p, t->scratch[w->id][place].step, n);
}

// By its own header, as a workload without an address has no slot.
void trace_sent(struct worker *w, const struct pkt *p, const struct adj *a)
{
	struct tracer *t = w->tracer;
	struct pcgdp_trace_event step;

	tap_made(w, p);
	if (!PEEK(&t->left))
		return;
	fill(w, p, STAGE_egress, &step);
	step.next_be = a->next;
	step.mtu = a->mtu;
	snprintf(step.note, sizeof(step.note), "from the relay; Geneve, VNI %u", p->vni);
	tell(t, p, &step, 1);
}
