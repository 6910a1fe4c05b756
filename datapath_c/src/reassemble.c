// SPDX-License-Identifier: Apache-2.0
// reassemble.c - fragments put together: the packet goes on only when it is whole (RFC 791).
//
//   in:   parse_outer, parse_inner: a piece -> [reassemble] -> the whole, at the same place
//
// Whole, and not piece by piece with the first one's session: then a NAT's checksums, ICMP errors,
// the rules' ports and the path's MTU are right without a word about fragments anywhere else, no
// header can hide in a later piece (RFC 1858, RFC 3128), and order does not matter (RFC 4787
// REQ-14). It costs a copy, and at most 64 KiB for each datagram under way.
//
// A piece is copied to where it belongs; a bit for each 8 bytes says what is there. Pieces that
// overlap end their datagram, and what still comes of it ends too (RFC 5722 section 4, which we
// keep for IPv4 as well; RFC 791 let the later one win, and every middlebox has been fooled by
// that). The same piece twice is only that: the second is dropped.
//
// Bounded: DATAGRAMS of a kind; no piece costs more than its own copy and a look at each sender's share.
// Fair: when they are full, the oldest of the sender with most goes. Who may be that is known, but on the uplink.

#include "reassemble.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "answer.h"
#include "csum.h"
#include "datagram.h"
#include "dp.h"
#include "mail.h"
#include "shares.h"

enum {
	PREFIX_MAX = 384, // before the IP header: outer Ethernet, IPv4, UDP, Geneve, their options, inner Ethernet
	IP_AT = HEADROOM + PREFIX_MAX,
	ROOM = 66112,     // of one datagram: IP_AT, 65,535 and up to an odd multiple of 64 bytes
	CHAINS = 256,
	NOWHERE = 0xffff,
};

_Static_assert(IP_AT + 65535 <= ROOM && ROOM % 128 == 64, "a datagram's room");
_Static_assert(ETH_HLEN_ + 60 + UDP_HLEN + GENEVE_HLEN + 63 * 4 + ETH_HLEN_ <= PREFIX_MAX, "the longest headers");

enum { FREE, WAITING, ENDED, COMPLETE }; // ENDED: holds nothing, only that what still comes is dropped

struct datagram {
	union key key; // addresses, protocol, domain; sport: the identification; dport: the kind
	uint64_t first_ns;
	uint8_t state, nic, ecn_seen; // ecn_seen: a bit for each codepoint
	bool has_first;
	uint16_t chain, older, newer; // places; `newer` also links what is free, or complete
	uint16_t share;   // of its sender
	uint16_t pieces;  // frames held
	uint16_t longest, longest_df; // of the pieces, as IP packets; of those with DF
	uint16_t l3;      // bytes before the IP header
	uint32_t vni;     // of the segment it came from; 0: none
	be32 outer_src;
	struct extent extent;
};

struct pool {
	uint16_t head[CHAINS], free, done, oldest, newest;
	struct shares shares; // of those in the order of age
	struct datagram d[DATAGRAMS];
};

struct reassembly {
	uint32_t busy; // datagrams that are not free, of all kinds
	struct pool pool[N_FRAGMENT_KINDS];
	uint8_t room[N_FRAGMENT_KINDS][DATAGRAMS][ROOM];
};

struct reassembly *reassembly_new(void)
{
	// what no datagram has touched takes no memory
	struct reassembly *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (r == MAP_FAILED)
		return NULL;
	for (uint32_t k = 0; k < N_FRAGMENT_KINDS; k++) {
		struct pool *pool = &r->pool[k];

		memset(pool->head, 0xff, sizeof(pool->head));
		pool->done = pool->oldest = pool->newest = NOWHERE;
		for (uint16_t i = 0; i < DATAGRAMS; i++)
			pool->d[i].newer = i + 1 < DATAGRAMS ? i + 1 : NOWHERE;
	}
	return r;
}

void reassembly_free(struct reassembly *r)
{
	if (r)
		munmap(r, sizeof(*r));
}

bool reassembly_idle(const struct worker *w)
{
	return !w->reassembly->busy;
}

// ---- places ----

static uint16_t *chain_of(const struct worker *w, struct pool *pool, const union key *k)
{
	return &pool->head[hash_key(&w->dp->arena.head->secret, k) % CHAINS];
}

static struct datagram *find(const struct worker *w, struct pool *pool, const union key *k)
{
	for (uint16_t i = *chain_of(w, pool, k); i != NOWHERE; i = pool->d[i].chain)
		if (key_equal(&pool->d[i].key, k))
			return &pool->d[i];
	return NULL;
}

// Out of its chain and out of the order of age; it still has its place.
static void unlink_datagram(struct worker *w, struct pool *pool, struct datagram *d)
{
	uint16_t place = (uint16_t)(d - pool->d), *at = chain_of(w, pool, &d->key);

	while (*at != place)
		at = &pool->d[*at].chain;
	*at = d->chain;
	*(d->older == NOWHERE ? &pool->oldest : &pool->d[d->older].newer) = d->newer;
	*(d->newer == NOWHERE ? &pool->newest : &pool->d[d->newer].older) = d->older;
	share_give(&pool->shares, d->share);
}

