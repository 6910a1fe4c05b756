// SPDX-License-Identifier: Apache-2.0
// events.c - see events.h.

#include "events.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "dp.h"

#define PACKET_EACH_NS 1000000ull // 1,000 single packets a second,
#define PACKET_BURST_NS 1000000000ull // and a second's worth at once

enum { KEEPERS = PCGDP_WORKERS_MAX + 1, RINGS = KEEPERS + 1, KEEP_MAX = 1 << 24 };

struct event_ring {
	uint64_t head __attribute__((aligned(LINE)));
	uint64_t lost;
	uint64_t packets_ns; // up to when single packets have used their rate
	uint64_t tail __attribute__((aligned(LINE)));
};

struct events {
	uint32_t keep; // of each ring; a power of two
	uint32_t first; // the ring to be read first
	size_t bytes;
	struct pcgdp_event *at; // RINGS * keep
	struct event_ring ring[RINGS];
};

// The next place to write to, or NULL: it is lost.
static struct pcgdp_event *room(struct events *e, uint32_t id)
{
	struct event_ring *r = &e->ring[id];

	if (r->head - LOAD(&r->tail) == e->keep) {
		BUMP(&r->lost, 1);
		return NULL;
	}
	return &e->at[(size_t)id * e->keep + (r->head & (e->keep - 1))];
}

// Seen from the workload: it is inside, whoever opened the session.
static void describe(struct pcgdp *dp, uint32_t s, struct pcgdp_event *ev)
{
	const struct session_table *t = &dp->arena.sessions;
	const struct entry *fwd = &t->e[2 * s], *rev = fwd + 1;
	bool uplink = session_from_uplink(t, s);
	const union key *from_inside = uplink ? &rev->key : &fwd->key, *from_peer = uplink ? &fwd->key : &rev->key;
	const struct cold *c = &t->cold[s];

	*ev = (struct pcgdp_event){.session = s, .vrf = session_vrf(t, s), .protocol = (uint8_t)proto_of(&fwd->key),
		.from_uplink = uplink, .log = log_of(c), .inside_be = from_inside->src, .inside_port = ntohs(from_inside->sport),
		.outside_be = from_peer->dst, .outside_port = ntohs(from_peer->dport), .peer_be = from_peer->src,
		.peer_port = ntohs(from_peer->sport), .nat_id = c->nat_id, .fw_id = c->fw_id};
}

void event_began(struct worker *w, uint32_t session, bool continued)
{
	struct events *e = LOAD(&w->dp->events);
	struct pcgdp_event *ev = e ? room(e, w->id) : NULL;

	if (!ev)
		return;
	describe(w->dp, session, ev);
	ev->kind = PCGDP_SESSION_BEGAN;
	ev->continued = continued;
	ev->at_ns = w->now_ns;
	STORE(&e->ring[w->id].head, e->ring[w->id].head + 1);
}

static bool rate_passed(struct event_ring *r, uint64_t now_ns)
{
	uint64_t floor = now_ns > PACKET_BURST_NS ? now_ns - PACKET_BURST_NS : 0;

	r->packets_ns = r->packets_ns > floor ? r->packets_ns : floor;
	if (r->packets_ns + PACKET_EACH_NS > now_ns) {
		BUMP(&r->lost, 1);
		return false;
	}
	r->packets_ns += PACKET_EACH_NS;
	return true;
}

void event_packet(struct worker *w, const union key *k, const struct decision *d)
{
	struct events *e = LOAD(&w->dp->events);
	bool uplink = k->domain_proto >> 8 & 1, translated = d->kind != KIND_PLAIN;
	struct pcgdp_event *ev = e && !w->dry && rate_passed(&e->ring[w->id], w->now_ns) ? room(e, w->id) : NULL;

	if (!ev)
		return;
	*ev = (struct pcgdp_event){.kind = d->reason == R_OK ? PCGDP_SESSION_PASSED : PCGDP_SESSION_DENIED, .at_ns = w->now_ns,
		.session = NONE, .vrf = k->domain_proto >> 9, .protocol = (uint8_t)proto_of(k), .from_uplink = uplink, .log = d->log,
		.nat_id = d->nat_id, .fw_id = d->fw_id};
	if (uplink) {
		ev->peer_be = k->src;
		ev->peer_port = ntohs(k->sport);
		ev->outside_be = k->dst;
		ev->outside_port = ntohs(k->dport);
		ev->inside_be = d->new_addr;
		ev->inside_port = ntohs(translated ? d->new_port : k->dport);
	} else {
		ev->inside_be = k->src;
		ev->inside_port = ntohs(k->sport);
		ev->outside_be = translated ? d->new_addr : k->src;
		ev->outside_port = d->draw_port ? 0 : ntohs(k->sport); // not drawn yet
		ev->peer_be = k->dst;
		ev->peer_port = ntohs(k->dport);
	}
	STORE(&e->ring[w->id].head, e->ring[w->id].head + 1);
}

