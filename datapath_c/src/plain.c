// SPDX-License-Identifier: Apache-2.0
// plain.c - nearly every packet: of a known session, and nothing odd about it.
//
//   in:   rx -> [plain_burst] -> tx      what is not plain: rx -> parse_outer, parse_uplink ...
//
// The stages ask one question after the other, so that whoever is refused learns why. Here all
// their questions are asked at once, without a branch, and the answer is only yes or no: a packet
// for which any of them is open goes through the stages. So nothing is refused here, made here or
// decided here, and what is forwarded is what the stages would have forwarded, byte for byte and
// counter for counter (tests/c/test_plain.py). Traced packets take the stages.
//
// A session says what was decided once. Between a commit and the walk that decides again (marks.c) that
// may be out of date: then what leaves by the uplink is asked what the last stage would ask, so that
// no source leaves that may not any more. Otherwise nothing is paid for it.
//
// Loops over the burst, as the stages: headers, bucket, entry, slot, adjacency; each asked for in
// one loop, used in the next. The stages come after the whole burst, so that of one flow nothing
// goes past them once one of its packets waits for them: order is kept.

#include "plain.h"

#include "behind.h"
#include "dhcp.h"
#include "dp.h"
#include "plain_parse.h"
#include "rewrite.h"
#include "seen.h"

enum odd { NOT_ODD, NEWS, UNPARSED }; // NEWS: to a session, but well formed

// What of the worker and the policy each packet needs.
struct here {
	struct worker *w;
	const struct arena *a;
	const struct shape *shape;
	bool tunnel, there[2]; // there: is the port of each role open, and nothing else to be asked
	bool unjudged; // a policy is in force by which not every session has been decided
};

// ---- one packet, step by step ----

static inline void know(const struct here *h, struct plain *q, uint8_t *ip, uint32_t domain)
{
	q->ip = ip;
	q->key.q[0] = rd64(ip + 12);
	q->key.q[1] = key_word(rd32(ip + IP_HLEN), domain << 8 | ip[9]);
	q->hash = hash_key(&h->a->head->secret, &q->key);
	q->bucket = bucket_of(&h->a->sessions.index, q->hash);
	if (ASKED(ASK_BUCKET))
		PREFETCH(q->bucket);
}

// What may open a session is not judged by its headers alone.
static bool outer_sum_right(const struct frame *f)
{
	const struct ip_hdr *ip = (const void *)(f->data + OUTER_IP);
	uint32_t udp_len = ntohs(ip->len) - IP_HLEN;

	return f->flags & PF_CSUM_OK || !rd16(f->data + OUTER_UDP + 6) ||
		csum_fold(csum_add_bytes(csum_pseudo(ip->src, ip->dst, IPP_UDP, (uint16_t)udp_len), f->data + OUTER_UDP, udp_len)) == 0xffff;
}

static inline enum odd from_tunnel(const struct here *h, const struct frame *f, struct plain *q)
{
	uint8_t *d = f->data;
	const struct vni_seen *v;

	if (UNLIKELY(f->len < INNER_IP + LEAST || f->flags & ~(uint32_t)PF_CSUM_OK))
		return UNPARSED;
	if (UNLIKELY(tunnel_wrong(h->shape, d, f->len, f->flags & PF_CSUM_OK)))
		return UNPARSED;
	q->outer_src = rd32(d + OUTER_IP + 12);
	q->vni = ntohl(rd32(d + GENEVE + 4)) >> 8;
	v = vni_known(h->w, q->vni);
	if (UNLIKELY(!v || !tep_known(h->w, q->outer_src) || (rd64(d + INNER_ETH) ^ v->gateway_mac) & MAC_MASK))
		return UNPARSED;
	q->segment = v;
	know(h, q, d + INNER_IP, v->domain);
	if (UNLIKELY(tcp_news(q->ip)))
		return outer_sum_right(f) ? NEWS : UNPARSED;
	return NOT_ODD;
}