static uint8_t *ip_of(const struct worker *w, const struct datagram *d, uint32_t kind)
{
	return w->reassembly->room[kind][d - w->reassembly->pool[kind].d] + IP_AT;
}

// Every frame that it holds ends by this reason.
static void give_up(struct worker *w, const struct datagram *d, uint32_t kind, enum reason reason)
{
	struct pkt p = {.data = ip_of(w, d, kind) - d->l3, .l3 = d->l3, .nic = d->nic, .reason = (uint8_t)reason, .proto = (uint8_t)d->key.domain_proto,
		.outer_src = d->outer_src, .key = d->key, .segment = segment_of_vni(w->cfg, d->vni)};

	p.vrf = p.segment ? p.segment->rec.vrf : d->key.domain_proto >> 9;
	p.len = d->l3 + IP_HLEN + (d->has_first ? 8u : 0);
	p.key.sport = p.key.dport = 0; // there they tell datagrams apart
	if (reason == R_FRAGMENT_TIMEOUT && d->state == WAITING && d->has_first && (kind == FRAGMENT_INNER || kind == FRAGMENT_UPLINK)) {
		p.flags = kind == FRAGMENT_UPLINK ? PF_UPLINK : 0;
		p.ip_len = ntohs(pkt_ip(&p)->len);
		reassembly_error(w, &p);
	}
	ledger_drops(w, &p, d->pieces);
	BUMP(&w->c.drops[reason], d->pieces);
	BUMP(&w->c.held, -(uint64_t)d->pieces);
}

static void give_back(struct worker *w, struct pool *pool, struct datagram *d)
{
	d->state = FREE;
	d->newer = pool->free;
	pool->free = (uint16_t)(d - pool->d);
	w->reassembly->busy--;
}

static void take_from(struct worker *w, uint32_t kind, struct datagram *d, enum reason reason)
{
	struct pool *pool = &w->reassembly->pool[kind];

	give_up(w, d, kind, reason);
	unlink_datagram(w, pool, d);
	give_back(w, pool, d);
}

// Of who comes the share is counted already. One waits: a call that completed them all would be at its end.
static void give_up_one(struct worker *w, uint32_t kind)
{
	struct pool *pool = &w->reassembly->pool[kind];
	uint16_t most = share_most(&pool->shares), place = pool->oldest;

	while (pool->shares.n[pool->d[place].share] < most)
		place = pool->d[place].newer;
	take_from(w, kind, &pool->d[place], R_FRAGMENTS_FULL);
}

static struct datagram *begin(struct worker *w, const struct pkt *p, uint32_t kind, const union key *k)
{
	struct pool *pool = &w->reassembly->pool[kind];
	uint16_t place, *head = chain_of(w, pool, k), share = share_take(&pool->shares, k->src, k->domain_proto >> 8);
	struct datagram *d;

	if (pool->free == NOWHERE)
		give_up_one(w, kind);
	place = pool->free;
	d = &pool->d[place];
	pool->free = d->newer;
	*d = (struct datagram){*k, .first_ns = w->now_ns, .state = WAITING, .nic = p->nic, .chain = *head, .older = pool->newest, .newer = NOWHERE, .share = share};
	*head = place;
	*(pool->newest == NOWHERE ? &pool->oldest : &pool->d[pool->newest].newer) = place;
	pool->newest = place;
	w->reassembly->busy++;
	return d;
}

// ---- one piece ----

// Of the first piece: the header that the whole will have, and what stands before it. Until that
// comes any piece's, so that there is something to show when it never does.
static void take_header(const struct pkt *p, struct datagram *d, uint8_t *ip)
{
	d->l3 = p->l3;
	memcpy(ip - d->l3, p->data, d->l3 + (uint32_t)IP_HLEN);
	ip[0] = 0x45; // an outer header's options are read by nobody
	d->vni = p->segment ? p->segment->rec.vni : 0;
	d->outer_src = p->outer_src;
}

static void take_piece(const struct pkt *p, struct datagram *d, uint8_t *whole, const struct piece *piece, const uint8_t *data)
{
	const struct ip_hdr *ip = pkt_ip(p);

	if (!piece->at || !d->extent.units)
		take_header(p, d, whole);
	memcpy(whole + IP_HLEN + piece->at, data, piece->len);
	extent_add(&d->extent, piece);
	d->has_first |= !piece->at;
	d->longest = p->ip_len > d->longest ? p->ip_len : d->longest;
	if (ntohs(ip->frag) & IP_DF && p->ip_len > d->longest_df)
		d->longest_df = p->ip_len;
	d->ecn_seen |= (uint8_t)(1u << (ip->tos & ECN_MASK));
}

// ---- the whole ----

// RFC 3168 section 5.3: congestion that any piece met is the whole's; with a piece whose sender
// does not speak ECN it can only be told by a drop.
static bool merge_ecn(const struct datagram *d, struct ip_hdr *ip)
{
	if (!(d->ecn_seen & 1u << ECN_CE))
		return true;
	ip->tos |= ECN_CE;
	return !(d->ecn_seen & 1);
}

