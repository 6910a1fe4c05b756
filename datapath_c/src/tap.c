// SPDX-License-Identifier: Apache-2.0
// tap.c - see tap.h.

#include "tap.h"

#include "bpf.h"
#include "dp.h"
#include "trace.h"

// Where the frame inside a Geneve tunnel begins; 0: there is none. Read from the bytes alone, since
// also what the path refuses to read is to be looked at.
static uint32_t inner_at(const uint8_t *f, uint32_t len)
{
	uint32_t udp = ETH_HLEN_ + IP_HLEN, at = udp + UDP_HLEN + GENEVE_HLEN;

	if (len < at || rd16(f + 12) != htons(ETYPE_IPV4) || f[ETH_HLEN_ + 9] != IPP_UDP)
		return 0;
	if (ntohs(rd16(f + ETH_HLEN_ + 6)) & IP_OFFSET)
		return 0;
	udp = ETH_HLEN_ + (f[ETH_HLEN_] & 15u) * 4;
	if (len < udp + UDP_HLEN + GENEVE_HLEN || rd16(f + udp + 2) != htons(GENEVE_PORT))
		return 0;
	at = udp + UDP_HLEN + GENEVE_HLEN + (f[udp + UDP_HLEN] & 0x3fu) * 4;
	return at < len ? at : 0;
}

static bool fits(const struct tap *t, const uint8_t *frame, uint32_t len, uint32_t inner)
{
	uint32_t from = t->wanted.inner ? inner : 0;

	return !t->n || bpf_run(t->filter, frame + from, len - from, len - from);
}

static bool asked_for(const struct tap *t, uint32_t role, uint32_t direction)
{
	return t->wanted.roles & 1u << role && t->wanted.directions & direction;
}

// ---- into the ring ----

static void copy_in(const struct tap *t, uint32_t lane, uint64_t at, const void *from, uint32_t n)
{
	ring_in(ring_of(t, lane), t->wanted.ring_bytes, at, from, n);
}

static void put(struct tap *t, uint32_t id, struct pcgdp_captured *c, const uint8_t *bytes)
{
	struct lane *l = &t->lane[id];
	uint32_t need = TAP_HEAD + padded(c->captured), pad = padded(c->captured) - c->captured;
	static const uint8_t zero[8];

	if (t->wanted.ring_bytes - (l->head - LOAD(&l->tail)) < need) {
		BUMP(&l->lost[c->role], 1);
		l->lost_before++;
		return;
	}
	c->lost = l->lost_before;
	c->worker = (uint8_t)id;
	l->lost_before = 0;
	copy_in(t, id, l->head, c, TAP_HEAD);
	copy_in(t, id, l->head + TAP_HEAD, bytes, c->captured);
	copy_in(t, id, l->head + TAP_HEAD + c->captured, zero, pad);
	BUMP(&l->taken[c->role], 1);
	STORE(&l->head, l->head + need);
}

// ---- what the path calls ----

void tap_rx(struct worker *w, struct tap *t, const struct pkt *p, uint32_t place)
{
	struct lane *l = &t->lane[w->id];
	struct aside *a = &l->aside[place];

	a->held = asked_for(t, p->nic, PCGDP_CAPTURE_RX);
	a->packet = (uint64_t)w->id << 56 | ++l->packets;
	if (!a->held)
		return;
	a->length = p->len;
	a->inner = inner_at(p->data, p->len);
	a->fits = fits(t, p->data, p->len, a->inner);
	a->kept = MIN(p->len, t->wanted.snaplen);
	BUMP(&l->seen[p->nic], 1);
	if (a->fits || t->wanted.both)
		memcpy(aside_of(t, w->id, place), p->data, a->kept);
	else
		a->held = false;
}

static struct pcgdp_captured headed(const struct worker *w, const struct pkt *p, enum stage stage)
{
	struct pcgdp_captured c = {.at_ns = w->now_ns, .session = p->number == NONE ? NONE : p->number / 2, .nat_id = p->nat_id, .fw_id = p->fw_id,
		.verdict = p->verdict, .reason = p->verdict == PCGDP_DROPPED ? p->reason : 0, .stage = (uint8_t)stage, .protocol = p->proto,
		.flags = (uint8_t)((p->flags & PF_NEW ? PCGDP_CAPTURE_NEW : 0) | (p->flags & PF_ANSWER ? PCGDP_CAPTURE_ANSWER : 0))};

	if (p->entry && p->number != NONE) {
		c.nat_id = w->dp->arena.sessions.cold[p->number / 2].nat_id;
		c.fw_id = w->dp->arena.sessions.cold[p->number / 2].fw_id;
	}
	return c;
}

static uint32_t role_out(const struct worker *w, const struct pkt *p)
{
	if (p->slot >= w->dp->arena.adjs.n_slots) // complete already: back where it came from
		return p->nic;
	return p->slot < nexthop_slot(&w->dp->arena, 0) ? PCGDP_DOWNLINK : PCGDP_UPLINK;
}

struct leaving { // a frame that was sent
	bool held, fits;
	uint32_t role, inner;
};

static struct leaving look_at_leaving(struct worker *w, struct tap *t, const struct pkt *p)
{
	struct leaving out = {.role = role_out(w, p)};

	out.held = !t->wanted.only_drops && asked_for(t, out.role, PCGDP_CAPTURE_TX);
	if (!out.held)
		return out;
	BUMP(&t->lane[w->id].seen[out.role], 1);
	out.inner = inner_at(p->data, p->len);
	out.fits = fits(t, p->data, p->len, out.inner);
	return out;
}

static void put_leaving(struct worker *w, struct tap *t, const struct pkt *p, struct pcgdp_captured *c, const struct leaving *out)
{
	c->role = (uint8_t)out->role;
	c->direction = PCGDP_CAPTURE_TX;
	c->length = p->len;
	c->captured = MIN(p->len, t->wanted.snaplen);
	c->inner = out->inner;
	put(t, w->id, c, p->data);
}

void tap_end(struct worker *w, struct tap *t, const struct pkt *p, uint32_t place, enum stage stage)
{
	struct aside *a = &t->lane[w->id].aside[place];
	struct pcgdp_captured c = headed(w, p, stage);
	struct leaving out = {.held = false};

	c.packet = a->packet;
	if (p->verdict == PCGDP_SENT)
		out = look_at_leaving(w, t, p);
	if (a->held && (a->fits || out.fits) && (p->verdict == PCGDP_DROPPED || !t->wanted.only_drops)) {
		c.role = p->nic;
		c.direction = PCGDP_CAPTURE_RX;
		c.length = a->length;
		c.captured = a->kept;
		c.inner = a->inner;
		put(t, w->id, &c, aside_of(t, w->id, place));
	}
	if (out.held && (out.fits || (t->wanted.both && a->held && a->fits)))
		put_leaving(w, t, p, &c, &out);
	a->held = false;
}

// One that egress refused has no Ethernet header and does not leave: its reason is counted, and the
// packet that it was to speak of is here itself.
void tap_made(struct worker *w, const struct pkt *p)
{
	struct tap *t = LOAD(&w->tracer->tap);
	struct pcgdp_captured c;
	struct leaving out;

	if (!t || p->verdict != PCGDP_SENT)
		return;
	out = look_at_leaving(w, t, p);
	if (!out.held || !out.fits)
		return;
	c = headed(w, p, STAGE_egress);
	c.flags = PCGDP_CAPTURE_MADE;
	c.packet = (uint64_t)w->id << 56 | ++t->lane[w->id].packets;
	put_leaving(w, t, p, &c, &out);
}
