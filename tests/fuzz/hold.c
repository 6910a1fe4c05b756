// SPDX-License-Identifier: Apache-2.0
// hold.c - each frame that leaves is held against the rules of the wire, and of this world.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

enum { MORE_FRAGMENTS = 0x2000, OFFSET = 0x1fff };

static const uint8_t up_mac[6] = {2, 0, 0, 0, 0, 2}, down_mac[6] = {2, 0, 0, 0, 0, 1};

static void hold(bool right, const char *what, const struct frame *f)
{
	if (right)
		return;
	fprintf(stderr, "sent by role %u, %u bytes: %s\n", f->role, f->len, what);
	for (uint32_t i = 0; i < f->len && i < 160; i++)
		fprintf(stderr, "%02x%s", f->data[i], i % 16 == 15 ? "\n" : " ");
	abort();
}

// ---- by itself ----

static bool unicast(const uint8_t *ip)
{
	return ip[0] && ip[0] != 127 && ip[0] < 224;
}

static void hold_ip(const struct frame *f, uint32_t at)
{
	const uint8_t *ip = f->data + at;

	hold(f->len >= at + IP && ip[0] == 0x45, "an IP header without options", f);
	hold(get16(ip + 2) == f->len - at, "its length is the frame's", f);
	hold(sum_of(ip, IP, 0) == 0xffff, "its IP checksum is right", f);
	hold(ip[8], "it may go one hop on", f);
	// another policy may give us any address
	hold(!world_is_own() || (unicast(ip + 12) && unicast(ip + 16) && memcmp(ip + 12, ip + 16, 4)), "from one host to another", f);
}

static uint32_t inner_at(const struct frame *f)
{
	return GENEVE + 8 + (f->data[GENEVE] & 0x3fu) * 4;
}

void hold_sane(const struct frame *f)
{
	hold(f->len > ETH + IP && f->len <= PCGDP_FRAME_MAX, "its length is possible", f);
	hold(!memcmp(f->data + 6, f->role == PCGDP_UPLINK ? up_mac : down_mac, 6), "from our port", f);
	if (get16(f->data + 12) == 0x0806)
		return;
	hold(get16(f->data + 12) == 0x0800, "it is IPv4 or ARP", f);
	hold_ip(f, ETH);
	if (f->role == PCGDP_DOWNLINK) {
		uint32_t inner = inner_at(f);

		hold(get16(f->data + OUTER_UDP + 4) == f->len - OUTER_UDP, "UDP's length is the frame's", f);
		hold(get16(f->data + OUTER_UDP + 2) == 6081, "to Geneve's port", f);
		hold(inner + ETH <= f->len, "a frame is inside", f);
		if (get16(f->data + inner + 12) == 0x0800)
			hold_ip(f, inner + ETH);
	}
}

// ---- its checksums, where nothing wrong came in ----

static bool l4_right(const uint8_t *ip, uint32_t len)
{
	uint32_t proto = ip[9], n = len - IP, sum = 0;

	if (proto != TCP && proto != UDP && proto != ICMP)
		return true;
	if (n < 8 || (proto == UDP && get16(ip + IP + 4) != n))
		return false;
	if (proto == UDP && !get16(ip + IP + 6))
		return true;
	if (proto != ICMP)
		sum = sum_of(ip + 12, 8, proto + n);
	return sum_of(ip + IP, n, sum) == 0xffff;
}

static bool is_piece(const uint8_t *ip)
{
	return get16(ip + 6) & (MORE_FRAGMENTS | OFFSET);
}

bool trusted(const struct frame *f)
{
	uint32_t at = ip_at(f), len;

	if (f->len < ETH + IP || get16(f->data + 12) != 0x0800)
		return true; // ARP, or nothing that goes on
	if (is_piece(f->data + ETH) || !at)
		return false;
	if (get16(f->data + at - 2) != 0x0800)
		return true;
	len = get16(f->data + at + 2);
	return f->data[at] == 0x45 && len >= IP + 8 && at + len <= f->len && !is_piece(f->data + at) && l4_right(f->data + at, len);
}

void hold_sums(const struct frame *f)
{
	uint32_t at = ETH;

	if (get16(f->data + 12) != 0x0800 || is_piece(f->data + ETH))
		return;
	hold(l4_right(f->data + ETH, f->len - ETH), "its checksum is right", f);
	if (f->role == PCGDP_DOWNLINK)
		at = inner_at(f) + ETH;
	if (at > ETH && get16(f->data + at - 2) == 0x0800 && !is_piece(f->data + at))
		hold(l4_right(f->data + at, f->len - at), "the checksum inside is right", f);
}

// ---- whose it is ----

static bool overlay(const uint8_t *address)
{
	return address[0] == 192 && address[1] == 168;
}

static bool routed(const uint8_t *address) // of the overlay too, but known outside
{
	return address[0] == 198 && address[1] == 18 && address[2] == 7;
}

// An error is for who sent the packet that it is about, and names nobody of the overlay outside.
static void hold_quote(const struct frame *f, const uint8_t *ip, bool exempt)
{
	static const bool error[256] = {[3] = true, [4] = true, [5] = true, [11] = true, [12] = true};
	const uint8_t *quote = ip + IP + 8;

	if (ip[9] != ICMP || is_piece(ip) || !error[ip[IP]] || f->len < (uint32_t)(quote - f->data) + IP + 8)
		return;
	hold(!memcmp(quote + 12, ip + 16, 4), "an error about what its receiver sent", f);
	hold(exempt || !overlay(quote + 16), "no overlay address in an error from outside, or to it", f);
	hold(!(get16(quote + 6) & OFFSET), "about a first fragment", f);
	hold(quote[9] != ICMP || (quote[0] & 15) != 5 || !error[quote[IP]], "no error about an error", f);
}