// p was its last piece; those held so far have become part of it. DF as the longest piece had it:
// its sender wants to hear of a path too narrow for pieces of that size.
static enum pcgdp_verdict complete(struct worker *w, struct pkt *p, struct datagram *d, uint32_t kind)
{
	struct pool *pool = &w->reassembly->pool[kind];
	struct ip_hdr *ip = (void *)ip_of(w, d, kind);
	bool congested = !merge_ecn(d, ip);

	unlink_datagram(w, pool, d);
	d->state = COMPLETE;
	d->newer = pool->done;
	pool->done = (uint16_t)(d - pool->d);
	BUMP(&w->c.joined, d->pieces);
	BUMP(&w->c.held, -(uint64_t)d->pieces);

	ip->len = htons((uint16_t)(IP_HLEN + d->extent.end));
	ip->frag = d->longest == d->longest_df ? htons(IP_DF) : 0;
	ip->csum = 0;
	ip->csum = (uint16_t)~csum_ip_words(ip);
	p->data = (uint8_t *)ip - d->l3;
	p->l3 = d->l3;
	p->ip_len = (uint16_t)(IP_HLEN + d->extent.end);
	p->len = (uint32_t)p->l3 + p->ip_len;
	p->flags = (uint16_t)((p->flags & ~(PF_CSUM_OK | PF_CSUM_PARTIAL)) | PF_WHOLE); // said of the piece
	return congested ? drop(p, R_ECN_CONGESTED) : PCGDP_NEXT;
}

// All of a datagram meet at one worker, whichever queue each piece came by.
static uint32_t owner_of(const struct worker *w, const union key *k)
{
	uint32_t n = w->dp->params.workers;

	return w->id < n ? (uint32_t)(hash_key(&w->dp->arena.head->secret, k) >> 32) % n : w->id; // inject's are its own
}

enum pcgdp_verdict reassemble(struct worker *w, struct pkt *p, enum fragment_kind kind, uint32_t domain)
{
	const struct ip_hdr *ip = pkt_ip(p);
	const uint8_t *data = (const uint8_t *)ip + (ip->ver_ihl & 15u) * 4;
	union key k = {.src = ip->src, .dst = ip->dst, .sport = ip->id, .dport = (be16)kind, .domain_proto = domain << 8 | ip->proto};
	uint32_t owner = owner_of(w, &k);
	struct datagram *d;
	struct piece piece;
	uint8_t *whole;
	enum fit fit;

	if (!piece_of(pkt_ip(p), p->ip_len, &piece))
		return drop(p, R_FRAGMENT_BAD);
	if (w->dry)
		return PCGDP_HELD;
	if (owner != w->id)
		return mail_send(w, owner, p) ? PCGDP_HELD : drop(p, R_FRAGMENTS_FULL);
	d = find(w, &w->reassembly->pool[kind], &k);
	if (!d)
		d = begin(w, p, kind, &k);
	if (d->state == ENDED)
		return drop(p, R_FRAGMENT_OVERLAP);
	whole = ip_of(w, d, kind);
	fit = how_it_fits(&d->extent, whole + IP_HLEN, &piece, data);
	if (fit == TWICE)
		return drop(p, R_FRAGMENT_DUPLICATE);
	if (fit == CLASHES) {
		give_up(w, d, kind, R_FRAGMENT_OVERLAP);
		d->pieces = 0;
		d->state = ENDED;
		return drop(p, R_FRAGMENT_OVERLAP);
	}
	take_piece(p, d, whole, &piece, data);
	if (extent_whole(&d->extent))
		return complete(w, p, d, kind);
	d->pieces++;
	BUMP(&w->c.held, 1);
	return PCGDP_HELD;
}

void reassembly_expire(struct worker *w)
{
	uint64_t limit = (uint64_t)REASSEMBLY_S * REASSEMBLY_NS_PER_S;

	for (uint32_t k = 0; k < N_FRAGMENT_KINDS; k++) {
		struct pool *pool = &w->reassembly->pool[k];

		while (pool->oldest != NOWHERE && w->now_ns >= pool->d[pool->oldest].first_ns + limit) {
			take_from(w, k, &pool->d[pool->oldest], R_FRAGMENT_TIMEOUT);
			if (w->made.n >= BURST)
				send_made(w);
		}
	}
	send_made(w);
}

void reassembly_release(struct worker *w)
{
	for (uint32_t k = 0; k < N_FRAGMENT_KINDS; k++) {
		struct pool *pool = &w->reassembly->pool[k];

		while (pool->done != NOWHERE) {
			struct datagram *d = &pool->d[pool->done];

			pool->done = d->newer;
			give_back(w, pool, d);
		}
	}
}

uint32_t reassembled_piece(const struct worker *w, const struct pkt *p)
{
	const struct reassembly *r = w->reassembly;
	uint64_t place = (uint64_t)(p->data + p->l3 - r->room[0][0]) / ROOM; // of all kinds', one behind the other

	return r->pool[place / DATAGRAMS].d[place % DATAGRAMS].longest_df;
}
