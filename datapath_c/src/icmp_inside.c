// SPDX-License-Identifier: Apache-2.0
// icmp_inside.c - the packet inside an ICMP error (RFC 5508 REQ-3 to 5, RFC 5382 REQ-9).
//
// An error quotes a packet that one side sent; the error itself travels against it. So the key of
// the quoted packet, reversed, is the key of the direction in which the error travels, and that
// entry's answer fits both: its rewrite of the destination (or source) applies to the error's own
// header, and the same address, as the quoted packet's source (or destination), inside it.
//
// Turned round inside (egress.c), an error and what it quotes are made again what the Internet
// gateway would make of them (RFC 5508 REQ-7).

#include "answer.h"
#include "csum.h"
#include "session.h"

static const uint8_t *quoted(const struct pkt *p, uint32_t *len)
{
	*len = p->ip_len > IP_HLEN + 8 ? p->ip_len - IP_HLEN - 8u : 0;
	return p->data + p->l3 + IP_HLEN + 8;
}

// Its header, options too: RFC 5508 REQ-3b.
static uint32_t header_len(const uint8_t *q)
{
	return (q[0] & 15u) * 4;
}

bool icmp_error_key(const struct pkt *p, uint32_t domain, union key *k)
{
	uint32_t len;
	const uint8_t *q = quoted(p, &len);
	const struct ip_hdr *ip = (const void *)q;
	const uint8_t *l4;

	if (len < IP_HLEN + 8 || ip->ver_ihl >> 4 != 4 || header_len(q) < IP_HLEN || len < header_len(q) + 8 || ntohs(ip->frag) & IP_OFFSET)
		return false;
	l4 = q + header_len(q);
	k->src = ip->dst;
	k->dst = ip->src;
	k->sport = k->dport = 0;
	k->domain_proto = domain << 8 | ip->proto;
	if (ip->proto == IPP_TCP || ip->proto == IPP_UDP) {
		k->sport = rd16(l4 + 2);
		k->dport = rd16(l4);
	} else if (ip->proto == IPP_ICMP) {
		if (l4[0] != ICMP_ECHO && l4[0] != ICMP_ECHO_REPLY)
			return false; // an error about an error does not exist
		k->sport = k->dport = rd16(l4 + 4);
	}
	return true;
}

// Change 16 bits inside, and the quoted L4 checksum with them if it is there.
static void swap16(uint8_t *at, uint16_t to, uint8_t *csum)
{
	uint16_t from = rd16(at);

	if (csum)
		wr16(csum, csum_apply(rd16(csum), delta16(from, to)));
	wr16(at, to);
}

// NULL: cut off, or UDP without one.
static uint8_t *l4_csum(uint8_t *q, uint32_t len, const struct entry *e)
{
	uint32_t at = header_len(q) + e->csum_off;

	if (e->csum_off == 0xff || len < at + 2 || (proto_of(&e->key) == IPP_UDP && !rd16(q + at)))
		return NULL;
	return q + at;
}

// Before   the ICMP error is whole; e is the entry its reversed quoted key found; op is not 0
// After    both headers say what the receiver knows; every checksum is right
// Drops    IP_CHECKSUM (the ICMP checksum is made anew, so a wrong one would be laundered)
enum pcgdp_verdict icmp_error_translate(struct pkt *p, const struct entry *e)
{
	struct ip_hdr *outer = pkt_ip(p), *inner;
	uint8_t *icmp = (uint8_t *)outer + IP_HLEN, *q, *csum;
	uint32_t icmp_len = p->ip_len - IP_HLEN, len;
	bool dst = e->op & OP_DST;
	uint8_t proto;

	if (csum_fold(csum_add_bytes(0, icmp, icmp_len)) != 0xffff)
		return drop(p, R_IP_CHECKSUM);
	q = (uint8_t *)(uintptr_t)quoted(p, &len);
	inner = (struct ip_hdr *)q;
	proto = inner->proto;
	csum = l4_csum(q, len, e);
	uint8_t *address = q + (dst ? offsetof(struct ip_hdr, src) : offsetof(struct ip_hdr, dst));
	uint16_t delta = delta32(rd32(address), e->new_addr);

	if (csum && proto != IPP_ICMP)
		wr16(csum, csum_apply(rd16(csum), delta));
	inner->csum = csum_apply(inner->csum, delta);
	wr32(address, e->new_addr);
	if (e->port_off != 0xff)
		swap16(q + header_len(q) + (proto == IPP_ICMP ? 4 : dst ? 0 : 2), e->new_port, csum);
	if (csum && proto == IPP_UDP && !rd16(csum))
		wr16(csum, 0xffff); // RFC 768: zero says there is none

	if (dst)
		outer->dst = e->new_addr;
	else
		outer->src = e->new_addr;
	outer->ttl--;
	outer->csum = 0;
	outer->csum = (uint16_t)~csum_ip_words(outer);
	wr16(icmp + 2, 0);
	wr16(icmp + 2, (uint16_t)~csum_fold(csum_add_bytes(0, icmp, icmp_len)));
	return PCGDP_NEXT;
}

// One address of the quoted packet; what changes in `icmp`'s sum by it is returned.
static uint16_t swap_address(uint8_t *q, uint32_t len, size_t at, be32 to)
{
	struct ip_hdr *ip = (struct ip_hdr *)q;
	uint16_t delta = delta32(rd32(q + at), to), sum = csum_apply(ip->csum, delta), inside = delta_add(delta, delta16(ip->csum, sum));
	uint32_t l4 = header_len(q) + (ip->proto == IPP_TCP ? 16 : 6);
	bool has = (ip->proto == IPP_TCP || ip->proto == IPP_UDP) && len >= l4 + 2;
	uint16_t before = has ? rd16(q + l4) : 0, after;

	wr32(q + at, to);
	ip->csum = sum;
	if (!has || (ip->proto == IPP_UDP && !before))
		return inside;
	after = csum_apply(before, delta);
	if (!after && ip->proto == IPP_UDP)
		after = 0xffff; // RFC 768: zero says there is none
	wr16(q + l4, after);
	return delta_add(inside, delta16(before, after));
}

// Before   the ICMP error is final but for what it quotes; the quoted header is whole
// After    that is from `src` to `dst`; a checksum that was right is right, one that was wrong stays so
void icmp_error_quote(const struct pkt *p, be32 src, be32 dst)
{
	uint32_t len;
	uint8_t *q = (uint8_t *)(uintptr_t)quoted(p, &len), *icmp = q - 8;
	uint16_t delta = swap_address(q, len, offsetof(struct ip_hdr, src), src);

	delta = delta_add(delta, swap_address(q, len, offsetof(struct ip_hdr, dst), dst));
	wr16(icmp + 2, csum_apply(rd16(icmp + 2), delta));
}
