// SPDX-License-Identifier: Apache-2.0
// icmp.c - packets that the gateway makes about other packets: ICMP errors and TCP resets.

#include <stdlib.h>

#include "again.h"
#include "answer.h"
#include "csum.h"
#include "decide.h"
#include "dp.h"

enum {
	QUOTE_MAX = 576 - IP_HLEN - 8,   // as much as fits in 576 bytes (RFC 1812 section 4.3.2.3)
	SECOND_US = 1000000,
	ALL_RESERVE_US = 100000,  // so long what is not used is kept: of the rate for all,
	EACH_RESERVE_US = 500000, // and for one source
	TOLD_TOO_BIG = ICMP_UNREACH << 4 | UNREACH_FRAG,
};

_Static_assert(IP_HLEN + 8 + QUOTE_MAX <= MADE_LEN, "the longest made packet fits its buffer");

// What lies unused: so much of a rate as may come at once, and at least one packet.
static uint64_t before_us(uint64_t now_us, uint64_t reserve_us, uint32_t per_s)
{
	if (per_s && reserve_us < SECOND_US / per_s)
		reserve_us = SECOND_US / per_s;
	return now_us > reserve_us ? now_us - reserve_us : 0;
}

// A noisy source is stopped first, so that it does not use up what all share. NULL, or what counts those
// that one more would be too many of.
static uint64_t *limit_met(struct worker *w, const struct pkt *p, uint8_t told)
{
	const struct pcgdp_local *l = &w->cfg->local;
	union key k = {.src = pkt_ip(p)->src, .domain_proto = p->vrf << 9 | stranger(p)};
	struct limits *lim = &w->dp->limits;
	uint64_t hash = hash_key(&w->dp->arena.head->secret, &k), now_us = w->now_ns / 1000;
	uint64_t floor_us = before_us(now_us, EACH_RESERVE_US, l->made_each);
	uint64_t *all = &lim->total[2 * (told == TOLD_TOO_BIG) + stranger(p)], all_floor_us = before_us(now_us, ALL_RESERVE_US, l->made_all);

	if (!l->made_each || !limit_pay(limit_source(lim, hash, floor_us), hash, now_us, SECOND_US / l->made_each, floor_us))
		return &w->c.unmade_source;
	if (!l->made_all || !limit_pay(all, 0, now_us, SECOND_US / l->made_all, all_floor_us))
		return &w->c.unmade_all;
	return NULL;
}

static struct pkt *made_at(struct worker *w, uint32_t slot, uint32_t vrf)
{
	struct pkt *m = &w->made.pkt[w->made.n];

	memset(m, 0, sizeof(*m));
	m->data = w->made_buf[w->made.n] + HEADROOM;
	m->flags = PF_ANSWER;
	m->slot = slot;
	m->vrf = vrf;
	m->number = NONE;
	w->made.n++;
	BUMP(&w->c.made, 1);
	return m;
}

// told: for trace, as in struct pkt. In explain it is what would be said, as far as the rate allows.
static struct pkt *made_new(struct worker *w, struct pkt *p, uint32_t slot, uint8_t told)
{
	const struct pcgdp_local *l = &w->cfg->local;
	uint64_t *why;
	struct pkt *m;

	if (w->dry) {
		p->told = slot && l->made_each && l->made_all ? told : 0;
		return NULL;
	}
	why = slot ? limit_met(w, p, told) : &w->c.unmade_no_way;
	if (why || w->made.n == MADE_MAX) {
		BUMP(&w->c.unmade, 1);
		if (why)
			BUMP(why, 1);
		return NULL;
	}
	m = made_at(w, slot, p->vrf);
	m->key.domain_proto = p->vrf << 9;
	p->told = told;
	return m;
}

enum { TOS_OF_ERRORS = 0xc0 }; // precedence 6, internetwork control (RFC 1812 section 4.3.2.5)

static struct ip_hdr *put_ip(struct pkt *m, be32 src, be32 dst, uint8_t proto, uint32_t len)
{
	struct ip_hdr *ip = (struct ip_hdr *)m->data;
	struct ip_hdr ih = {.ver_ihl = 0x45, .tos = proto == IPP_ICMP ? TOS_OF_ERRORS : 0, .len = htons((uint16_t)len), .frag = htons(IP_DF), .ttl = 64, .proto = proto, .src = src, .dst = dst};

