// SPDX-License-Identifier: Apache-2.0
// plain_parse.h - is a frame plain? Every question at once, without a branch, since the answer is
// nearly always the same. Each function returns what is wrong: 0 for a plain frame.
#pragma once

#include <endian.h>

#include "csum.h"
#include "rewrite.h"

// Offsets in a tunnel frame with our option, as every agent sends it; in a plain one.
enum {
	OUTER_IP = ETH_HLEN_,
	OUTER_UDP = OUTER_IP + IP_HLEN,
	GENEVE = OUTER_UDP + UDP_HLEN,
	OPTION = GENEVE + GENEVE_HLEN,
	INNER_ETH = OPTION + OPTION_LEN,
	INNER_IP = INNER_ETH + ETH_HLEN_,
	LEAST = 40, // bytes of the IP packet: an IPv4 and a TCP header; shorter ones take the stages
};

#define MAC_MASK htobe64(0xffffffffffff0000ull)

static uint64_t mac_word(const uint8_t *mac)
{
	uint64_t v = 0;

	memcpy(&v, mac, 6);
	return v;
}

// Of the packet to be forwarded, whose bytes from `ip` on are all there: as inner.c asks, but for
// what no session's key holds either (martians), and rewrite.c (TTL).
static inline uint64_t packet_wrong(const uint8_t *ip)
{
	uint32_t l4_len = (uint32_t)ntohs(rd16(ip + 2)) - IP_HLEN;
	const uint8_t *l4 = ip + IP_HLEN;
	uint32_t tcp_len = (l4[12] >> 4) * 4u;
	uint64_t tcp = (tcp_len < sizeof(struct tcp_hdr)) | (tcp_len > l4_len) | (l4[13] & (TCP_FIN | TCP_SYN | TCP_RST));
	uint64_t udp = (rd16(l4 + 4) ^ htons((uint16_t)l4_len)) | !rd16(l4 + 6);
	uint64_t wrong = (rd32(ip + 6) & htonl(0x3fff0000)) | (ip[8] <= 1) | (csum_ip_words(ip) ^ 0xffff);

	return wrong | (ip[9] == IPP_TCP ? tcp : udp) | ((ip[9] != IPP_TCP) & (ip[9] != IPP_UDP));
}

// RFC 8926 section 4.3. A right inner checksum makes the payload's sum known; were it wrong, the
// packet would reach its receiver as wrong as it came, and be dropped there.
static inline uint64_t outer_sum_wrong(const uint8_t *d, uint32_t ip_len)
{
	uint64_t sum = sum_by_headers((const void *)(d + INNER_IP), ip_len) + htons(IPP_UDP) + rd16(d + OUTER_UDP + 4);

	for (uint32_t at = OUTER_IP + 12; at < INNER_IP - 2; at += 4) // addresses, UDP, Geneve, inner Ethernet
		sum += rd32(d + at);
	return csum_fold(sum + rd16(d + INNER_IP - 2)) ^ 0xffff;
}

// As outer.c and geneve.c ask, and inner.c of the inner Ethernet header's type.
static inline uint64_t tunnel_wrong(const uint8_t *d, uint32_t len, uint64_t mac, be32 tep, bool sum_known)
{
	uint32_t outer_len = ntohs(rd16(d + OUTER_IP + 2)), ip_len = ntohs(rd16(d + INNER_IP + 2));
	uint64_t wrong = (rd64(d) ^ mac) & MAC_MASK;

	wrong |= (rd32(d + 12) ^ htonl(0x08004500)) & htonl(0xffffff01); // not ECT(1) nor CE: those are merged
	wrong |= (rd32(d + OUTER_IP + 6) ^ htonl(IPP_UDP)) & htonl(0x3fff00ff);
	wrong |= rd32(d + OUTER_IP + 16) ^ tep;
	wrong |= rd32(d + OUTER_UDP + 2) ^ htonl((uint32_t)GENEVE_PORT << 16 | (uint16_t)(outer_len - IP_HLEN));
	wrong |= (rd32(d + GENEVE) ^ htonl(OPTION_LEN / 4 << 24 | ETYPE_TEB)) & ~htonl((uint32_t)GENEVE_F_CRITICAL << 16);
	wrong |= rd32(d + OPTION) ^ htonl(OUR_OPTION_WORD);
	wrong |= (rd32(d + INNER_IP - 2) ^ htonl(0x08004500)) & htonl(0xffffff00);
	wrong |= (ETH_HLEN_ + outer_len > len) | (INNER_IP + ip_len != ETH_HLEN_ + outer_len) | (ip_len < LEAST);
	wrong |= csum_ip_words(d + OUTER_IP) ^ 0xffff;
	wrong |= packet_wrong(d + INNER_IP);
	if (!sum_known && rd16(d + OUTER_UDP + 6))
		wrong |= outer_sum_wrong(d, ip_len);
	return wrong;
}
