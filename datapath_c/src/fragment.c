// SPDX-License-Identifier: Apache-2.0
// fragment.c - packets longer than their way allows, cut into pieces (RFC 791, RFC 4787 REQ-13).
//
//   in:   egress -> [fragment_out] -> tx
//
// The inner packet is cut, towards a tunnel too: its receiver puts it together. The tunnel packet
// itself is never cut, its DF is set (RFC 8926 section 4.1.1). All but the last piece are as long
// as the way allows. The first piece is the packet, so its verdict and its copy in a capture are
// the packet's; the others are counted as made.

#include "dp.h"
#include "reassemble.h"
#include "rewrite.h"
#include "tap.h"
#include "trace.h"

_Static_assert(PIECE_STRIDE >= HEADROOM + PCGDP_FRAME_MAX && PIECE_STRIDE % 128 == 64, "room for a piece");

// With DF only pieces that came as such, and no longer than their sender made them: he asked to be
// told of a path that is narrower than that.
bool may_fragment(const struct worker *w, const struct pkt *p, uint32_t mtu)
{
	if (!(ntohs(pkt_ip(p)->frag) & IP_DF))
		return true;
	return p->flags & PF_WHOLE && reassembled_piece(w, p) <= mtu;
}

// RFC 6864 section 5.3: an identification must be unique for its addresses and protocol. Behind a
// shared address several senders may choose the same, so that of a translated packet is ours.
static be16 identification(struct worker *w, const struct pkt *p, const struct ip_hdr *ip)
{
	bool shared = (p->entry && p->entry->op & OP_SRC) || p->flags & PF_LOOPED;
	union key k = {.src = ip->src, .dst = ip->dst, .domain_proto = ip->proto};
	uint32_t *at = &w->dp->next_id[hash_key(&w->dp->arena.head->secret, &k) % NEXT_IDS];

	return shared && !w->dry ? htons((uint16_t)ADD(at, 1)) : ip->id;
}

// What is in the buffers must be gone before they are used again.
static void make_room(struct worker *w, uint32_t n)
{
	if (w->n_pieces + n <= PIECES)
		return;
	tx_flush(w);
	w->n_pieces = 0;
}

static void send_piece(struct worker *w, struct pkt *piece, const struct adj *a)
{
	struct ip_hdr *ip = pkt_ip(piece);

	ip->csum = 0;
	ip->csum = (uint16_t)~csum_ip_words(ip);
	if (a->kind == ADJ_PLAIN) {
		put_plain_header(a, (uint8_t *)ip);
	} else {
		put_tunnel_header(a, (uint8_t *)ip, piece->ip_len, ip->tos, piece->hash, csum_add_bytes(0, (const uint8_t *)ip, piece->ip_len));
		BUMP(&w->seg[a->counter].out_packets, 1);
		BUMP(&w->seg[a->counter].out_bytes, piece->ip_len);
	}
	piece->data = (uint8_t *)ip - a->len;
	piece->len = a->len + (uint32_t)piece->ip_len;
	piece->verdict = PCGDP_SENT;
	tx_put(w, a->role, piece->data, piece->len);
}

// Before   the packet at p->l3 is final and longer than a->mtu
// After    all of it is with tx; p is its first piece
// Drops    TOO_BIG: DF is set (an answer of ours), or the way takes next to nothing
enum pcgdp_verdict fragment_out(struct worker *w, struct pkt *p, const struct adj *a)
{
	const struct ip_hdr *whole = pkt_ip(p);
	const uint8_t *data = (const uint8_t *)whole + IP_HLEN;
	uint32_t data_len = p->ip_len - IP_HLEN, most = a->mtu, df = ntohs(whole->frag) & IP_DF, len;
	struct pkt first = *p, piece = *p;
	be16 id = identification(w, p, whole);

	if (!may_fragment(w, p, most) || most < IP_HLEN + 8)
		return drop(p, R_TOO_BIG);
	most = (MIN(df ? reassembled_piece(w, p) : most, (uint32_t)a->mtu) - IP_HLEN) & ~7u;
	piece.l3 = 0;
	make_room(w, data_len / most + 1);
	for (uint32_t at = 0; at < data_len; at += len) {
		struct ip_hdr *ip;

		len = MIN(most, data_len - at);
		make_room(w, 1);
		piece.data = w->piece_buf[w->n_pieces++] + HEADROOM;
		piece.ip_len = (uint16_t)(IP_HLEN + len);
		ip = pkt_ip(&piece);
		memcpy(ip, whole, IP_HLEN);
		memcpy((uint8_t *)ip + IP_HLEN, data + at, len);
		ip->id = id;
		ip->len = htons(piece.ip_len);
		ip->frag = htons((uint16_t)(df | (at + len < data_len ? IP_MF : 0) | at / 8));
		send_piece(w, &piece, a);
		if (!at) {
			first = piece;
			continue;
		}
		if (!w->dry)
			BUMP(&w->c.made, 1);
		if (UNLIKELY(w->tracer != NULL) && !w->dry)
			tap_made(w, &piece);
	}
	p->data = first.data;
	p->len = first.len;
	return PCGDP_SENT;
}