	memcpy(ip, &ih, sizeof(ih));
	ip->csum = (uint16_t)~csum_ip_words(ip);
	m->l3 = 0;
	m->ip_len = (uint16_t)len;
	m->len = len;
	m->proto = proto;
	return ip;
}

// Whom we speak as, and by which slot the sender is reached. Inwards: the segment gateway of the
// sender's own segment. Outwards: the address the packet was sent to, since that is the only
// address of ours its sender knows.
static uint32_t towards_sender(const struct worker *w, const struct pkt *p, be32 *speaker)
{
	const struct arena *a = &w->dp->arena;
	const struct ip_hdr *ip = pkt_ip(p);
	const struct segment *seg;
	uint32_t port;

	if (p->flags & PF_UPLINK) {
		const struct vrf *v = vrf_of(w->cfg, p->vrf);

		*speaker = ip->dst;
		return v ? slot_outwards(w->cfg, a, v, ip->src) : 0;
	}
	port = port_find(a, p->vrf, ip->src);
	if (port == NONE)
		return 0;
	seg = segment_of_vni(w->cfg, a->ports[port].rec.vni);
	*speaker = seg ? seg->rec.gateway_be : 0;
	return *speaker ? port_slot(port) : 0;
}

// RFC 1812 section 4.3.2.7: never about an ICMP error, a broadcast or multicast, a fragment that
// is not the first, a source that is not one host. Fragments were put together, and the rest was
// dropped as malformed or martian, before anything could ask for an error.
void icmp_error(struct worker *w, struct pkt *p, uint8_t type, uint8_t code, uint16_t mtu)
{
	uint32_t quote = MIN((uint32_t)p->ip_len, QUOTE_MAX), len = IP_HLEN + 8 + quote, slot;
	struct icmp_hdr ic = {.type = type, .code = code, .seq = htons(mtu)};
	be32 speaker = 0;
	struct pkt *m;
	uint8_t *l4;

	if (p->flags & PF_ICMP_ERROR)
		return;
	slot = towards_sender(w, p, &speaker);
	m = made_new(w, p, slot, (uint8_t)(type << 4 | code));
	if (!m)
		return;
	m->flags |= PF_ICMP_ERROR;
	put_ip(m, speaker, pkt_ip(p)->src, IPP_ICMP, len);
	l4 = m->data + IP_HLEN;
	memcpy(l4, &ic, sizeof(ic));
	memcpy(l4 + sizeof(ic), pkt_ip(p), quote);
	wr16(l4 + 2, (uint16_t)~csum_fold(csum_add_bytes(0, l4, 8 + quote)));
}

// Of a segment's subnet all ones is everybody, and all zeros what once was (RFC 1812 section 4.2.3.1).
static bool to_everybody(const struct worker *w, const struct pkt *p)
{
	const struct vrf *v = vrf_of(w->cfg, p->vrf);
	be32 dst = pkt_ip(p)->dst;
	const struct pcgdp_routes *r = v ? route_find(w->cfg, v, dst) : NULL;
	const struct segment *seg = r && r->kind == PCGDP_VIA_SEGMENT ? segment_of_vni(w->cfg, r->vni) : NULL;
	uint32_t hosts, host;

	if (!seg || seg->rec.prefix_len > 30 || !in_prefix(dst, seg->rec.subnet_be, seg->rec.prefix_len))
		return false;
	hosts = ~0u >> seg->rec.prefix_len;
	host = ntohl(dst) & hosts;
	return host == 0 || host == hosts;
}

// Whoever sends a RST, or was sent one about this packet (PF_TOLD), waits for nothing more.
void no_way(struct worker *w, struct pkt *p, uint8_t code)
{
	bool waits = !(p->tcp_flags & TCP_RST) && !(p->flags & PF_TOLD);

	if (waits && !(p->flags & PF_UPLINK) && !to_everybody(w, p))
		icmp_error(w, p, ICMP_UNREACH, code, 0);
}

