// SPDX-License-Identifier: Apache-2.0
// derive.c - frames that follow from frames: a fuzzer does not guess which port was drawn.

#include <string.h>

#include "harness.h"

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void swap(uint8_t *a, uint8_t *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint8_t was = a[i];

		a[i] = b[i];
		b[i] = was;
	}
}

uint32_t sum_of(const uint8_t *data, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i < len; i++)
		sum += i & 1 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

uint32_t ip_at(const struct frame *f)
{
	uint32_t at = ETH;

	if (f->role == PCGDP_DOWNLINK)
		at = f->len > GENEVE ? GENEVE + 8 + (f->data[GENEVE] & 0x3fu) * 4 + ETH : 0;
	return at && at + IP + 8 <= f->len ? at : 0;
}

static void mend_ip(uint8_t *ip, uint32_t len)
{
	put16(ip + 2, len);
	put16(ip + 10, 0);
	put16(ip + 10, 0xffff ^ sum_of(ip, IP, 0));
}

static void mend_l4(uint8_t *ip, uint32_t len)
{
	uint32_t at = ip[9] == TCP ? 16 : ip[9] == UDP ? 6 : 2, sum = 0;
	uint8_t *l4 = ip + IP;

	if (get16(ip + 6) & 0x3fff || len < IP + at + 2 || (ip[9] != TCP && ip[9] != UDP && ip[9] != ICMP))
		return;
	if (ip[9] == UDP)
		put16(l4 + 4, len - IP);
	if (ip[9] != ICMP)
		sum = sum_of(ip + 12, 8, ip[9] + len - IP);
	put16(l4 + at, 0);
	put16(l4 + at, 0xffff ^ sum_of(l4, len - IP, sum));
}

static void mend_outer(struct frame *f)
{
	if (f->role != PCGDP_DOWNLINK || f->len < GENEVE)
		return;
	put16(f->data + OUTER_UDP + 4, f->len - OUTER_UDP);
	put16(f->data + OUTER_UDP + 6, 0);
	mend_ip(f->data + ETH, f->len - ETH);
}

void mend(struct frame *f)
{
	uint32_t at = ip_at(f);

	if (at) {
		mend_ip(f->data + at, f->len - at);
		mend_l4(f->data + at, f->len - at);
	}
	mend_outer(f);
}

void patch(struct frame *f, const struct step *s, uint32_t from)
{
	uint32_t ip = ip_at(f);

	for (uint32_t at = from; at + 2 <= s->len; at += 2) {
		uint32_t offset = s->data[at];

		offset = offset >= PATCH_OF_FRAME ? offset - PATCH_OF_FRAME : ip + offset;
		if (offset < f->len)
			f->data[offset] = s->data[at + 1];
	}
}

// Ethernet and, in a tunnel, all that is outside: from its receiver back to where it came from.
static void turn(struct frame *f)
{
	swap(f->data, f->data + 6, 6);
	if (f->role == PCGDP_DOWNLINK && ip_at(f)) {
		uint8_t *inner = f->data + ip_at(f) - ETH;

		swap(f->data + ETH + 12, f->data + ETH + 16, 4);
		swap(inner, inner + 6, 6);
	}
}

void answer_to(struct frame *f, uint32_t tcp_flags)
{
	uint8_t *ip = f->data + ip_at(f), *l4 = ip + IP;

	if (!ip_at(f))
		return;
	turn(f);
	swap(ip + 12, ip + 16, 4);
	if (ip[9] == TCP || ip[9] == UDP)
		swap(l4, l4 + 2, 2);
	if (ip[9] == TCP && tcp_flags != 0xff && ip + 34 <= f->data + f->len)
		l4[13] = (uint8_t)tcp_flags;
	if (ip[9] == ICMP && l4[0] == 8)
		l4[0] = 0;
}

// f was sent: it becomes an ICMP error about itself.
void error_about(struct frame *f, const struct step *s)
{
	static const uint8_t kinds[8][2] = {{3, 3}, {3, 4}, {11, 0}, {3, 13}, {12, 0}, {5, 1}, {4, 0}, {11, 1}};
	static const uint8_t speakers[3][4] = {{10, 99, 1, 1}, {198, 51, 100, 1}, {192, 168, 99, 9}};
	uint32_t at = ip_at(f), kind = byte_at(s, 1) & 7, who = byte_at(s, 1) >> 3 & 3, keep = byte_at(s, 2);
	uint8_t quote[PCGDP_FRAME_MAX], *ip = f->data + at;
	uint32_t n = at ? f->len - at : 0;

	if (!at)
		return;
	n = keep && IP + keep < n ? IP + keep : n;
	n = n > PCGDP_FRAME_MAX - at - IP - 8 ? PCGDP_FRAME_MAX - at - IP - 8 : n;
	memcpy(quote, ip, n);
	turn(f);
	memcpy(ip, (uint8_t[]){0x45, 0, 0, 0, 0, 0, 0, 0, 64, ICMP, 0, 0}, 12);
	memcpy(ip + 12, who < 3 ? speakers[who] : quote + 16, 4);
	memcpy(ip + 16, quote + 12, 4);
	memcpy(ip + IP, (uint8_t[]){kinds[kind][0], kinds[kind][1], 0, 0, 0, 0, 4, 0}, 8);
	memcpy(ip + IP + 8, quote, n);
	f->len = at + IP + 8 + n;
	for (uint32_t i = 3; i + 2 <= s->len; i += 2)
		ip[IP + 8 + s->data[i] % n] = s->data[i + 1];
}

static void one_piece(const struct frame *f, uint32_t at, uint32_t from, uint32_t to, struct frame *out)
{
	bool last = to >= f->len - at - IP;

	to = last ? f->len - at - IP : to;
	*out = (struct frame){.role = f->role, .len = at + IP + to - from};
	memcpy(out->data, f->data, at + IP);
	memcpy(out->data + at + IP, f->data + at + IP + from, to - from);
	put16(out->data + at + 6, (last ? 0 : 0x2000) | from / 8);
	mend_ip(out->data + at, out->len - at);
	if (at != ETH)
		mend_outer(out);
}

// order: 1 the last first, 2 the tunnel is cut and not what is in it, 4 one is missing, 8 one comes
// twice, 16 each runs a little into the next.
uint32_t cut_up(const struct frame *f, const struct step *s, struct frame *pieces, uint32_t n)
{
	uint32_t size = 8 * (1 + byte_at(s, 1)), order = byte_at(s, 2), at = order & 2 ? ETH : ip_at(f), got = 0;

	if (!at || f->len <= at + IP)
		return 0;
	for (uint32_t from = 0; from < f->len - at - IP && got < n; from += size)
		one_piece(f, at, from, from + size + (order & 16 ? 8 : 0), &pieces[got++]);
	if (order & 4 && got)
		got--;
	if (order & 8 && got && got < n) {
		pieces[got] = pieces[0];
		got++;
	}
	for (uint32_t i = 0; order & 1 && i < got / 2; i++) {
		struct frame was = pieces[i];

		pieces[i] = pieces[got - 1 - i];
		pieces[got - 1 - i] = was;
	}
	return got;
}
