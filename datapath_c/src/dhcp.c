// SPDX-License-Identifier: Apache-2.0
// dhcp.c - DHCP of workloads (RFC 2131): what goes on to the gateway's relay, and what does not.
//
//   in:   parse_inner -> [dhcp_one] -> punt
//
// A client has no address yet, so it is known by its MAC: on that segment, behind that TEP. What goes
// on is a request in order: the process behind has to read no nonsense, and never more than so many a
// second, of one port and in all. Only the gateway is a server here: what servers and relays send is
// dropped, to the gateway, to all, and to other workloads (of what is forwarded decide.c asks that).

#include "dhcp.h"

#include "csum.h"
#include "dp.h"
#include "punt.h"
#include "reassemble.h"

enum {
	BOOTREQUEST = 1,
	HTYPE_ETHERNET = 1,
	SECOND_US = 1000000,
	ALL_RESERVE_US = 1000000,  // so long what is not used is kept: of the rate for all,
	EACH_RESERVE_US = 2000000, // and for one port
};

struct dhcp_hdr { // RFC 2131 section 2
	uint8_t op, htype, hlen, hops;
	be32 xid;
	be16 secs, flags;
	be32 ciaddr, yiaddr, siaddr, giaddr;
	uint8_t chaddr[16], sname[64], file[128];
	be32 cookie;
} __attribute__((packed));

_Static_assert(sizeof(struct dhcp_hdr) == 240, "fixed fields and magic cookie");
#define PASSES N_REASONS // none of them
#define COOKIE 0x63825363u // RFC 2131 section 3

static const struct eth_hdr *eth_of(const struct pkt *p)
{
	return (const struct eth_hdr *)(p->data + p->l3 - ETH_HLEN_);
}

static struct client *sender_of(const struct worker *w, const struct pkt *p)
{
	struct client *c = client_find(w->dp, p->vni, eth_of(p)->src);

	return c && LOAD(&c->rec.tep_be) == p->outer_src ? c : NULL;
}

static bool served(const struct pkt *p)
{
	return p->segment->rec.kind == PCGDP_SEGMENT && p->segment->rec.flags & PCGDP_DHCP;
}

// Not verified by anybody else: the relay answers what it reads here. A local sender may have left the
// sum unfinished, as the pseudo header's alone.
static bool sum_right(const struct pkt *p, struct udp_hdr *uh, uint16_t len)
{
	const struct ip_hdr *ip = pkt_ip(p);
	uint64_t pseudo = csum_pseudo(ip->src, ip->dst, IPP_UDP, len);

	if (!uh->csum || csum_fold(csum_add_bytes(pseudo, (const uint8_t *)uh, len)) == 0xffff)
		return true;
	if (!(p->flags & PF_CSUM_PARTIAL) || uh->csum != csum_fold(pseudo))
		return false;
	uh->csum = 0;
	uh->csum = (uint16_t)~csum_fold(csum_add_bytes(pseudo, (const uint8_t *)uh, len));
	uh->csum = uh->csum ? uh->csum : 0xffff;
	return true;
}

// None yet, or its own. One that we know of nobody may be one that this port had: its server knows.
static enum reason source_wrong(const struct worker *w, const struct pkt *p, const struct client *c)
{
	be32 src = pkt_ip(p)->src;
	uint32_t port = src ? port_find(&w->dp->arena, p->vrf, src) : NONE;
	const struct pcgdp_ports *r;

	if (src && martian_alone(src))
		return R_IP_MARTIAN;
	if (port == NONE)
		return src == p->segment->rec.gateway_be ? R_SOURCE_SPOOFED : PASSES;
	r = &w->dp->arena.ports[port].rec;
	return r->vni != p->vni || r->tep_be != p->outer_src || memcmp(r->mac, c->rec.mac, 6) ? R_SOURCE_SPOOFED : PASSES;
}

static enum reason request_wrong(const struct pkt *p, struct udp_hdr *uh, const struct client *c)
{
	const struct dhcp_hdr *dh = (const void *)(uh + 1);
	uint32_t len = ntohs(uh->len);