// May whoever sent this come in? By a session that lives and goes on, whatever a first packet of its sender
// would find, or let in by a rule.
static bool would_enter(const struct worker *w, const struct pkt *p)
{
	const struct arena *a = &w->dp->arena;
	const uint8_t *l4 = (const uint8_t *)pkt_ip(p) + IP_HLEN;
	union key k = p->key;
	struct session_query q = {&a->sessions, &k};
	struct decision d;
	uint32_t number;

	if (p->proto == IPP_TCP || p->proto == IPP_UDP)
		memcpy(&k.sport, l4, 4); // both ports
	else if (p->proto == IPP_ICMP)
		k.sport = k.dport = rd16(l4 + 4);
	number = sigtab_find(&a->sessions.index, hash_key(a->sessions.secret, &k), session_key_is, &q);
	if (number != NONE && a->sessions.e[number].mark < MARK_CUT)
		return again_judge(w->cfg, a, number / 2, &d) != AGAIN_ENDS;
	decide(w->cfg, a, &k, 0, &d);
	return d.reason == R_OK;
}

// RFC 792: "If a host reassembling a fragmented datagram cannot complete the reassembly due to missing fragments
// within its time limit it discards the datagram and it may send a time exceeded message. If fragment zero is not
// available then no time exceeded need be sent at all." RFC 1122 section 3.3.2 makes it a must. Strangers on the
// uplink are met by silence, as ever.
void reassembly_error(struct worker *w, struct pkt *p)
{
	const uint8_t *type = (const uint8_t *)pkt_ip(p) + IP_HLEN;
	bool error = *type == ICMP_UNREACH || *type == ICMP_QUENCH || *type == ICMP_REDIRECT || *type == ICMP_TIME || *type == ICMP_PARAM;

	if (p->proto == IPP_ICMP && error)
		p->flags |= PF_ICMP_ERROR; // of which none is ever sent
	if (!(p->flags & PF_UPLINK) || would_enter(w, p))
		icmp_error(w, p, ICMP_TIME, TIME_REASSEMBLY, 0);
}

static void put_tcp(struct pkt *m, be32 src, be32 dst, struct tcp_hdr th)
{
	put_ip(m, src, dst, IPP_TCP, IP_HLEN + sizeof(th));
	th.csum = (uint16_t)~csum_fold(csum_add_bytes(csum_pseudo(src, dst, IPP_TCP, sizeof(th)), (uint8_t *)&th, sizeof(th)));
	memcpy(m->data + IP_HLEN, &th, sizeof(th));
}

// RFC 9293 section 3.10.7.1: a segment to a closed connection; in the name of whom it was sent to.
void tcp_reset(struct worker *w, struct pkt *p)
{
	const struct ip_hdr *ip = pkt_ip(p);
	const struct tcp_hdr *th = (const void *)((const uint8_t *)ip + IP_HLEN);
	uint32_t data = p->ip_len - IP_HLEN - (th->off >> 4) * 4u;
	struct tcp_hdr rst = {.sport = th->dport, .dport = th->sport, .off = 5 << 4, .flags = TCP_RST};
	be32 speaker;
	struct pkt *m;

	if (th->flags & TCP_RST || p->flags & PF_TOLD)
		return;
	m = made_new(w, p, towards_sender(w, p, &speaker), TOLD_RST);
	if (!m)
		return;
	if (th->flags & TCP_ACK) {
		rst.seq = th->ack;
	} else {
		rst.ack = htonl(ntohl(th->seq) + data + !!(th->flags & TCP_SYN) + !!(th->flags & TCP_FIN));
		rst.flags |= TCP_ACK;
	}
	put_tcp(m, ip->dst, ip->src, rst);
}

// A firewall's refusal, as a closed port would say it: RFC 1812 section 5.3.9 allows 3/13, which TCP takes
// for a soft error (RFC 5461) and tries on.
static void reject(struct worker *w, struct pkt *p)
{
	if (p->proto == IPP_TCP)
		tcp_reset(w, p);
	else
		icmp_error(w, p, ICMP_UNREACH, UNREACH_PROHIBITED, 0);
}

