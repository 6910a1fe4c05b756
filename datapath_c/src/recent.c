// SPDX-License-Identifier: Apache-2.0
// recent.c - see recent.h.

#include "recent.h"

#include "dp.h"

// What makes a flow, and what of it is shown only.
struct seen_flow {
	union key key; // sport: shown
	be32 outer_src;
	uint32_t vrf, vni;
	uint8_t proto;
};

// ---- which flow it was ----

static const struct ip_hdr *ip_at(struct reader *r)
{
	const struct ip_hdr *ip = pull(r, IP_HLEN);
	uint32_t ihl = ip ? (ip->ver_ihl & 15u) * 4 : 0;

	if (!ip || ip->ver_ihl >> 4 != 4 || ihl < IP_HLEN || !pull(r, ihl - IP_HLEN))
		return NULL;
	return ip;
}

// NULL of ARP too, of which is told who asks for whom.
static const struct ip_hdr *ip_in_ethernet(struct reader *r, struct seen_flow *f)
{
	const struct eth_hdr *eh = pull(r, ETH_HLEN_);
	const struct arp_hdr *ar = eh && eh->type == htons(ETYPE_ARP) ? pull(r, sizeof(*ar)) : NULL;

	if (ar) {
		f->key.src = ar->spa;
		f->key.dst = ar->tpa;
	}
	return eh && eh->type == htons(ETYPE_IPV4) ? ip_at(r) : NULL;
}

static bool has_ports(const struct ip_hdr *ip)
{
	return (ip->proto == IPP_TCP || ip->proto == IPP_UDP) && !(ip->frag & htons(IP_OFFSET));
}

// Of a tunnel packet the one inside, whoever sent it: where it ended nobody had read so far, or it was
// whole and leaving. The outer one where that is no tunnel's.
static const struct ip_hdr *ip_in_tunnel(struct reader *r, struct seen_flow *f)
{
	const struct ip_hdr *outer = ip_in_ethernet(r, f);
	struct reader in = *r;
	const struct udp_hdr *uh = outer && outer->proto == IPP_UDP && has_ports(outer) ? pull(&in, UDP_HLEN) : NULL;
	const struct geneve_hdr *gh = uh && uh->dport == htons(GENEVE_PORT) ? pull(&in, GENEVE_HLEN) : NULL;

	if (!gh || !pull(&in, (gh->ver_optlen & 0x3fu) * 4))
		return outer;
	f->outer_src = outer->src;
	f->vni = (uint32_t)gh->vni[0] << 16 | (uint32_t)gh->vni[1] << 8 | gh->vni[2];
	*r = in;
	return ip_in_ethernet(r, f);
}

// An error or a reset of the gateway's own, which has no Ethernet header before it leaves.
static bool made_here(const struct pkt *p)
{
	return p && p->ip_len && !p->l3 && !(p->flags & PF_LOOPED);
}

static void look_inside(struct seen_flow *f, const struct pkt *p, const struct recent_packet *packet)
{
	uint32_t l3 = p && p->l3 < packet->len ? p->l3 : 0;
	struct reader r = {(uint8_t *)packet->data + l3, packet->data + packet->len};
	const struct ip_hdr *ip = l3 || made_here(p) ? ip_at(&r) : kind_role(packet->kind) == PCGDP_UPLINK ? ip_in_ethernet(&r, f) : ip_in_tunnel(&r, f);
	const uint8_t *ports = ip && has_ports(ip) ? pull(&r, 4) : NULL;

	if (!ip)
		return;
	f->key.src = ip->src;
	f->key.dst = ip->dst;
	f->proto = ip->proto;
	if (ports)
		memcpy(&f->key.sport, ports, 4);
}

static void flow_of(struct seen_flow *f, const struct pkt *p, const struct recent_packet *packet)
{
	*f = (struct seen_flow){.vrf = NONE};
	if (p) {
		f->outer_src = p->outer_src;
		f->vni = p->vni;
		if (p->key.src || p->segment || made_here(p))
			f->vrf = p->vrf;
	}
	if (LIKELY(p && p->key.src && !made_here(p))) {
		f->key = p->key;
		f->proto = p->proto;
	} else {
		look_inside(f, p, packet);
	}
}

static uint64_t hash_flow(const struct secret *secret, const struct seen_flow *f, uint64_t kind)
{
	union key ends = {.src = f->key.src, .dst = f->key.dst, .dport = f->key.dport, .domain_proto = f->vrf << 8 | f->proto};
	union key more = {.q = {hash_key(secret, &ends) + ((uint64_t)f->vni << 32 | f->outer_src), kind}};
	uint64_t hash = hash_key(secret, &more);

	return hash ? hash : 1; // 0: free
}

// ---- its place ----

static struct recent_flow *found(struct recent_set *s, uint64_t tag)
{
	for (uint32_t i = 0; i < RECENT_WAYS; i++)
		if (s->tag[i] == tag)
			return &s->flow[i];
	return NULL;
}

