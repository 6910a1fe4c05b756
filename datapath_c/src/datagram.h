// SPDX-License-Identifier: Apache-2.0
// datagram.h - which bytes of a datagram are here, and whether another piece fits: a bit for each
// 8 bytes, since every piece begins at a multiple of 8 and only the last ends elsewhere (RFC 791).
#pragma once

#include "hdr.h"

enum { DATA_MAX = 65535 - IP_HLEN, UNITS = (DATA_MAX + 7) / 8 };

struct extent {
	uint16_t end;   // bytes of data in all; 0: the last piece has not come
	uint16_t units; // bits set
	uint64_t there[(UNITS + 63) / 64];
};

struct piece {
	uint32_t at, len; // bytes of data
	bool more;
};

// false: it can be part of no datagram.
static inline bool piece_of(const struct ip_hdr *ip, uint32_t ip_len, struct piece *piece)
{
	uint32_t hlen = (ip->ver_ihl & 15u) * 4, frag = ntohs(ip->frag);

	*piece = (struct piece){.at = (frag & IP_OFFSET) * 8, .len = ip_len - hlen, .more = frag & IP_MF};
	return piece->len && !(piece->more && piece->len % 8) && piece->at + piece->len <= DATA_MAX;
}

// Of the 64 units of word i, those from first to last.
static inline uint64_t units(uint32_t first, uint32_t last, uint32_t i)
{
	uint64_t from = i == first / 64 ? ~0ull << first % 64 : ~0ull;

	return i == last / 64 ? from & ~0ull >> (63 - last % 64) : from;
}

enum fit { FITS, TWICE, CLASHES };

// The last piece says where the datagram ends: none may say otherwise, or reach beyond.
static inline enum fit how_it_fits(const struct extent *e, const uint8_t *whole, const struct piece *piece, const uint8_t *data)
{
	uint32_t first = piece->at / 8, last = (piece->at + piece->len - 1) / 8, n = 0, highest = 0;

	for (uint32_t i = first / 64; i <= last / 64; i++)
		n += (uint32_t)__builtin_popcountll(e->there[i] & units(first, last, i));
	if (n == last - first + 1 && (piece->more ? !e->end || piece->at + piece->len <= e->end : piece->at + piece->len == e->end))
		return memcmp(whole + piece->at, data, piece->len) ? CLASHES : TWICE;
	if (n || (e->end && (!piece->more || piece->at + piece->len > e->end)))
		return CLASHES;
	for (uint32_t i = 0; !piece->more && i < sizeof(e->there) / sizeof(e->there[0]); i++)
		if (e->there[i])
			highest = i * 64 + 64 - (uint32_t)__builtin_clzll(e->there[i]);
	return highest * 8 > piece->at + piece->len ? CLASHES : FITS;
}

static inline void extent_add(struct extent *e, const struct piece *piece)
{
	uint32_t first = piece->at / 8, last = (piece->at + piece->len - 1) / 8;

	for (uint32_t i = first / 64; i <= last / 64; i++)
		e->there[i] |= units(first, last, i);
	e->units += (uint16_t)(last - first + 1);
	if (!piece->more)
		e->end = (uint16_t)(piece->at + piece->len);
}

static inline bool extent_whole(const struct extent *e)
{
	return e->end && e->units == (e->end + 7u) / 8;
}