	if (len < UDP_HLEN + sizeof(*dh) || len > (uint32_t)p->ip_len - IP_HLEN || ETH_HLEN_ + (uint32_t)p->ip_len > PCGDP_FRAME_MAX)
		return R_DHCP_BAD;
	if (!sum_right(p, uh, (uint16_t)len))
		return R_DHCP_CHECKSUM;
	if (dh->op != BOOTREQUEST)
		return R_DHCP_SERVER;
	if (dh->htype != HTYPE_ETHERNET || dh->hlen != 6 || dh->cookie != htonl(COOKIE))
		return R_DHCP_BAD;
	if (memcmp(dh->chaddr, c->rec.mac, 6))
		return R_DHCP_SPOOFED;
	return dh->giaddr ? R_DHCP_RELAYED : PASSES;
}

static bool paid(uint64_t *rate, uint64_t now_us, uint32_t per_s, uint64_t reserve_us)
{
	return per_s && limit_pay(rate, 0, now_us, SECOND_US / per_s, now_us > reserve_us ? now_us - reserve_us : 0);
}

// A noisy port is stopped first, so that it does not use up what all share.
static enum reason rate_passed(const struct worker *w, struct client *c)
{
	const struct pcgdp_local *local = &w->cfg->local;
	uint64_t now_us = w->now_ns / 1000;

	if (w->dry)
		return PASSES;
	if (!paid(&c->rate, now_us, local->dhcp_each, EACH_RESERVE_US))
		return R_DHCP_RATE_PORT;
	return paid(&w->dp->dhcp_rate, now_us, local->dhcp_all, ALL_RESERVE_US) ? PASSES : R_DHCP_RATE;
}

// Of two clients without an address the pieces differ by nothing but who sent them.
static enum pcgdp_verdict fragment_of_client(struct worker *w, struct pkt *p)
{
	const struct client *c = served(p) ? sender_of(w, p) : NULL;

	if (!c)
		return PCGDP_NEXT; // a martian, or like any other to the gateway
	p->flags |= PF_COUNTED; // also when another worker reads it again
	return reassemble(w, p, FRAGMENT_DHCP, (uint32_t)(c - w->dp->clients.c));
}

static enum pcgdp_verdict request(struct worker *w, struct pkt *p, struct udp_hdr *uh)
{
	struct client *c;
	enum reason wrong;

	if (!served(p))
		return drop(p, R_DHCP_NOT_SERVED);
	c = sender_of(w, p);
	if (!c)
		return drop(p, R_DHCP_PORT_UNKNOWN);
	wrong = source_wrong(w, p, c);
	if (wrong == PASSES)
		wrong = request_wrong(p, uh, c);
	if (wrong == PASSES)
		wrong = rate_passed(w, c);
	return wrong == PASSES ? punt(w, p, p->outer_src, c->rec.mac) : drop(p, wrong);
}

enum pcgdp_verdict dhcp_one(struct worker *w, struct pkt *p)
{
	const struct ip_hdr *ip = pkt_ip(p);
	static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};
	struct udp_hdr *uh;

	if (memcmp(eth_of(p)->dst, all, 6) && eth_of(p)->dst[0] & 1)
		return PCGDP_NEXT;
	if (UNLIKELY(ntohs(ip->frag) & (IP_MF | IP_OFFSET))) {
		enum pcgdp_verdict v = fragment_of_client(w, p);

		ip = pkt_ip(p); // of the whole
		if (v != PCGDP_NEXT || ntohs(ip->frag) & (IP_MF | IP_OFFSET))
			return v;
	}
	if (p->ip_len < IP_HLEN + UDP_HLEN)
		return PCGDP_NEXT;
	uh = (struct udp_hdr *)(p->data + p->l3 + IP_HLEN);
	p->proto = IPP_UDP;
	p->key = (union key){.src = ip->src, .dst = ip->dst, .sport = uh->sport, .dport = uh->dport, .domain_proto = p->vrf << 9 | IPP_UDP};
	if (dhcp_from_server(&p->key))
		return drop(p, R_DHCP_SERVER);
	return uh->sport == htons(DHCP_CLIENT_PORT) && uh->dport == htons(DHCP_SERVER_PORT) ? request(w, p, uh) : PCGDP_NEXT;
}
