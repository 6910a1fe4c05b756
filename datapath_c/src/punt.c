// SPDX-License-Identifier: Apache-2.0
// punt.c - see punt.h.

#include "punt.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dp.h"
#include "ring.h"

enum { PARCEL = sizeof(struct pcgdp_parcel) };

_Static_assert(PARCEL % 8 == 0, "parcels stay aligned");

int punts_open(struct punts *t)
{
	pthread_mutex_init(&t->reading, NULL);
	t->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (t->fd < 0)
		return -errno;
	// what no worker writes to is never taken from the machine
	t->memory = mmap(NULL, (size_t)PUNT_LANES * PUNT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->memory != MAP_FAILED)
		return 0;
	t->memory = NULL;
	close(t->fd);
	return -ENOMEM;
}

void punts_close(struct punts *t)
{
	if (!t->memory)
		return;
	munmap(t->memory, (size_t)PUNT_LANES * PUNT_BYTES);
	close(t->fd);
}

static uint8_t *ring_of(const struct punts *t, uint32_t lane)
{
	return t->memory + (size_t)lane * PUNT_BYTES;
}

// ---- workers ----

static void wake(struct punts *t)
{
	uint64_t one = 1;

	__atomic_thread_fence(__ATOMIC_SEQ_CST); // he sees the parcel, or we see that he waits
	if (PEEK(&t->waiting) && __atomic_exchange_n(&t->waiting, 0, __ATOMIC_RELAXED) && write(t->fd, &one, sizeof(one)) < 0)
		return; // the counter is full, so he is awake
}

enum pcgdp_verdict punt(struct worker *w, struct pkt *p, be32 tep, const uint8_t *mac)
{
	const uint8_t *frame = p->data + p->l3 - ETH_HLEN_;
	struct punts *t = &w->dp->punts;
	struct punt_lane *l = &t->lane[w->id];
	struct pcgdp_parcel parcel = {.at_ns = w->now_ns, .vni = p->vni, .tep_be = tep, .length = (uint16_t)(p->len - p->l3 + ETH_HLEN_)};
	uint32_t need = PARCEL + padded(parcel.length);
	static const uint8_t zero[8];

	if (!LOAD(&t->open))
		return drop(p, R_PUNT_NOBODY);
	if (w->dry)
		return PCGDP_PUNTED;
	if (PUNT_BYTES - (l->head - LOAD(&l->tail)) < need)
		return drop(p, R_PUNT_FULL);
	memcpy(parcel.mac, mac, 6);
	ring_in(ring_of(t, w->id), PUNT_BYTES, l->head, &parcel, PARCEL);
	ring_in(ring_of(t, w->id), PUNT_BYTES, l->head + PARCEL, frame, parcel.length);
	ring_in(ring_of(t, w->id), PUNT_BYTES, l->head + PARCEL + parcel.length, zero, padded(parcel.length) - parcel.length);
	STORE(&l->head, l->head + need);
	wake(t);
	return PCGDP_PUNTED;
}

// ---- the reader ----

// Whole parcels of one lane, as many as `room` takes.
static uint32_t give(struct punts *t, uint32_t lane, uint8_t *out, uint32_t room)
{
	struct punt_lane *l = &t->lane[lane];
	uint64_t head = LOAD(&l->head), at = l->given, from = at;
	struct pcgdp_parcel parcel;

	while (at != head) {
		ring_out(ring_of(t, lane), PUNT_BYTES, at, &parcel, PARCEL);
		if (at + PARCEL + padded(parcel.length) - from > room)
			break;
		at += PARCEL + padded(parcel.length);
	}
	ring_out(ring_of(t, lane), PUNT_BYTES, from, out, (uint32_t)(at - from));
	l->given = at;
	return (uint32_t)(at - from);
}

// An equal share of what is left for each lane that has something.
static uint32_t give_all(struct punts *t, uint8_t *out, uint32_t out_len)
{
	uint32_t got = 0, full = 0;

	for (uint32_t i = 0; i < PUNT_LANES; i++)
		full += LOAD(&t->lane[i].head) != t->lane[i].given;
	for (uint32_t i = 0; full && i < PUNT_LANES; i++)
		if (LOAD(&t->lane[i].head) != t->lane[i].given)
			got += give(t, i, out + got, (out_len - got) / full--);
	return got;
}

// Nobody took it: it was not punted after all. In the name of inject's worker, whose counters are the
// caller's.
static void take_back(struct worker *w, const struct pcgdp_parcel *parcel, uint8_t *frame)
{
	const struct ip_hdr *ip = (const void *)(frame + ETH_HLEN_);
	struct pkt p = {.data = frame, .len = parcel->length, .l3 = ETH_HLEN_, .proto = IPP_UDP, .reason = R_PUNT_NOBODY,
		.outer_src = parcel->tep_be, .vni = parcel->vni, .key = {.src = ip->src, .dst = ip->dst}, .segment = segment_of_vni(w->cfg, parcel->vni)};

	memcpy(&p.key.sport, frame + ETH_HLEN_ + IP_HLEN, 4);
	p.vrf = p.segment ? p.segment->rec.vrf : 0;
	BUMP(&w->c.punt, (uint64_t)-1); // the sum over all workers counts
	BUMP(&w->c.drops[R_PUNT_NOBODY], 1);
	ledger_drop(w, &p);
}

static void nobody_reads(struct pcgdp *dp)
{
	struct punts *t = &dp->punts;
	struct worker *w = dp->inject;
	struct pcgdp_parcel parcel;
	uint8_t frame[PCGDP_FRAME_MAX];

	STORE(&t->open, 0);
	quiesce(dp); // from here on no worker writes
	pthread_mutex_lock(&dp->injecting);
	worker_begin(w, clock_ns());
	for (uint32_t i = 0; i < PUNT_LANES; i++) {
		struct punt_lane *l = &t->lane[i];
		uint64_t at = l->tail;

		for (; at != LOAD(&l->head); at += PARCEL + padded(parcel.length)) {
			ring_out(ring_of(t, i), PUNT_BYTES, at, &parcel, PARCEL);
			ring_out(ring_of(t, i), PUNT_BYTES, at + PARCEL, frame, parcel.length);
			take_back(w, &parcel, frame);
		}
		l->given = at;
		STORE(&l->tail, at);
	}
	worker_end(w);
	pthread_mutex_unlock(&dp->injecting);
}

int pcgdp_punts(struct pcgdp *dp, uint8_t *out, uint32_t out_len, uint32_t gone)
{
	struct punts *t = &dp->punts;
	uint32_t got = 0;
	uint64_t woken;

	pthread_mutex_lock(&t->reading);
	for (uint32_t i = 0; i < PUNT_LANES; i++) {
		struct punt_lane *l = &t->lane[i];

		if (gone)
			STORE(&l->tail, l->given);
		l->given = l->tail;
	}
	if (!out) {
		nobody_reads(dp);
	} else {
		while (read(t->fd, &woken, sizeof(woken)) > 0)
			;
		__atomic_store_n(&t->waiting, 1, __ATOMIC_SEQ_CST); // what comes after our look wakes us
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		STORE(&t->open, 1);
		got = give_all(t, out, out_len);
	}
	pthread_mutex_unlock(&t->reading);
	return (int)got;
}

int pcgdp_punt_fd(struct pcgdp *dp)
{
	return dp->punts.fd;
}