// The least goes first.
static uint64_t worth(const struct recent_set *s, uint32_t at, uint64_t kind, uint64_t now_ns)
{
	const struct recent_flow *f = &s->flow[at];
	uint64_t again = f->packets > 1 && now_ns - f->last_ns < RECENT_KEEP_NS;
	uint64_t places = f->kind == kind; // with the one that wants in

	for (uint32_t i = 0; i < RECENT_WAYS; i++)
		places += s->flow[i].kind == f->kind;
	return (RECENT_WAYS + 1 - places) << 60 | again << 59 | (f->last_ns & ~0ull >> 5);
}

static uint32_t place_for(const struct recent_set *s, uint64_t kind, uint64_t now_ns)
{
	uint64_t least = ~0ull;
	uint32_t best = 0;

	for (uint32_t i = 0; i < RECENT_WAYS; i++) {
		uint64_t w;

		if (!s->tag[i])
			return i;
		w = worth(s, i, kind, now_ns);
		if (w < least) {
			least = w;
			best = i;
		}
	}
	return best;
}

static bool may_enter(struct recent_gate *gate, uint64_t now_ns)
{
	if (now_ns - gate->since_ns >= SAMPLE_NS) {
		gate->since_ns = now_ns;
		gate->entered = 0;
	}
	if (gate->entered == RECENT_NEW)
		return false;
	gate->entered++;
	return true;
}

static struct recent_flow *enter(struct recent_set *s, uint64_t tag, const struct seen_flow *f, uint64_t kind, uint64_t now_ns)
{
	uint32_t at = place_for(s, kind, now_ns);
	struct recent_flow *flow = &s->flow[at];

	s->tag[at] = tag; // which readers do not look at
	__atomic_store_n(&flow->seq, flow->seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	flow->outer_src = f->outer_src;
	flow->kind = kind;
	flow->src = f->key.src;
	flow->dst = f->key.dst;
	flow->dport = f->key.dport;
	flow->vrf = f->vrf;
	flow->vni_proto = f->vni << 8 | f->proto;
	flow->packets = 0;
	flow->first_ns = flow->last_ns = now_ns;
	STORE(&flow->seq, flow->seq + 1);
	return flow;
}

bool recent_note(struct recent *t, const struct secret *secret, const struct pkt *p, const struct recent_packet *r, struct recent_gate *gate, uint64_t now_ns)
{
	struct seen_flow seen;
	struct recent_flow *flow;
	struct recent_set *s;
	uint64_t tag;

	flow_of(&seen, p, r);
	tag = hash_flow(secret, &seen, r->kind);
	s = &t->set[tag % RECENT_SETS];
	flow = found(s, tag);
	if (!flow) {
		if (!may_enter(gate, now_ns))
			return false;
		flow = enter(s, tag, &seen, r->kind, now_ns);
	}
	__atomic_store_n(&flow->sport, seen.key.sport, __ATOMIC_RELAXED);
	__atomic_store_n(&flow->length, r->len, __ATOMIC_RELAXED);
	__atomic_store_n(&flow->last_ns, now_ns, __ATOMIC_RELAXED);
	STORE(&flow->packets, flow->packets + r->n);
	return true;
}

// ---- reading, by any thread ----

static void flow_read(const struct recent_flow *flow, uint32_t worker, struct pcgdp_recent *out)
{
	struct recent_flow f;
	uint32_t seq;

	do {
		while ((seq = LOAD(&flow->seq)) & 1)
			cpu_relax();
		f = *flow;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (PEEK(&flow->seq) != seq);
	*out = (struct pcgdp_recent){.worker = worker, .reason = kind_reason(f.kind), .role = kind_role(f.kind), .fw_id = kind_fw(f.kind),
		.nat_id = kind_nat(f.kind), .vni = f.vni_proto >> 8, .vrf = f.vrf, .outer_src_be = f.outer_src, .src_be = f.src, .dst_be = f.dst,
		.sport = ntohs(f.sport), .dport = ntohs(f.dport), .protocol = (uint8_t)f.vni_proto, .length = f.length, .packets = f.packets,
		.first_ns = f.first_ns, .last_ns = f.last_ns};
}

uint32_t recent_read(const struct pcgdp *dp, uint32_t from, struct pcgdp_recent *out, uint32_t n)
{
	const struct worker *w[PCGDP_WORKERS_MAX + 1];
	uint32_t workers = all_workers(dp, w), got = 0, seen = 0;

	for (uint32_t i = 0; i < workers; i++)
		for (uint32_t at = 0; at < PCGDP_RECENT_MAX && got < n; at++) {
			const struct recent_flow *flow = &w[i]->ledger->recent.set[at / RECENT_WAYS].flow[at % RECENT_WAYS];

			if (!LOAD(&flow->packets) || seen++ < from)
				continue;
			flow_read(flow, i, &out[got]);
			got += out[got].packets != 0; // another one moves in just now
		}
	return got;
}
