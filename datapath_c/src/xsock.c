// SPDX-License-Identifier: Apache-2.0
// xsock.c - see xsock.h.
//
// A received frame is rewritten where it lies: the kernel leaves 256 bytes in front of it. One that
// is longer than a chunk comes in pieces and is copied into one linear buffer, since the path wants
// it whole. Sending copies into a chunk of our own: what the path hands over lies in another
// interface's memory, and is that one's again at once.
//
// Copy mode and zero copy differ in who moves the bytes, not in the rings; all we do for it is to
// wake the kernel where it asks for that. In copy mode it always does for sending.

#include "xsock.h"

#include <sys/socket.h>

enum { KICKS = 64 }; // calls for one burst, as long as each leads anywhere

// ---- receive ----

// Pieces of the frame at `at`, or 0 when its last one is not there yet.
static uint32_t pieces_of(const struct xsock *x, uint32_t at, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (!(xsk_ring_cons__rx_desc(&x->rx, at + i)->options & XDP_PKT_CONTD))
			return i + 1;
	return 0;
}

static struct frame join(struct xsock *x, uint32_t at, uint32_t n)
{
	struct frame f = {.data = x->linear[x->n_linear++] + HEADROOM, .len = 0, .flags = 0};

	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *d = xsk_ring_cons__rx_desc(&x->rx, at + i);
		uint32_t room = PCGDP_FRAME_MAX - f.len, len = MIN(d->len, room);

		memcpy(f.data + f.len, x->area + d->addr, len);
		f.len += len;
		f.flags |= d->len > room ? PF_TRUNCATED : 0;
	}
	return f;
}

uint32_t xsock_rx(struct xsock *x, struct frame *out, uint32_t n)
{
	uint32_t at, used = 0, got = 0, there;

	x->rx.cached_prod = LOAD(x->rx.producer); // peek() itself looks only once all it saw is taken
	there = xsk_ring_cons__peek(&x->rx, RX_CHUNKS, &at);
	while (got < n && used < there) {
		uint32_t pieces = pieces_of(x, at + used, there - used);
		const struct xdp_desc *d = xsk_ring_cons__rx_desc(&x->rx, at + used);

		if (!pieces || (pieces > 1 && x->n_linear == BURST))
			break;
		out[got++] = pieces == 1 ? (struct frame){x->area + d->addr, d->len, 0} : join(x, at + used, pieces);
		for (uint32_t i = 0; i < pieces; i++)
			x->held[x->n_held++] = xsk_ring_cons__rx_desc(&x->rx, at + used + i)->addr;
		used += pieces;
	}
	xsk_ring_cons__cancel(&x->rx, there - used);
	xsk_ring_cons__release(&x->rx, used);
	return got;
}

void xsock_give_back(struct xsock *x)
{
	uint32_t at;

	if (x->n_held && xsk_ring_prod__reserve(&x->fill, x->n_held, &at)) { // it has room for every chunk there is
		for (uint32_t i = 0; i < x->n_held; i++)
			*xsk_ring_prod__fill_addr(&x->fill, at + i) = x->held[i] & ~(uint64_t)(x->chunk - 1);
		xsk_ring_prod__submit(&x->fill, x->n_held);
		x->n_held = 0;
	}
	x->n_linear = 0;
	if (UNLIKELY(xsk_ring_prod__needs_wakeup(&x->fill)))
		recvfrom(xsock_fd(x), NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

// ---- send ----

static uint32_t reap(struct xsock *x)
{
	uint32_t at, n = xsk_ring_cons__peek(&x->done, TX_CHUNKS, &at);

	for (uint32_t i = 0; i < n; i++)
		x->free[x->n_free++] = *xsk_ring_cons__comp_addr(&x->done, at + i);
	if (n)
		xsk_ring_cons__release(&x->done, n);
	return n;
}

static uint32_t unsent(const struct xsock *x)
{
	return x->tx.cached_prod - LOAD(x->tx.consumer);
}

// A call takes a limited number of descriptors and answers EAGAIN when there are more, when the
// interface's queue is full, or when we have not yet taken back what was sent. Goes on as long as
// that leads anywhere; what stays in the ring is pushed at the next look.
static int kick(struct xsock *x)
{
	int rc = 0;

	for (uint32_t i = 0, before = unsent(x); i < KICKS && before && xsk_ring_prod__needs_wakeup(&x->tx); i++) {
		rc = sendto(xsock_fd(x), NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 ? -errno : 0;
		uint32_t reaped = reap(x), now = unsent(x);

		x->down = rc == -ENETDOWN || rc == -ENXIO;
		if (x->down || (now == before && !reaped))
			break;
		before = now;
	}
	return rc;
}

// The frame lies in the ring, or there was no room for it.
static bool enqueue(struct xsock *x, const struct frame *f)
{
	uint32_t pieces = (f->len + x->chunk - 1) / x->chunk, at;

	if (x->n_free < pieces || !xsk_ring_prod__reserve(&x->tx, pieces, &at))
		return false;
	for (uint32_t i = 0, off = 0; i < pieces; i++, off += x->chunk) {
		struct xdp_desc *d = xsk_ring_prod__tx_desc(&x->tx, at + i);

		*d = (struct xdp_desc){.addr = x->free[--x->n_free], .len = MIN(f->len - off, x->chunk), .options = i + 1 < pieces ? XDP_PKT_CONTD : 0};
		memcpy(x->area + d->addr, f->data + off, d->len);
	}
	xsk_ring_prod__submit(&x->tx, pieces);
	return true;
}

static void refuse_all(struct frame *frames, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		frames[i].flags = FRAME_REFUSED;
}

// While the interface is down one burst waits in the ring, the others are refused.
static void send_burst(struct xsock *x, struct frame *frames, uint32_t n)
{
	uint32_t longest = x->pieces ? PCGDP_FRAME_MAX : x->chunk;

	reap(x);
	if (UNLIKELY(x->down)) {
		x->down = false;
		kick(x);
		if (x->down) {
			refuse_all(frames, n);
			return;
		}
	}
	for (uint32_t i = 0; i < n; i++) {
		bool fits = frames[i].len && frames[i].len <= longest;

		if (LIKELY(fits && enqueue(x, &frames[i])))
			continue;
		if (fits)
			kick(x);
		if (!fits || !enqueue(x, &frames[i]))
			frames[i].flags = FRAME_REFUSED;
	}
	if (kick(x) == -ENXIO) // the interface was deleted
		refuse_all(frames, n);
}

void xsock_tx(struct xsock *x, struct frame *frames, uint32_t n)
{
	spin_lock(&x->lock);
	send_burst(x, frames, n);
	spin_unlock(&x->lock);
}

void xsock_push(struct xsock *x)
{
	if (LIKELY(!unsent(x)))
		return;
	spin_lock(&x->lock);
	kick(x);
	spin_unlock(&x->lock);
}
