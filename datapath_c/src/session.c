// SPDX-License-Identifier: Apache-2.0
// session.c - life and death of sessions; see the theory in session.h.

#include "session.h"

bool session_key_is(const void *ctx, uint32_t number)
{
	const struct session_query *q = ctx;

	return key_equal(&q->t->e[number].key, q->k);
}

// Any thread. The free list and the high-water mark share one spin lock; a worker takes as many as
// the first packets of its burst need, and gives back what they did not.
uint32_t session_take(struct session_table *t, uint32_t *numbers, uint32_t n)
{
	uint32_t got = 0, head;

	spin_lock(t->lock);
	for (head = *t->free_head; got < n && head != NONE; got++) {
		numbers[got] = head;
		head = t->cold[head].next_free;
	}
	*t->free_head = head;
	for (; got < n && *t->high < t->n; got++)
		numbers[got] = (*t->high)++;
	*t->live += got;
	spin_unlock(t->lock);
	if (head != NONE)
		PREFETCH_W(&t->cold[head]);
	return got;
}

void session_give(struct session_table *t, const uint32_t *numbers, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		STORE(&t->cold[numbers[i]].state, S_FREE);
	spin_lock(t->lock);
	for (uint32_t i = 0; i < n; i++) {
		t->cold[numbers[i]].next_free = *t->free_head;
		*t->free_head = numbers[i];
	}
	*t->live -= n;
	spin_unlock(t->lock);
}

int session_publish(struct session_table *t, uint32_t s, uint64_t hash, uint64_t reply_hash, uint32_t *there)
{
	struct entry *fwd = &t->e[2 * s], *rev = fwd + 1;
	struct session_query qf = {t, &fwd->key}, qr = {t, &rev->key};
	uint32_t other;
	int rc;

	// The reply's key first: once the initiator's can be found, its packets go out and may be
	// answered on another worker at once.
	rc = sigtab_insert(&t->index, reply_hash, 2 * s + 1, session_key_is, &qr, &other);
	if (rc == 1) {
		// Two first packets of one flow on two workers share a mapping, hence the reply's key; the
		// other's entries were filled before their keys could be found.
		*there = other ^ 1;
		return key_equal(&t->e[other ^ 1].key, &fwd->key) ? -EEXIST : -EADDRINUSE;
	}
	if (rc)
		return rc;
	rc = sigtab_insert(&t->index, hash, 2 * s, session_key_is, &qf, there);
	if (rc) {
		sigtab_remove(&t->index, reply_hash, 2 * s + 1);
		return rc == 1 ? -EEXIST : rc;
	}
	t->cold[s].published = 1;
	STORE(&t->cold[s].state, S_LIVE);
	return 0;
}

bool session_leave(struct session_table *t, uint32_t s)
{
	uint8_t live = S_LIVE;

	return __atomic_compare_exchange_n(&t->cold[s].state, &live, S_LEAVING, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

// DYING comes last: housekeeping waits for those who are at work then, not for who begins later and
// would still find it.
bool session_unlink(struct session_table *t, uint32_t s)
{
	if (!session_leave(t, s))
		return false;
	for (uint32_t i = 2 * s; i <= 2 * s + 1; i++)
		sigtab_remove(&t->index, hash_key(t->secret, &t->e[i].key), i);
	STORE(&t->cold[s].state, S_DYING);
	return true;
}

void session_replace(struct session_table *t, uint32_t leaving, uint32_t s)
{
	for (uint32_t i = 0; i < 2; i++)
		sigtab_replace(&t->index, hash_key(t->secret, &t->e[2 * s + i].key), 2 * leaving + i, 2 * s + i);
	t->cold[s].published = 1;
	STORE(&t->cold[s].state, S_LIVE);
	STORE(&t->cold[leaving].state, S_DYING);
}

enum pcgdp_tcp_state session_tcp_state(const struct session_table *t, uint32_t s)
{
	uint8_t fwd = PEEK(&t->e[2 * s].tcp_flags), rev = PEEK(&t->e[2 * s + 1].tcp_flags);

	if (proto_of(&t->e[2 * s].key) != IPP_TCP)
		return PCGDP_TCP_NONE;
	if ((fwd | rev) & TCP_RST || (fwd & rev & TCP_FIN))
		return PCGDP_TCP_CLOSING;
	// established: SYN and ACK seen from both sides
	if ((fwd & rev & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
		return PCGDP_TCP_ESTABLISHED;
	return PCGDP_TCP_OPENING;
}

// Seconds, by what was seen (RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508 REQ-2, RFC 7857 section 2.1
// for what follows a RST).
static const uint32_t timeouts[PCGDP_TIMERS] = {
	[PCGDP_TIMER_TCP_OPENING] = 240,
	[PCGDP_TIMER_TCP_ESTABLISHED] = 7440,
	[PCGDP_TIMER_TCP_CLOSING] = 240,
	[PCGDP_TIMER_UDP] = 300,
	[PCGDP_TIMER_ICMP] = 60,
	[PCGDP_TIMER_OTHER] = 300,
};

static enum pcgdp_timer timer_of(const struct session_table *t, uint32_t s)
{
	switch (proto_of(&t->e[2 * s].key)) {
	case IPP_TCP:
		return PCGDP_TIMER_TCP_OPENING + session_tcp_state(t, s) - PCGDP_TCP_OPENING;
	case IPP_UDP:
		return PCGDP_TIMER_UDP;
	case IPP_ICMP:
		return PCGDP_TIMER_ICMP;
	default:
		return PCGDP_TIMER_OTHER;
	}
}

_Static_assert(PCGDP_TCP_CLOSING - PCGDP_TCP_OPENING == PCGDP_TIMER_TCP_CLOSING - PCGDP_TIMER_TCP_OPENING, "in the same order");

uint32_t session_timeout_s(const struct session_table *t, uint32_t s, const uint32_t *of_rule)
{
	enum pcgdp_timer timer = timer_of(t, s);
	uint32_t own_s = PEEK(&of_rule[timer]);

	return own_s ? own_s : timeouts[timer];
}

// A new process: nobody else touches the table yet. Sessions that were being made or ended when
// the old one died are taken out, their places freed; every one that lives is decided again.
void session_attach(struct session_table *t)
{
	*t->lock = 0;
	*t->live = 0;
	*t->free_head = NONE;
	sigtab_attach(&t->index);
	for (uint32_t s = 0; s < *t->high; s++) {
		if (t->cold[s].state == S_LIVE) {
			t->e[2 * s].mark = t->e[2 * s + 1].mark = MARK_ASK;
			(*t->live)++;
			continue;
		}
		if (t->cold[s].state != S_FREE)
			for (uint32_t i = 2 * s; i <= 2 * s + 1; i++)
				sigtab_remove(&t->index, hash_key(t->secret, &t->e[i].key), i);
		t->cold[s].state = S_FREE;
		t->cold[s].next_free = *t->free_head;
		*t->free_head = s;
	}
}