static inline enum odd from_uplink(const struct here *h, const struct frame *f, struct plain *q)
{
	uint8_t *d = f->data;
	const struct owned_seen *o;

	if (UNLIKELY(f->len < OUTER_IP + LEAST || f->flags & ~(uint32_t)PF_CSUM_OK || uplink_wrong(h->shape, d, f->len)))
		return UNPARSED;
	o = owner_known(h->w, rd32(d + OUTER_IP + 16));
	if (UNLIKELY(!o))
		return UNPARSED;
	q->segment = NULL;
	know(h, q, d + OUTER_IP, o->domain);
	return UNLIKELY(tcp_news(q->ip)) ? NEWS : NOT_ODD;
}

static inline void find_entry(const struct here *h, struct plain *q)
{
	const struct bucket *b = q->bucket;
	unsigned m = sig_match(b, sig_of(q->hash));

	q->entry = m ? &h->a->sessions.e[PEEK(&b->idx[__builtin_ctz(m)])] : NULL;
	if (ASKED(ASK_ENTRY))
		PREFETCH_W(q->entry);
}

// As lookup.c asks of a session that it found at the first place and without a mark; inner.c, of its source.
static inline bool entry_serves(const struct here *h, const struct plain *q)
{
	const struct adj_table *t = &h->a->adjs;
	const struct entry *e = q->entry;

	if (UNLIKELY(!key_equal(&q->key, &e->key) || e->odd || e->slot >= t->n_slots))
		return false;
	if (UNLIKELY(h->tunnel && (slot_get(t, e->src_slot).tep != q->outer_src || e->in_vni != q->vni)))
		return false;
	PREFETCH(&t->slots[e->slot]);
	return true;
}

static inline void find_adjacency(const struct here *h, struct plain *q, uint32_t slot)
{
	q->adj = &h->a->adjs.adj[slot_get(&h->a->adjs, slot).adj]; // 0 serves nobody: it is not resolved
	PREFETCH(q->adj);
	PREFETCH((const uint8_t *)q->adj + LINE);
}

static inline bool adjacency_serves(const struct here *h, const struct plain *q, uint32_t ip_len)
{
	return q->adj->resolved && ip_len <= q->adj->mtu && h->there[q->adj->role];
}

static inline void leave(struct worker *w, const struct plain *q, uint32_t ip_len)
{
	const struct adj *a = q->adj;
	struct ip_hdr *ip = (void *)q->ip;

	if (q->segment) {
		BUMP(&q->segment->counter->in_packets, 1);
		BUMP(&q->segment->counter->in_bytes, ETH_HLEN_ + ip_len);
	}
	if (a->kind == ADJ_PLAIN) {
		put_plain_header(a, q->ip);
	} else {
		put_tunnel_header(a, q->ip, ip_len, ip->tos, q->hash, sum_by_headers(ip, ip_len));
		BUMP(&w->seg[a->counter].out_packets, 1);
		BUMP(&w->seg[a->counter].out_bytes, ip_len);
	}
	tx_put(w, a->role, q->ip - a->len, a->len + ip_len);
}

// As adjacency_serves(), and as egress.c asks of the source.
static __attribute__((cold, noinline)) bool serves_unjudged(const struct here *h, const struct plain *q, uint32_t ip_len)
{
	const struct entry *e = q->entry;

	return h->unjudged && h->w->dp->nics[q->adj->role].ops && q->adj->resolved && ip_len <= q->adj->mtu &&
		(q->adj->kind != ADJ_PLAIN || source_may_leave(h->w->cfg, &q->key, e->op & OP_SRC ? e->new_addr : q->key.src));
}

static inline bool forward(const struct here *h, const struct plain *q)
{
	struct ip_hdr *ip = (void *)q->ip;
	uint32_t ip_len = ntohs(ip->len);

	if (UNLIKELY(!adjacency_serves(h, q, ip_len)) && !serves_unjudged(h, q, ip_len))
		return false;
	q->entry->tcp_flags = flags_after(q->entry->tcp_flags, ip->proto == IPP_TCP ? q->ip[IP_HLEN + 13] : 0);
	session_count(q->entry, ip_len, h->w->now_s);
	translate(ip, q->entry);
	leave(h->w, q, ip_len);
	return true;
}