void event_ended(struct pcgdp *dp, uint32_t session, enum pcgdp_end end, uint64_t now_ns)
{
	const struct session_table *t = &dp->arena.sessions;
	const struct entry *fwd = &t->e[2 * session], *rev = fwd + 1, *out = fwd, *in = rev;
	struct events *e = LOAD(&dp->events);
	struct pcgdp_event *ev = e ? room(e, KEEPERS) : NULL;
	uint32_t now_s = seconds_of(dp, now_ns), last_s;

	if (!ev)
		return;
	describe(dp, session, ev);
	if (ev->from_uplink) {
		out = rev;
		in = fwd;
	}
	ev->kind = PCGDP_SESSION_ENDED;
	ev->end = (uint8_t)end;
	ev->at_ns = now_ns;
	last_s = MAX(PEEK(&fwd->last_s), PEEK(&rev->last_s));
	ev->lasted_s = last_s - t->cold[session].made_s;
	ev->idle_s = now_s > last_s ? now_s - last_s : 0; // a worker's clock may be ahead of the sweep's
	ev->out_packets = PEEK(&out->packets);
	ev->out_bytes = PEEK(&out->bytes);
	ev->in_packets = PEEK(&in->packets);
	ev->in_bytes = PEEK(&in->bytes);
	STORE(&e->ring[KEEPERS].head, e->ring[KEEPERS].head + 1);
}

// ---- the reader ----

void events_free(struct events *e)
{
	if (!e)
		return;
	if (e->at)
		munmap(e->at, e->bytes);
	free(e);
}

static struct events *events_new(uint32_t keep)
{
	struct events *e = aligned_alloc(LINE, (sizeof(*e) + LINE - 1) & ~(size_t)(LINE - 1));
	void *at;

	if (!e)
		return NULL;
	memset(e, 0, sizeof(*e));
	e->keep = keep;
	e->bytes = (size_t)RINGS * keep * sizeof(*e->at);
	// what no worker writes to is never taken from the machine
	at = mmap(NULL, e->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED) {
		free(e);
		return NULL;
	}
	e->at = at;
	return e;
}

// Workers may hold the old rings until they are quiescent, housekeeping until its walk is over.
static int replace(struct pcgdp *dp, uint32_t keep)
{
	struct events *old = dp->events, *e = keep ? events_new(keep) : NULL;

	if (keep && !e)
		return -ENOMEM;
	STORE(&dp->events, e);
	quiesce(dp);
	pthread_mutex_lock(&dp->sweeping);
	pthread_mutex_unlock(&dp->sweeping);
	events_free(old);
	return 0;
}

static uint32_t drain(struct events *e, uint32_t id, struct pcgdp_event *out, uint32_t n)
{
	struct event_ring *r = &e->ring[id];
	uint64_t head = LOAD(&r->head);
	uint32_t got = 0;

	for (; r->tail + got != head && got < n; got++)
		out[got] = e->at[(size_t)id * e->keep + ((r->tail + got) & (e->keep - 1))];
	STORE(&r->tail, r->tail + got);
	return got;
}

// In the rings' order, starts before ends, while a page holds all there is. When it does not, the next one begins
// behind the ring that filled it: under load each has its turn.
static uint32_t drain_all(struct events *e, struct pcgdp_event *out, uint32_t n)
{
	uint32_t got = 0, first = e->first;

	e->first = 0;
	for (uint32_t i = 0; i < RINGS && got < n; i++) {
		uint32_t id = (first + i) % RINGS;

		got += drain(e, id, out + got, n - got);
		if (got == n)
			e->first = (id + 1) % RINGS;
	}
	return got;
}

int pcgdp_events(struct pcgdp *dp, uint32_t keep, struct pcgdp_event *out, uint32_t n, uint64_t *lost)
{
	uint32_t got = 0;
	int rc = 0;

	if (keep > KEEP_MAX || keep & (keep - 1))
		return -EINVAL;
	*lost = 0;
	pthread_mutex_lock(&dp->control);
	if (keep != (dp->events ? dp->events->keep : 0))
		rc = replace(dp, keep);
	if (dp->events)
		got = drain_all(dp->events, out, n);
	for (uint32_t i = 0; dp->events && i < RINGS; i++)
		*lost += PEEK(&dp->events->ring[i].lost);
	pthread_mutex_unlock(&dp->control);
	return rc ? rc : (int)got;
}
