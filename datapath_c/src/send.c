// SPDX-License-Identifier: Apache-2.0
// send.c - see send.h.

#include "send.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dp.h"
#include "ring.h"
#include "swap.h"
#include "trace.h"

// One frame on its way; HEADROOM bytes behind it, the frame.
struct outgoing {
	struct ring_item item;
	uint32_t vni;
	struct adj adj; // kind 0: no such client
};

enum { PARCEL = sizeof(struct pcgdp_parcel), FRAME_AT = sizeof(struct outgoing) + HEADROOM, ALIGN = sizeof(struct adj) };

_Static_assert(SEND_BYTES > 2 * (FRAME_AT + PCGDP_FRAME_MAX + ALIGN), "even the longest frame fits");

int sending_open(struct sending *s)
{
	s->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (s->fd < 0)
		return -errno;
	s->at = mmap(NULL, SEND_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->at != MAP_FAILED)
		return 0;
	s->at = NULL;
	close(s->fd);
	return -ENOMEM;
}

void sending_close(struct sending *s)
{
	if (!s->at)
		return;
	munmap(s->at, SEND_BYTES);
	close(s->fd);
}

static struct outgoing *outgoing_at(struct sending *s, uint64_t at)
{
	return ring_at(s->at, SEND_BYTES, at);
}

// ---- the writer ----

static bool put(struct pcgdp *dp, const struct pcgdp_parcel *parcel, const uint8_t *frame)
{
	struct sending *s = &dp->sending;
	uint32_t size = (uint32_t)(FRAME_AT + parcel->length + ALIGN - 1) & ~(uint32_t)(ALIGN - 1);
	struct outgoing *o = ring_room(s->at, SEND_BYTES, &s->head, &s->tail, size);
	const struct client *c = client_find(dp, parcel->vni, parcel->mac);
	const struct segment *seg = segment_of_vni(dp->cfg, parcel->vni);
	struct pcgdp_ports port = {.vrf = seg ? seg->rec.vrf : 0, .vni = parcel->vni};

	if (!o)
		return false;
	*o = (struct outgoing){.item = {parcel->length, size}, .vni = parcel->vni};
	if (c) {
		port.tep_be = c->rec.tep_be;
		memcpy(port.mac, frame, 6); // to itself, or to everybody
		port_template(dp, &port, frame + 6, &o->adj);
	}
	memcpy((uint8_t *)o + FRAME_AT, frame, parcel->length);
	STORE(&s->head, s->head + size);
	return true;
}

int pcgdp_send(struct pcgdp *dp, const uint8_t *parcels, uint32_t len)
{
	struct sending *s = &dp->sending;
	struct pcgdp_parcel parcel;
	uint64_t one = 1;
	uint32_t at = 0;
	bool wrong = false;

	pthread_mutex_lock(&dp->control); // the tables stay
	for (; at < len; at += PARCEL + padded(parcel.length)) {
		wrong = len - at < PARCEL;
		if (wrong)
			break;
		memcpy(&parcel, parcels + at, PARCEL);
		wrong = parcel.length < ETH_HLEN_ || parcel.length > PCGDP_FRAME_MAX || len - at - PARCEL < padded(parcel.length);
		if (wrong || !put(dp, &parcel, parcels + at + PARCEL))
			break;
	}
	pthread_mutex_unlock(&dp->control);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); // it sees the frames, or we see that it sleeps
	if (PEEK(&s->asleep) && write(s->fd, &one, sizeof(one)) < 0)
		return (int)at; // the counter is full, so it is awake
	return wrong && !at ? -EINVAL : (int)at; // what is wrong behind others is said when its turn comes
}

// ---- its worker ----

// Drops    PORT_UNKNOWN, FRAME_SHORT, ETHERTYPE, IP_BAD, and those of egress
static enum pcgdp_verdict send_one(struct worker *w, const struct outgoing *o, struct pkt *p)
{
	struct reader r = pkt_read(p);
	const struct eth_hdr *eh = pull(&r, ETH_HLEN_);
	const struct ip_hdr *ip = pull(&r, IP_HLEN);

	if (!eh || !ip)
		return drop(p, R_FRAME_SHORT);
	if (eh->type != htons(ETYPE_IPV4))
		return drop(p, R_ETHERTYPE);
	p->l3 = ETH_HLEN_;
	p->ip_len = ntohs(ip->len);
	if (ip->ver_ihl != 0x45 || p->ip_len < IP_HLEN || ETH_HLEN_ + (uint32_t)p->ip_len > p->len)
		return drop(p, R_IP_BAD);
	p->proto = ip->proto;
	p->key = (union key){.src = ip->src, .dst = ip->dst};
	if (p->proto == IPP_UDP && p->ip_len >= IP_HLEN + UDP_HLEN)
		memcpy(&p->key.sport, ip + 1, 4);
	p->hash = hash_key(&w->dp->arena.head->secret, &p->key);
	return o->adj.kind ? egress_by(w, p, &o->adj) : drop(p, R_PORT_UNKNOWN);
}

static void send_counted(struct worker *w, struct outgoing *o)
{
	struct pkt p = {.data = (uint8_t *)o + FRAME_AT, .len = o->item.len, .flags = PF_ANSWER | PF_HAS_UDP_SUM0, .nic = PCGDP_DOWNLINK,
		.number = NONE, .slot = SLOT_RAW, .vni = o->vni, .segment = segment_of_vni(w->cfg, o->vni)};

	p.vrf = p.segment ? p.segment->rec.vrf : 0;
	BUMP(&w->c.made, 1);
	p.verdict = (uint8_t)send_one(w, o, &p);
	settle_ended(w, &p);
	if (UNLIKELY(w->tracer != NULL))
		trace_sent(w, &p, &o->adj);
}

uint32_t send_serve(struct worker *w)
{
	struct sending *s = &w->dp->sending;
	uint64_t at = s->tail, head = LOAD(&s->head);
	uint32_t n = 0;

	for (; at != head; at += outgoing_at(s, at)->item.size) {
		struct outgoing *o = outgoing_at(s, at);

		if (!o->item.len)
			continue;
		send_counted(w, o);
		n++;
	}
	tx_flush(w);
	w->n_pieces = 0;
	STORE(&s->tail, at);
	return n;
}
