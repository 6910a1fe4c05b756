// SPDX-License-Identifier: Apache-2.0
// plain_parse.h - is a frame plain? Every question at once, without a branch, since the answer is
// nearly always the same. Each function returns what is wrong: 0 for a plain frame.
#pragma once

#include "csum.h"
#include "rewrite.h"
#include "shape.h"

// A right sum of one's complement is a multiple of 0xffff: that is asked with one multiplication.
INLINE uint64_t sum_wrong(uint64_t sum)
{
	return sum % 0xffff != 0;
}

// Not 0 if a < b, both below 2^31; no comparison, so that several of them become one.
INLINE uint32_t below(uint32_t a, uint32_t b)
{
	return (a - b) >> 31;
}

static inline uint64_t ip_sum(const uint8_t *ip)
{
	return csum_add_16(rd32(ip + 16), ip);
}

// Flags that are news to a session: the stages see to them.
INLINE uint8_t tcp_news(const uint8_t *ip)
{
	return ip[9] == IPP_TCP ? ip[IP_HLEN + 13] & (TCP_FIN | TCP_SYN | TCP_RST) : 0;
}

// Of the packet to be forwarded, whose bytes from `ip` on are all there: as inner.c asks, but for
// what no session is found by either (martians; see entry_fill() in install.c), and rewrite.c (TTL).
static inline uint64_t packet_wrong(const uint8_t *ip, uint32_t ip_len)
{
	const uint8_t *l4 = ip + IP_HLEN;
	uint32_t l4_len = ip_len - IP_HLEN, tcp_len = (l4[12] >> 4) * 4u;
	uint64_t tcp = (tcp_len - sizeof(struct tcp_hdr) > l4_len - sizeof(struct tcp_hdr));
	uint64_t udp = (rd16(l4 + 4) ^ htons((uint16_t)l4_len)) | !rd16(l4 + 6) | (ip[9] ^ IPP_UDP);

	return sum_wrong(ip_sum(ip)) | (ip[8] <= 1) | (ip[9] == IPP_TCP ? tcp : udp);
}

// RFC 8926 section 4.3. A right inner checksum makes the payload's sum known; were it wrong, the
// packet would reach its receiver as wrong as it came, and be dropped there.
static inline uint64_t outer_sum_wrong(const uint8_t *d, uint32_t ip_len)
{
	uint64_t sum = sum_by_headers((const void *)(d + INNER_IP), ip_len) + htons(IPP_UDP) + rd16(d + OUTER_UDP + 4);

	sum += (uint64_t)rd32(d + OUTER_IP + 12) + rd32(d + OUTER_IP + 16); // addresses
	sum += (uint64_t)rd32(d + INNER_IP - 6) + rd16(d + INNER_IP - 2);
	return sum_wrong(csum_add_32(sum, d + OUTER_UDP)); // UDP, Geneve, option, inner Ethernet
}

// As outer.c and geneve.c ask, and inner.c of the inner Ethernet header's type.
static inline uint64_t tunnel_wrong(const struct shape *s, const uint8_t *d, uint32_t len, bool sum_known)
{
	uint32_t outer_len = ntohs(rd16(d + OUTER_IP + 2)), ip_len = ntohs(rd16(d + INNER_IP + 2));
	uint64_t wrong = shape_wrong(s, d, SHAPE_TUNNEL);

	wrong |= rd16(d + OUTER_UDP + 4) ^ htons((uint16_t)(outer_len - IP_HLEN));
	wrong |= outer_len ^ (INNER_IP - OUTER_IP + ip_len);
	wrong |= below(len, ETH_HLEN_ + outer_len) | below(ip_len, LEAST);
	wrong |= sum_wrong(ip_sum(d + OUTER_IP)) | packet_wrong(d + INNER_IP, ip_len);
	if (!sum_known && rd16(d + OUTER_UDP + 6))
		wrong |= outer_sum_wrong(d, ip_len);
	return wrong;
}

static inline uint64_t uplink_wrong(const struct shape *s, const uint8_t *d, uint32_t len)
{
	uint32_t ip_len = ntohs(rd16(d + OUTER_IP + 2));

	return shape_wrong(s, d, SHAPE_UPLINK) | below(len, OUTER_IP + ip_len) | below(ip_len, LEAST) | packet_wrong(d + OUTER_IP, ip_len);
}
