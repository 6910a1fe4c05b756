// SPDX-License-Identifier: Apache-2.0
// hash.h - the keyed hash of a 16-byte key.
//
// Two multiplications of 64 to 128 bits, folded, with a secret of 128 bits from the kernel's
// generator. Not linear in its key (a CRC is, so that collisions under one seed are collisions
// under every seed), and no slower.
#pragma once

#include "base.h"

union key {
	struct {
		be32 src, dst;
		be16 sport, dport;
		uint32_t domain_proto; // domain << 8 | IP protocol
	};
	uint64_t q[2];
};

_Static_assert(sizeof(union key) == 16, "a key is two words");

// The second word of a key, from both ports as they lie in the packet.
INLINE uint64_t key_word(uint32_t ports, uint32_t domain_proto)
{
	union key k = {.domain_proto = domain_proto};

	memcpy(&k.sport, &ports, sizeof(ports));
	return k.q[1];
}

struct secret {
	uint64_t k[2];
};

INLINE uint64_t mul_fold(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

INLINE uint64_t hash_key(const struct secret *s, const union key *k)
{
	uint64_t x = mul_fold(k->q[0] ^ s->k[0], k->q[1] ^ s->k[1]);

	return mul_fold(x ^ s->k[1] ^ k->q[0], 0xa0761d6478bd642full ^ k->q[1]);
}

INLINE bool key_equal(const union key *a, const union key *b)
{
	return ((a->q[0] ^ b->q[0]) | (a->q[1] ^ b->q[1])) == 0;
}