// What a workload hears (RFC 1812 section 5.2.7.1: no way to that network, or to that host; RFC 5508 REQ-8: no
// translation for it); -1: nothing. A blackhole is silent, as the word has it everywhere; a next hop that is not
// known yet may be in a moment.
static int unreachable(enum reason reason)
{
	switch (reason) {
	case R_NO_ROUTE:
		return UNREACH_NET;
	case R_PORT_UNKNOWN:
		return UNREACH_HOST;
	case R_NO_NAT:
	case R_NAT_PROTOCOL:
		return UNREACH_PROHIBITED;
	default:
		return -1;
	}
}

void tell_refused(struct worker *w, struct pkt *p, const struct decision *d)
{
	int code = unreachable((enum reason)d->reason);

	if (d->reject)
		reject(w, p);
	else if (code >= 0 && d->src_port != NONE) // else nobody knows who asks
		no_way(w, p, (uint8_t)code);
}

// May `src` go there, of the flow whose forward key is `k`? Else egress would refuse it: the rule, or the public
// address, is gone.
static bool may_speak(const struct worker *w, uint32_t slot, be32 src, const union key *k)
{
	bool by_uplink = slot >= nexthop_slot(&w->dp->arena, 0) && slot < w->dp->arena.adjs.n_slots;

	return !by_uplink || source_may_leave(w->cfg, k, src);
}

// Not at the rate of errors: a rule asked for it, and of each session it is said once, so that nobody can have
// more of it made than there are sessions.
static void cut_end(struct worker *w, const struct pkt *p, uint32_t slot, be32 src, be32 dst, struct tcp_hdr rst)
{
	const struct session_table *t = &w->dp->arena.sessions;
	const union key *k = &t->e[p->number & ~1u].key;
	struct pkt *m;

	if (w->made.n == MADE_MAX || !slot || !may_speak(w, slot, src, k))
		return;
	m = made_at(w, slot, k->domain_proto >> 9);
	m->nat_id = t->cold[p->number / 2].nat_id;
	m->key = *k;
	put_tcp(m, src, dst, rst);
}

void tcp_cut(struct worker *w, struct pkt *p, const struct entry *e, const struct entry *back)
{
	const struct ip_hdr *ip = pkt_ip(p);
	const struct tcp_hdr *th = (const void *)((const uint8_t *)ip + IP_HLEN);
	bool src = e->op & OP_SRC, dst = e->op & OP_DST;
	struct tcp_hdr rst = {.sport = th->dport, .dport = th->sport, .seq = th->ack, .off = 5 << 4, .flags = TCP_RST};

	if (p->flags & PF_ICMP_ERROR || p->proto != IPP_TCP || (th->flags & (TCP_RST | TCP_ACK)) != TCP_ACK)
		return;
	p->flags |= PF_TOLD; // as a packet without a session it is not answered once more
	cut_end(w, p, back->slot, ip->dst, ip->src, rst);
	rst = (struct tcp_hdr){.sport = src ? e->new_port : th->sport, .dport = dst ? e->new_port : th->dport, .seq = th->seq, .ack = th->ack,
		.off = 5 << 4, .flags = TCP_RST | TCP_ACK};
	cut_end(w, p, e->slot, src ? e->new_addr : ip->src, dst ? e->new_addr : ip->dst, rst);
}

// At its own pace (cuts.c), as the RST that follows.
void tcp_ask(struct worker *w, const struct entry *e, const struct entry *back, uint32_t session)
{
	const struct session_table *t = &w->dp->arena.sessions;
	const union key *k = &t->e[2 * session].key;
	be32 src = e->key.dst, dst = e->key.src;
	uint64_t random = worker_random(w);
	struct tcp_hdr th = {.sport = e->key.dport, .dport = e->key.sport, .seq = (be32)random, .ack = (be32)(random >> 32), .off = 5 << 4,
		.flags = TCP_ACK};
	struct pkt *m;

	if (w->made.n == MADE_MAX || !back->slot || !may_speak(w, back->slot, src, k))
		return;
	m = made_at(w, back->slot, k->domain_proto >> 9);
	m->flags |= PF_TOLD;
	m->nat_id = t->cold[session].nat_id;
	m->key = *k;
	put_tcp(m, src, dst, th);
}
