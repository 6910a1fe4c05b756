// SPDX-License-Identifier: Apache-2.0
// dhcp_frame.h - who client i of dhcp_load.c is, and DHCP in UDP in a tunnel, put and read.

#pragma once

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { N_TEPS = 100, FIRST_VNI = 20000 };
enum { TEPS = 0x0a620001, SUBNETS = 0x0a800000 }; // 10.98.0.1 on; 10.128.0.0 on, 256 addresses each
enum { ETHER = 14, IP = 20, UDP = 8, GENEVE = 16, BOOTP = 240, OUTER = ETHER + IP + UDP + GENEVE, INNER = ETHER + IP + UDP };
enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK };

static const uint8_t ROUTER[6] = {2, 0, 0, 0, 0, 7}, EVERYBODY[6] = {255, 255, 255, 255, 255, 255};

static struct {
	uint8_t mac[6], theirs[6]; // of our interface, of the gateway's
	uint32_t tep, n, per_segment; // of the gateway; clients, in all and on a segment
} place;

static void put16(uint8_t *at, uint32_t v) { at[0] = (uint8_t)(v >> 8), at[1] = (uint8_t)v; }
static void put32(uint8_t *at, uint32_t v) { put16(at, v >> 16), put16(at + 2, v & 0xffff); }
static uint32_t get16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }
static uint32_t get32(const uint8_t *at) { return get16(at) << 16 | get16(at + 2); }

static uint32_t segment_of(uint32_t i) { return i / place.per_segment; }
static uint32_t gateway_of(uint32_t i) { return SUBNETS + segment_of(i) * 256 + 1; }
static uint32_t tep_of(uint32_t i) { return TEPS + i % N_TEPS; }

static void mac_of(uint32_t i, uint8_t *mac) { put16(mac, 0x0205), put32(mac + 2, i); }

static uint32_t sum(const uint8_t *at, uint32_t n, uint32_t from)
{
	for (; n > 1; at += 2, n -= 2)
		from += get16(at);
	if (n)
		from += (uint32_t)*at << 8;
	while (from >> 16)
		from = (from & 0xffff) + (from >> 16);
	return from;
}

static void ether_put(uint8_t *at, const uint8_t *to, const uint8_t *from)
{
	memcpy(at, to, 6), memcpy(at + 6, from, 6), put16(at + 12, ETHERTYPE_IP);
}

// An IPv4 and a UDP header over `n` bytes that are there already; the UDP checksum if asked for.
static void udp_put(uint8_t *ip, uint32_t src, uint32_t dst, uint32_t sport, uint32_t dport, uint32_t n, bool check)
{
	uint8_t *udp = ip + IP;

	memset(ip, 0, IP + UDP);
	ip[0] = 0x45, ip[8] = 64, ip[9] = IPPROTO_UDP;
	put16(ip + 2, IP + UDP + n), put16(ip + 6, 0x4000), put32(ip + 12, src), put32(ip + 16, dst);
	put16(ip + 10, ~sum(ip, IP, 0));
	put16(udp, sport), put16(udp + 2, dport), put16(udp + 4, UDP + n);
	if (check)
		put16(udp + 6, ~sum(udp, UDP + n, sum(ip + 12, 8, IPPROTO_UDP + UDP + n)));
}

struct answer {
	uint32_t kind, server, has_82;
};

static bool options_read(const uint8_t *at, const uint8_t *end, struct answer *a)
{
	while (at < end && *at != 255) {
		if (*at == 0) {
			at++;
			continue;
		}
		if (at + 2 > end || at + 2 + at[1] > end)
			return false;
		if (at[0] == 53)
			a->kind = at[2];
		if (at[0] == 54 && at[1] == 4)
			a->server = get32(at + 2);
		a->has_82 |= at[0] == 82;
		at += 2 + at[1];
	}
	return at < end;
}

// The answer's client, or false if anything is not as it must be.
static bool answer_read(const uint8_t *at, uint32_t n, uint32_t *who, struct answer *a)
{
	const uint8_t *inner = at + OUTER, *ip = inner + ETHER, *bootp = ip + IP + UDP;
	uint8_t mac[6];
	uint32_t i, udp_n;

	if (n < OUTER + INNER + BOOTP || at[ETHER] != 0x45 || get16(at + ETHER + IP + 2) != 6081 || at[ETHER + IP + UDP] != 2 || ip[0] != 0x45)
		return false;
	i = get32(bootp + 4) & 0xfffff, udp_n = get16(ip + IP + 4);
	if (i >= place.n || udp_n < UDP + BOOTP || (uint32_t)(ip - at) + IP + udp_n > n)
		return false;
	mac_of(i, mac);
	if (get32(at + ETHER + 12) != place.tep || get32(at + ETHER + 16) != tep_of(i) || get32(at + OUTER - 12) >> 8 != FIRST_VNI + segment_of(i))
		return false;
	if ((memcmp(inner, mac, 6) && memcmp(inner, EVERYBODY, 6)) || memcmp(bootp + 28, mac, 6) || get16(ip + IP) != 67 || get16(ip + IP + 2) != 68)
		return false;
	if (sum(ip, IP, 0) != 0xffff || sum(ip + IP, udp_n, sum(ip + 12, 8, IPPROTO_UDP + udp_n)) != 0xffff)
		return false;
	*who = i;
	return options_read(bootp + BOOTP, ip + IP + udp_n, a) && a->server == gateway_of(i) && !a->has_82;
}
