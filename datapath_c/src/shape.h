// SPDX-License-Identifier: Apache-2.0
// shape.h - what stands still in plain frames, compared in a few wide words.
#pragma once

#include <endian.h>

#include "hdr.h"

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

// What stands still in every plain frame: its value, and which of its bits count.
typedef uint64_t wide __attribute__((vector_size(16))); // the compiler's own vectors: SSE2, NEON
enum { SHAPE_UPLINK = 2, SHAPE_TUNNEL = 5 };             // words

struct shape {
	wide value[SHAPE_TUNNEL], mask[SHAPE_TUNNEL];
};

_Static_assert(SHAPE_TUNNEL * sizeof(wide) == INNER_IP + 8, "to the fragment bits of the inner packet");

static inline void shape_set(struct shape *s, uint32_t at, uint32_t len, const void *value, const void *mask)
{
	memcpy((uint8_t *)s->value + at, value, len);
	memcpy((uint8_t *)s->mask + at, mask, len);
}

static inline void shape_set_32(struct shape *s, uint32_t at, uint32_t value, uint32_t mask)
{
	value = htonl(value);
	mask = htonl(mask);
	shape_set(s, at, sizeof(value), &value, &mask);
}

// Ethernet type, version and length of the IPv4 header at `ip`; bits of its TOS that must be zero.
static inline void shape_ip(struct shape *s, uint32_t ip, uint32_t tos)
{
	uint16_t whole[2] = {0, htons(IP_MF | IP_OFFSET)};

	shape_set_32(s, ip - 2, 0x08004500, 0xffffff00 | tos);
	shape_set(s, ip + 6, sizeof(whole[0]), &whole[0], &whole[1]);
}

// Of a tunnel frame as every agent sends it, to this port and TEP. ECT(1) and CE outside must be
// merged (RFC 6040), so they are not plain.
static inline void shape_tunnel(struct shape *s, const uint8_t *mac, be32 tep)
{
	memset(s, 0, sizeof(*s));
	shape_set(s, 0, 6, mac, "\xff\xff\xff\xff\xff\xff");
	shape_ip(s, OUTER_IP, 1);
	shape_set(s, OUTER_IP + 9, 1, &(uint8_t){IPP_UDP}, "\xff");
	shape_set_32(s, OUTER_IP + 16, ntohl(tep), 0xffffffff);
	shape_set(s, OUTER_UDP + 2, 2, &(be16){htons(GENEVE_PORT)}, "\xff\xff");
	shape_set_32(s, GENEVE, OPTION_LEN / 4 << 24 | ETYPE_TEB, ~((uint32_t)GENEVE_F_CRITICAL << 16));
	shape_set_32(s, OPTION, OUR_OPTION_WORD, 0xffffffff);
	shape_ip(s, INNER_IP, 0);
}

static inline void shape_uplink(struct shape *s, const uint8_t *mac)
{
	memset(s, 0, sizeof(*s));
	shape_set(s, 0, 6, mac, "\xff\xff\xff\xff\xff\xff");
	shape_ip(s, OUTER_IP, 0);
}

INLINE uint64_t shape_wrong(const struct shape *s, const uint8_t *d, uint32_t words)
{
	wide wrong = {0, 0};

	for (uint32_t i = 0; i < words; i++) {
		wide at;

		memcpy(&at, d + sizeof(at) * i, sizeof(at));
		wrong |= (at ^ s->value[i]) & s->mask[i];
	}
	return wrong[0] | wrong[1];
}

static inline uint64_t mac_word(const uint8_t *mac)
{
	uint64_t v = 0;

	memcpy(&v, mac, 6);
	return v;
}
