// SPDX-License-Identifier: Apache-2.0
// mail.c - see mail.h.

#include "mail.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dp.h"
#include "ring.h"

struct envelope {
	struct ring_item item; // its size a multiple of LINE
	uint32_t flags, role;
};

enum { FRAME_AT = LINE + HEADROOM };

_Static_assert(sizeof(struct envelope) <= LINE, "in front of the headroom");
_Static_assert(LANE_BYTES > 2 * (FRAME_AT + ETH_HLEN_ + 65535 + LINE), "even the longest packet put together fits");

static size_t box_bytes(uint32_t workers)
{
	return sizeof(struct mailbox) + workers * sizeof(struct mail_lane);
}

struct mailbox *mailbox_new(uint32_t workers)
{
	// what nobody has written to takes no memory
	struct mailbox *box = mmap(NULL, box_bytes(workers), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (box == MAP_FAILED)
		return NULL;
	box->n = workers;
	box->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (box->fd < 0) {
		munmap(box, box_bytes(workers));
		return NULL;
	}
	return box;
}

void mailbox_free(struct mailbox *box)
{
	if (!box)
		return;
	close(box->fd);
	munmap(box, box_bytes(box->n));
}

// ---- the writer ----

bool mail_send(struct worker *w, uint32_t to, const struct pkt *p)
{
	struct mailbox *box = w->dp->boxes[to];
	struct mail_lane *l = &box->lane[w->id];
	uint32_t size = (FRAME_AT + p->len + LINE - 1) & ~(uint32_t)(LINE - 1);
	struct envelope *e = ring_room(l->at, LANE_BYTES, &l->head, &l->tail, size);
	uint64_t one = 1;

	if (!e)
		return false;
	*e = (struct envelope){.item = {p->len, size}, .flags = p->flags & (PF_CSUM_OK | PF_CSUM_PARTIAL | PF_COUNTED), .role = p->nic};
	memcpy((uint8_t *)e + FRAME_AT, p->data, p->len);
	BUMP(&w->c.held, 1);
	STORE(&l->head, l->head + size);
	__atomic_fetch_add(&box->sent, 1, __ATOMIC_SEQ_CST); // it sees the frame, or we see that it sleeps
	if (__atomic_load_n(&box->asleep, __ATOMIC_SEQ_CST) && write(box->fd, &one, sizeof(one)) < 0)
		return true; // the counter is full, so it is awake
	return true;
}

// ---- the reader ----

// Frames of one role, as many as one call of run_frames() may complete datagrams for.
static uint32_t take(struct mail_lane *l, uint64_t *at, uint32_t *role, struct frame *frames)
{
	uint64_t head = LOAD(&l->head);
	uint32_t n = 0;

	while (*at != head && n < RX_MAX) {
		const struct envelope *e = ring_at(l->at, LANE_BYTES, *at);

		if (e->item.len) {
			if (n && e->role != *role)
				break;
			*role = e->role;
			frames[n++] = (struct frame){.data = (uint8_t *)(uintptr_t)e + FRAME_AT, .len = e->item.len, .flags = e->flags};
		}
		*at += e->item.size;
	}
	return n;
}

uint32_t mail_serve(struct worker *w)
{
	struct mailbox *box = w->dp->boxes[w->id];
	struct frame frames[RX_MAX];
	uint32_t most = 0;

	w->by_mail = true;
	for (uint32_t i = 0; i < box->n; i++) {
		struct mail_lane *l = &box->lane[i];
		uint64_t at = l->tail;
		uint32_t role = 0, n = take(l, &at, &role, frames);

		BUMP(&w->c.held, -(uint64_t)n);
		run_frames(w, role, frames, n);
		STORE(&l->tail, at);
		box->taken += n;
		most = n > most ? n : most;
	}
	w->by_mail = false;
	return most;
}
