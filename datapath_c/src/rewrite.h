// SPDX-License-Identifier: Apache-2.0
// rewrite.h - what a session does to a packet, and the tunnel header in front of it: for the
// stages (rewrite.c, egress.c) and for the plain packets that need none of their questions (plain.c).
#pragma once

#include "adjacency.h"
#include "csum.h"
#include "session.h"

// A packet without SYN, FIN or RST: nothing but an ACK may be news.
INLINE void session_count(struct entry *e, uint32_t bytes, uint32_t now_s)
{
	BUMP(&e->packets, 1);
	BUMP(&e->bytes, bytes);
	e->last_s = now_s;
}

// Of all that one side sent, with what it sends now. Who goes on has not reset anything: that RST was forged,
// or too old for its receiver (RFC 6146 section 3.5.2.2).
INLINE uint8_t flags_after(uint8_t seen, uint8_t now)
{
	return (uint8_t)((seen & ~TCP_RST) | now);
}

INLINE void translate(struct ip_hdr *ip, const struct entry *e)
{
	uint8_t *l4 = (uint8_t *)ip + IP_HLEN;

	if (LIKELY(e->csum_off != 0xff)) {
		uint8_t *at = l4 + e->csum_off;
		uint16_t sum = rd16(at);

		// UDP: zero means none (RFC 768), so it stays zero, and a computed zero is sent as ones
		if (LIKELY(sum || ip->proto != IPP_UDP)) {
			sum = csum_apply(sum, e->l4_delta);
			if (UNLIKELY(!sum) && ip->proto == IPP_UDP)
				sum = 0xffff;
			wr16(at, sum);
		}
		wr16(l4 + e->port_off, e->new_port);
	}
	if (e->op & OP_SRC)
		ip->src = e->new_addr;
	else if (e->op & OP_DST)
		ip->dst = e->new_addr;
	ip->ttl--;
	ip->csum = csum_apply(ip->csum, e->l3_delta);
}

INLINE void decrement_ttl(struct ip_hdr *ip)
{
	ip->ttl--;
	ip->csum = csum_apply(ip->csum, (uint16_t)~htons(0x0100));
}

// Sum of a TCP or UDP packet from its headers alone: an IPv4 header with a right checksum sums to
// zero, a segment with a right one to minus its pseudo header; all multiples of 0xffff are zero in
// this arithmetic. A wrong inner checksum makes the outer one wrong too, which is as it should be.
INLINE uint64_t sum_by_headers(const struct ip_hdr *ip, uint32_t ip_len)
{
	return (0xffffull << 32) - csum_pseudo(ip->src, ip->dst, ip->proto, (uint16_t)(ip_len - IP_HLEN));
}

INLINE void put_plain_header(const struct adj *a, uint8_t *ip)
{
	memcpy(ip - 16, a->tmpl + ADJ_TMPL - 16, 16);
}

// The template, and what differs from packet to packet: lengths, TOS (RFC 6040 section 4.1, normal
// mode), source port (RFC 8926 section 3.3: it carries the flow's entropy for the underlay's
// hashing) and checksums. inner_sum: of the packet from `ip` on, any other Ethernet type included.
INLINE void put_tunnel_header(const struct adj *a, uint8_t *ip, uint32_t len, uint8_t tos, uint64_t hash, uint64_t inner_sum)
{
	uint8_t *outer = ip - a->len + ETH_HLEN_, *udp = outer + IP_HLEN;
	uint16_t ip_len = htons((uint16_t)(a->len - ETH_HLEN_ + len));
	uint16_t udp_len = htons((uint16_t)(a->len - ETH_HLEN_ - IP_HLEN + len));
	uint16_t sport = htons((uint16_t)(0xc000 | (hash >> 20 & 0x3fff)));
	uint16_t csum;

	memcpy(ip - TUNNEL_MAX, a->tmpl + ADJ_TMPL - TUNNEL_MAX, TUNNEL_MAX); // a shorter one is right-aligned in it
	outer[1] = tos;
	wr16(outer + 2, ip_len);
	wr16(outer + 10, (uint16_t)~csum_fold((uint64_t)a->ip_sum + ip_len + htons(tos)));
	wr16(udp, sport);
	wr16(udp + 4, udp_len);
	if (!a->udp_checksum)
		return;
	csum = (uint16_t)~csum_fold((uint64_t)a->udp_sum + sport + 2u * udp_len + inner_sum);
	wr16(udp + 6, csum ? csum : 0xffff);
}