// ---- overlay to overlay: a route and two ports instead of a session ----

static inline bool ask_ports(const struct here *h, struct plain *q)
{
	uint32_t vrf = q->segment->domain / 2;

	if (martian(q->key.src, q->key.dst) || dhcp_from_server(&q->key) || !routed_to_segment(h->w->cfg, vrf, q->key.dst))
		return false;
	q->src_hash = hash_pair(h->a, vrf, q->key.src);
	q->dst_hash = hash_pair(h->a, vrf, q->key.dst);
	PREFETCH(bucket_of(&h->a->port_index, q->src_hash));
	PREFETCH(bucket_of(&h->a->port_index, q->dst_hash));
	return true;
}

static inline bool find_ports(const struct here *h, struct plain *q)
{
	uint32_t from = port_candidate(h->a, q->src_hash), to = port_candidate(h->a, q->dst_hash);

	if (UNLIKELY(from == NONE || to == NONE))
		return false;
	q->src_port = from;
	q->dst_slot = port_slot(to);
	PREFETCH(&h->a->ports[from]);
	PREFETCH(&h->a->adjs.slots[q->dst_slot]);
	return true;
}

static inline bool source_serves(const struct here *h, struct plain *q)
{
	const struct port *from = &h->a->ports[q->src_port];

	if (UNLIKELY(from->rec.vrf != q->segment->domain / 2 || from->rec.address_be != q->key.src))
		return false;
	if (UNLIKELY(!source_fits(from, q->outer_src, q->vni, q->segment->transit)))
		return false;
	find_adjacency(h, q, q->dst_slot); // which says whose it is, so the other port's record is not read
	return true;
}

static inline bool forward_east(const struct here *h, const struct plain *q)
{
	struct ip_hdr *ip = (void *)q->ip;
	uint32_t ip_len = ntohs(ip->len);

	if (UNLIKELY(q->adj->address != q->key.dst || q->adj->vrf != q->segment->domain / 2 || !adjacency_serves(h, q, ip_len)))
		return false;
	BUMP(&h->w->c.decisions, 1); // routes and ports were asked, as by the stages
	decrement_ttl(ip);
	leave(h->w, q, ip_len);
	return true;
}

// ---- the burst ----

enum {
	AHEAD = 8, // packets whose headers are asked for: more lines than the core can wait for are lost
	STEP = 4,  // packets between two steps of one
};

// The lines that will be read, or written in front: of a tunnel packet three, of one from the
// uplink two and the one where its tunnel header goes.
static inline void ask_for(const struct frame *f, bool tunnel)
{
	if (ASKED(ASK_HEADERS)) {
		PREFETCH_W(f->data);
		PREFETCH_W(f->data + LINE);
	}
	if (ASKED(tunnel ? ASK_HEADERS : ASK_HEADROOM))
		PREFETCH_W(tunnel ? f->data + 2 * LINE : f->data - LINE);
}

static void count_stages(struct worker *w, uint32_t role, uint32_t n)
{
	for (unsigned s = 0; s < N_STAGES; s++)
		if (stage_enters[s] & 1u << role)
			BUMP(&w->c.stages[s], n);
}