// What comes to a workload from elsewhere than its own overlay.
static void hold_inside(const struct frame *f)
{
	const uint8_t *ip = f->data + inner_at(f) + ETH;
	bool inner = f->role == PCGDP_DOWNLINK && get16(ip - 2) == 0x0800;

	if (inner && ip[12] != 10 && !overlay(ip + 12) && !routed(ip + 12))
		hold_quote(f, ip, false);
}

// In this world what leaves by the uplink is from a secondary address, from the routed segment, or
// from `web` to where a NO_SNAT rule exempts it.
void hold_source(const struct frame *f)
{
	const uint8_t *ip = f->data + ETH, *src = ip + 12, *dst = ip + 16;
	bool ours = src[0] == 10 && src[1] == 99 && src[2] == 1;
	bool exempt = overlay(src) && src[2] == 99 && dst[0] == 172 && dst[1] >= 16 && dst[1] < 32;

	if (f->role != PCGDP_UPLINK || get16(f->data + 12) != 0x0800) {
		hold_inside(f);
		return;
	}
	hold(ours || routed(src) || exempt, "no overlay source", f);
	hold(f->len <= ETH + 1500, "as long as the uplink takes it", f);
	hold_quote(f, ip, dst[0] == 172);
}

// ---- where it goes ----

// In this world the VNIs of the second VRF are those above 19000.
uint32_t vrf_of(const struct frame *f)
{
	if (f->role != PCGDP_DOWNLINK || f->len < GENEVE + 8 || f->data[ETH] != 0x45 || is_piece(f->data + ETH))
		return MIXED;
	return (get16(f->data + GENEVE + 4) << 8 | f->data[GENEVE + 6]) >= 19000;
}

static bool to_nexthop(const struct frame *f)
{
	const struct pcgdp_nexthops *hop;

	for (uint32_t i = 0; (hop = world_row(PCGDP_T_NEXTHOPS, i)); i++)
		if (hop->resolved && !memcmp(hop->mac, f->data, 6))
			return true;
	return false;
}

static const struct pcgdp_teps *tep_of(const struct frame *f)
{
	const struct pcgdp_teps *tep;

	for (uint32_t i = 0; (tep = world_row(PCGDP_T_TEPS, i)); i++)
		if (!memcmp(&tep->address_be, f->data + ETH + 16, 4))
			return tep;
	return NULL;
}

// By its VNI, its TEP, its MAC and its address: no packet comes to another VRF's workload of this address.
static const struct pcgdp_ports *port_of(const struct frame *f)
{
	const uint8_t *vni = f->data + GENEVE + 4, *inner = f->data + inner_at(f);
	bool ip = get16(inner + 12) == 0x0800;
	const struct pcgdp_ports *port;

	for (uint32_t i = 0; (port = world_row(PCGDP_T_PORTS, i)); i++)
		if (port->vni == (get16(vni) << 8 | vni[2]) && !memcmp(port->mac, inner, 6) &&
			!memcmp(&port->tep_be, f->data + ETH + 16, 4) && (!ip || !memcmp(&port->address_be, inner + ETH + 16, 4)))
			return port;
	return NULL;
}

static bool is_port(uint32_t vrf, const uint8_t *address)
{
	const struct pcgdp_ports *port;

	for (uint32_t i = 0; (port = world_row(PCGDP_T_PORTS, i)); i++)
		if (port->vrf == vrf && !memcmp(&port->address_be, address, 4))
			return true;
	return false;
}

// What one workload sends to another as it is stays in their VRF, and is from one of its ports. Addresses
// that end with 1 are gateways', who speak when time has passed.
static void hold_vrf(const struct frame *f, const struct pcgdp_ports *to, uint32_t vrf)
{
	const uint8_t *ip = f->data + inner_at(f) + ETH;

	if (vrf == MIXED || !world_is_own() || get16(ip - 2) != 0x0800 || !overlay(ip + 12) || ip[15] == 1)
		return;
	hold(to->vrf == vrf, "in the VRF that it came from", f);
	hold(is_port(vrf, ip + 12), "from a workload of this VRF", f);
}

void hold_way(const struct frame *f, uint32_t vrf)
{
	const struct pcgdp_ports *port;
	const struct pcgdp_teps *tep;

	if (f->role == PCGDP_UPLINK) {
		hold(get16(f->data + 12) == 0x0806 || to_nexthop(f), "to a next hop", f);
		return;
	}
	tep = tep_of(f);
	hold(tep && tep->resolved && !memcmp(tep->mac, f->data, 6), "to a TEP that is known", f);
	hold(f->len <= ETH + (tep->mtu < 576 ? 576 : tep->mtu), "as long as the underlay takes it", f);
	hold((inner_at(f) > GENEVE + 8) == !!tep->option, "with our option, where it is wanted", f);
	port = port_of(f);
	hold(port, "to a port that is there", f);
	hold_vrf(f, port, vrf);
}
