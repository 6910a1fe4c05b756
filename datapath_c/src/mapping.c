// SPDX-License-Identifier: Apache-2.0
// mapping.c - see mapping.h. Any worker may call anything here.

#include "mapping.h"

struct in_query {
	const struct mapping_table *t;
	const union key *k;
};

static union key in_key(const struct mapping *m)
{
	return mapping_in_key(m->src, m->sport, m->domain_proto, m->nat_id);
}

// A dying record does not count as there: its inside endpoint may be mapped anew beside it.
static bool in_is(const void *ctx, uint32_t m)
{
	const struct in_query *q = ctx;

	const union key in = in_key(&q->t->m[m]);

	return key_equal(&in, q->k) && LOAD(&q->t->m[m].sessions);
}

static bool out_is(const void *ctx, uint32_t m)
{
	const struct in_query *q = ctx;
	const struct mapping *r = &q->t->m[m];

	return r->out_addr == q->k->src && r->out_port == q->k->sport && (r->further ? r->peer : 0) == q->k->dst &&
		(r->domain_proto & 0xff) == q->k->domain_proto && LOAD(&r->sessions);
}

union key mapping_out_key(be32 addr, be16 port, uint8_t proto)
{
	union key k = {.src = addr, .dst = 0, .sport = port, .dport = 0, .domain_proto = proto};

	return k;
}

// Of a further peer: its mapping's outside endpoint, and the peer's address, which is never 0.
static union key further_key(const struct mapping *m, be32 peer)
{
	union key k = mapping_out_key(m->out_addr, m->out_port, (uint8_t)m->domain_proto);

	k.dst = peer;
	return k;
}

static union key out_key(const struct mapping *m)
{
	return further_key(m, m->further ? m->peer : 0);
}

uint32_t mapping_find_in(const struct mapping_table *t, const union key *in, uint64_t hash)
{
	struct in_query q = {t, in};

	return sigtab_find(&t->by_in, hash, in_is, &q);
}

uint32_t mapping_find_out(const struct mapping_table *t, be32 addr, be16 port, uint8_t proto)
{
	union key k = mapping_out_key(addr, port, proto);
	struct in_query q = {t, &k};

	return sigtab_find(&t->by_out, hash_key(t->secret, &k), out_is, &q);
}

