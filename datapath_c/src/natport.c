// SPDX-License-Identifier: Apache-2.0
// natport.c - see natport.h.

#include "natport.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { WORDS = 65536 / 64 };

int natports_open(struct natports *n)
{
	n->bits = mmap(NULL, (size_t)PUBLICS_MAX * NATPORT_PROTOS * sizeof(*n->bits), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (n->bits != MAP_FAILED)
		return 0;
	n->bits = NULL;
	return -ENOMEM;
}

void natports_close(struct natports *n)
{
	if (!n->bits)
		return;
	for (size_t i = 0; i < (size_t)PUBLICS_MAX * NATPORT_PROTOS; i++)
		free(n->bits[i]);
	munmap(n->bits, (size_t)PUBLICS_MAX * NATPORT_PROTOS * sizeof(*n->bits));
	n->bits = NULL;
}

int natport_proto(uint8_t proto)
{
	switch (proto) {
	case 6:
		return NATPORT_TCP;
	case 17:
		return NATPORT_UDP;
	case 1:
		return NATPORT_ICMP;
	default:
		return -1;
	}
}

// The only allocation behind the packet path: 8 KiB, once per public address and protocol.
static uint64_t *bits_of(struct natports *n, uint32_t public_index, uint8_t proto)
{
	int p = natport_proto(proto);
	uint64_t **at, *made, *none = NULL;

	if (p < 0 || public_index >= PUBLICS_MAX)
		return NULL;
	at = &n->bits[(size_t)public_index * NATPORT_PROTOS + (size_t)p];
	if (LIKELY(LOAD(at)))
		return LOAD(at);
	made = calloc(WORDS, sizeof(*made));
	if (made && !__atomic_compare_exchange_n(at, &none, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		free(made);
	return LOAD(at);
}

static bool take(uint64_t *bits, uint32_t port)
{
	uint64_t bit = 1ull << (port & 63);

	return !(__atomic_fetch_or(&bits[port >> 6], bit, __ATOMIC_ACQ_REL) & bit);
}

static uint32_t probe(uint16_t first, uint16_t last, uint64_t random)
{
	return first + (uint32_t)((uint64_t)(uint32_t)(random >> 32) * ((uint32_t)last - first + 1u) >> 32);
}

uint16_t natport_ahead(const struct natports *n, uint32_t public_index, uint8_t proto, uint16_t first, uint16_t last, uint64_t random)
{
	uint32_t port = probe(first, last, random);
	int p = natport_proto(proto);
	const uint64_t *bits = p < 0 || public_index >= PUBLICS_MAX ? NULL : LOAD(&n->bits[(size_t)public_index * NATPORT_PROTOS + (size_t)p]);

	if (bits)
		PREFETCH_W(&bits[port >> 6]);
	return (uint16_t)port;
}

// Random probes first: they find a port at once while the table is not nearly full. Then one walk
// over the words, so the search is bounded and "exhausted" is the truth.
uint16_t natport_take(struct natports *n, uint32_t public_index, uint8_t proto, uint16_t first, uint16_t last,
	const uint64_t *reserved, uint64_t random)
{
	uint64_t *bits = bits_of(n, public_index, proto);
	uint32_t span = (uint32_t)last - first + 1u;

	if (!bits || last < first)
		return 0;
	for (unsigned i = 0; i < 8; i++) {
		uint32_t port = probe(first, last, random);

		random = (random >> 16 | 1) * 0x9e3779b97f4a7c15ull + i;
		if (reserved && reserved[port >> 6] >> (port & 63) & 1)
			continue;
		if (port && take(bits, port))
			return (uint16_t)port;
	}
	for (uint32_t i = 0, start = probe(first, last, random) - first; i < span;) {
		uint32_t port = first + (start + i) % span;
		uint64_t busy = LOAD(&bits[port >> 6]) | (reserved ? reserved[port >> 6] : 0);

		if (busy == ~0ull && (port & 63) == 0 && port + 63 <= last) {
			i += 64;
			continue;
		}
		if (port && !(busy >> (port & 63) & 1) && take(bits, port))
			return (uint16_t)port;
		i++;
	}
	return 0;
}

uint16_t natport_look(const struct natports *n, uint32_t public_index, uint8_t proto, uint16_t first, uint16_t last, const uint64_t *reserved)
{
	int p = natport_proto(proto);
	const uint64_t *bits = p < 0 || public_index >= PUBLICS_MAX ? NULL : LOAD(&n->bits[(size_t)public_index * NATPORT_PROTOS + (size_t)p]);

	for (uint32_t port = first; port <= last; port++) {
		uint64_t busy = (bits ? PEEK(&bits[port >> 6]) : 0) | (reserved ? reserved[port >> 6] : 0);

		if (port && !(busy >> (port & 63) & 1))
			return (uint16_t)port;
	}
	return 0;
}

bool natport_claim(struct natports *n, uint32_t public_index, uint8_t proto, uint16_t port)
{
	uint64_t *bits = bits_of(n, public_index, proto);

	return bits && take(bits, port);
}

void natport_give(struct natports *n, uint32_t public_index, uint8_t proto, uint16_t port)
{
	uint64_t *bits = bits_of(n, public_index, proto);

	if (bits)
		__atomic_fetch_and(&bits[port >> 6], ~(1ull << (port & 63)), __ATOMIC_ACQ_REL);
}

// How many of first..last are set.
static uint32_t set_in(const uint64_t *bits, uint32_t first, uint32_t last)
{
	uint32_t n = 0;

	for (uint32_t i = first >> 6; bits && i <= last >> 6; i++) {
		uint64_t from = i == first >> 6 ? ~0ull << (first & 63) : ~0ull, to = i == last >> 6 ? ~0ull >> (63 - (last & 63)) : ~0ull;

		n += (uint32_t)__builtin_popcountll(PEEK(&bits[i]) & from & to);
	}
	return n;
}

uint32_t natport_used(const struct natports *n, uint32_t public_index, uint16_t first, uint16_t last)
{
	uint32_t most = 0;

	for (uint32_t p = 0; p < NATPORT_PROTOS && public_index < PUBLICS_MAX; p++) {
		uint32_t used = set_in(LOAD(&n->bits[(size_t)public_index * NATPORT_PROTOS + p]), first, last);

		most = used > most ? used : most;
	}
	return most;
}

uint32_t natport_there(const uint64_t *reserved, uint16_t first, uint16_t last)
{
	return (uint32_t)last - first + 1u - set_in(reserved, first, last);
}