// Every packet takes five steps, each STEP packets behind the one before.
void plain_burst(struct worker *w, uint32_t role, const struct frame *frames, uint32_t n, uint32_t more, struct plain_left *left)
{
	const struct nic *nics = w->dp->nics;
	bool unjudged = w->cfg->serial > LOAD(&w->dp->judged);
	const struct here h = {w, &w->dp->arena, &w->seen.shape[role], role == PCGDP_DOWNLINK, {nics[0].ops, nics[1].ops && !unjudged}, unjudged};
	struct plain *plain = left->plain;
	uint32_t asked = n + more;
	uint64_t odd = 0, unparsed = 0, east = 0; // a bit for each packet
	struct behind behind = {.at = h.tunnel ? INNER_IP : OUTER_IP, .secret = &h.a->head->secret};

#define GOES(i) ((i) < n && (LIKELY(!odd) || !(odd >> (i) & 1)))
#define EAST(i) (UNLIKELY(east) && east >> (i) & 1)
	seen_renew(w, role);
	for (uint32_t i = 0; i < MIN(n, (uint32_t)AHEAD); i++)
		ask_for(&frames[i], h.tunnel);
	for (uint32_t i = 0; i < n + 4 * STEP; i++) {
		uint32_t j = i;
		bool ok;

		if (j < n) {
			if (j + AHEAD < asked)
				ask_for(&frames[j + AHEAD], h.tunnel);
			enum odd why = h.tunnel ? from_tunnel(&h, &frames[j], &plain[j]) : from_uplink(&h, &frames[j], &plain[j]);

			odd |= (uint64_t)(why != NOT_ODD) << j;
			unparsed |= (uint64_t)(why == UNPARSED) << j;
		}
		j -= STEP;
		if (GOES(j)) {
			find_entry(&h, &plain[j]);
			if (UNLIKELY(!plain[j].entry)) {
				ok = h.tunnel && ask_ports(&h, &plain[j]);
				odd |= (uint64_t)!ok << j;
				east |= (uint64_t)ok << j;
			}
		}
		j -= STEP;
		if (GOES(j)) {
			ok = EAST(j) ? find_ports(&h, &plain[j]) : entry_serves(&h, &plain[j]);
			odd |= (uint64_t)!ok << j;
		}
		j -= STEP;
		if (GOES(j)) {
			if (EAST(j))
				odd |= (uint64_t)!source_serves(&h, &plain[j]) << j;
			else
				find_adjacency(&h, &plain[j], plain[j].entry->slot);
		}
		j -= STEP;
		if (GOES(j)) {
			ok = !(UNLIKELY(odd) && must_wait(&behind, frames, j, odd)) && (EAST(j) ? forward_east(&h, &plain[j]) : forward(&h, &plain[j]));
			odd |= (uint64_t)!ok << j;
		}
	}
#undef GOES
#undef EAST
	count_stages(w, role, n - (uint32_t)__builtin_popcountll(odd));
	left->odd = odd;
	left->parsed = odd & ~unparsed;
}

void plain_hand_over(const struct plain *q, struct pkt *p)
{
	const struct ip_hdr *ip = (const void *)q->ip;
	bool to_dhcp = ip->proto == IPP_UDP && q->key.dport == htons(DHCP_SERVER_PORT);

	if (UNLIKELY(martian(ip->src, ip->dst) || to_dhcp))
		return;
	p->l3 = (uint16_t)(q->ip - p->data);
	p->off = p->l3;
	p->flags |= q->segment ? PF_PARSED : PF_PARSED | PF_UPLINK;
	if (q->segment) {
		p->off -= ETH_HLEN_; // parse_inner counts from here
		p->segment = q->segment->segment;
		p->outer_src = q->outer_src;
		p->vni = q->vni;
	}
	p->ip_len = ntohs(ip->len);
	p->len = (uint32_t)p->l3 + p->ip_len;
	p->proto = ip->proto;
	p->tcp_flags = ip->proto == IPP_TCP ? q->ip[IP_HLEN + 13] : 0;
	p->vrf = q->key.domain_proto >> 9;
	p->key = q->key;
	p->hash = q->hash;
}

bool plain_tunnel(const struct worker *w, const uint8_t *frame, uint32_t len)
{
	struct shape shape;

	shape_tunnel(&shape, w->dp->nics[PCGDP_DOWNLINK].mac, w->cfg->local.tep_be);
	return len >= INNER_IP + LEAST && !tunnel_wrong(&shape, frame, len, false) && !tcp_news(frame + INNER_IP);
}