bool mapping_hold(struct mapping_table *t, uint32_t m)
{
	uint32_t n = LOAD(&t->m[m].sessions);

	while (n)
		if (__atomic_compare_exchange_n(&t->m[m].sessions, &n, n + 1, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return true;
	return false;
}

bool mapping_unhold(struct mapping_table *t, uint32_t m)
{
	uint32_t n = LOAD(&t->m[m].sessions);

	while (n > 1)
		if (__atomic_compare_exchange_n(&t->m[m].sessions, &n, n - 1, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return true;
	return false;
}

uint32_t mapping_take(struct mapping_table *t, uint32_t *numbers, uint32_t n)
{
	uint32_t got = 0, head;

	spin_lock(t->lock);
	for (head = *t->free_head; got < n && head != NONE; got++) {
		numbers[got] = head;
		head = t->m[head].next_free;
	}
	*t->free_head = head;
	for (; got < n && *t->high < t->n; got++)
		numbers[got] = (*t->high)++;
	*t->live += got;
	spin_unlock(t->lock);
	if (head != NONE)
		PREFETCH_W(&t->m[head]);
	return got;
}

void mapping_give(struct mapping_table *t, const uint32_t *numbers, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		STORE(&t->m[numbers[i]].sessions, 0);
	spin_lock(t->lock);
	for (uint32_t i = 0; i < n; i++) {
		t->m[numbers[i]].next_free = *t->free_head;
		*t->free_head = numbers[i];
	}
	*t->live -= n;
	spin_unlock(t->lock);
}

int mapping_publish(struct mapping_table *t, uint32_t m, uint64_t hash, uint32_t *there)
{
	struct mapping *r = &t->m[m];
	union key out = out_key(r), in = in_key(r);
	struct in_query qi = {t, &in}, qo = {t, &out};
	uint64_t ho = hash_key(t->secret, &out);
	uint32_t other;
	int rc;

	rc = sigtab_insert(&t->by_in, hash, m, in_is, &qi, there);
	if (rc)
		return rc == 1 ? -EEXIST : rc;
	// The port was allocated to us alone, so the outside key is taken only where a public address
	// has changed its index and still has mappings under the old one.
	rc = sigtab_insert(&t->by_out, ho, m, out_is, &qo, &other);
	if (!rc)
		return 0;
	sigtab_remove(&t->by_in, hash, m);
	return rc == 1 ? -EADDRINUSE : -EXFULL;
}

bool mapping_release(struct mapping_table *t, uint32_t m)
{
	struct mapping *r = &t->m[m];
	union key out = out_key(r), in = in_key(r);

	if (__atomic_sub_fetch(&r->sessions, 1, __ATOMIC_ACQ_REL))
		return false;
	if (!r->further)
		sigtab_remove(&t->by_in, hash_key(t->secret, &in), m);
	sigtab_remove(&t->by_out, hash_key(t->secret, &out), m);
	return true;
}

void mapping_retire(struct mapping_table *t, uint32_t m)
{
	union key in = in_key(&t->m[m]);

	sigtab_remove(&t->by_in, hash_key(t->secret, &in), m);
}

// ---- the filter ----

static uint32_t find_further(const struct mapping_table *t, const struct mapping *m, be32 peer)
{
	union key k = further_key(m, peer);
	struct in_query q = {t, &k};

	return sigtab_find(&t->by_out, hash_key(t->secret, &k), out_is, &q);
}

// 0; 1: another worker was first; -ENOSPC
static int make_further(struct mapping_table *t, const struct mapping *m, be32 peer, uint32_t f)
{
	union key k = further_key(m, peer);
	struct in_query q = {t, &k};
	uint32_t there;

	t->m[f] = (struct mapping){.domain_proto = m->domain_proto, .out_addr = m->out_addr, .out_port = m->out_port, .peer = peer, .further = 1};
	STORE(&t->m[f].sessions, 1);
	return sigtab_insert(&t->by_out, hash_key(t->secret, &k), f, out_is, &q, &there);
}

int mapping_open_to_further(struct mapping_table *t, const struct mapping *m, be32 peer, uint32_t spare)
{
	int rc = 1;

	while (rc == 1) {
		uint32_t f = find_further(t, m, peer);

		if (f != NONE && mapping_hold(t, f))
			return 0;
		rc = spare == NONE ? -ENOSPC : make_further(t, m, peer, spare);
	}
	if (rc)
		return rc;
	ADD(t->further, 1);
	return 1;
}

void mapping_close_to(struct mapping_table *t, uint32_t m, be32 peer)
{
	uint32_t f;

	if (t->m[m].peer == peer) {
		__atomic_fetch_sub(&t->m[m].open, 1, __ATOMIC_ACQ_REL);
		return;
	}
	f = find_further(t, &t->m[m], peer);
	if (f == NONE || !mapping_release(t, f))
		return;
	spin_lock(t->lock);
	t->m[f].next_free = t->limbo;
	t->limbo = f;
	spin_unlock(t->lock);
}

uint32_t mapping_open_sessions(const struct mapping_table *t, uint32_t m, be32 peer)
{
	uint32_t f;

	if (t->m[m].peer == peer)
		return LOAD(&t->m[m].open);
	f = find_further(t, &t->m[m], peer);
	return f == NONE ? 0 : LOAD(&t->m[f].sessions);
}

bool mapping_may_open_to(const struct mapping_table *t, uint32_t m, be32 peer)
{
	return t->m[m].peer == peer || mapping_open_sessions(t, m, peer) || PEEK(t->live) < t->n;
}

uint32_t mapping_limbo_take(struct mapping_table *t)
{
	uint32_t list;

	spin_lock(t->lock);
	list = t->limbo;
	t->limbo = NONE;
	spin_unlock(t->lock);
	return list;
}

void mapping_limbo_give(struct mapping_table *t, uint32_t list)
{
	uint32_t last = list, n = 1;

	if (list == NONE)
		return;
	for (; t->m[last].next_free != NONE; n++)
		last = t->m[last].next_free;
	ADD(t->further, -n);
	spin_lock(t->lock);
	t->m[last].next_free = *t->free_head;
	*t->free_head = list;
	*t->live -= n;
	spin_unlock(t->lock);
}
