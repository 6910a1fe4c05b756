// SPDX-License-Identifier: Apache-2.0
// adjacency.c - making adjacencies; see adjacency.h. Control thread only.

#include "adjacency.h"

#include "csum.h"

// Whatever a record says: the buffers of what is cut (fragment.c) are made for frames of that length.
#define WIDEST ((uint32_t)(PCGDP_FRAME_MAX - ETH_HLEN_))

uint32_t adj_alloc(struct adj_table *t)
{
	uint32_t i = *t->free_head;

	if (i) {
		*t->free_head = t->adj[i].next_free;
		return i;
	}
	if (*t->high >= t->n_adj)
		return 0;
	return (*t->high)++;
}

void adj_free(struct adj_table *t, uint32_t i)
{
	if (!i)
		return;
	t->adj[i].next_free = *t->free_head;
	*t->free_head = i;
}

static void put_eth(uint8_t *at, const uint8_t *dst, const uint8_t *src, uint16_t type)
{
	struct eth_hdr eh;

	memcpy(eh.dst, dst, 6);
	memcpy(eh.src, src, 6);
	eh.type = htons(type);
	memcpy(at, &eh, sizeof(eh));
}

static uint32_t put_option(uint8_t *at, uint32_t label)
{
	struct geneve_opt opt = {.class_ = htons(OUR_CLASS), .type = OUR_TYPE, .len = 1};
	uint32_t data = htonl(label & 0xffffff); // flags 0: neither trace nor replicated

	memcpy(at, &opt, sizeof(opt));
	memcpy(at + sizeof(opt), &data, sizeof(data));
	return OPTION_LEN;
}

void adj_make_tunnel(struct adj *a, const struct adj_tunnel *t)
{
	uint32_t opt_len = t->option ? OPTION_LEN : 0;
	uint8_t *p = a->tmpl + ADJ_TMPL - (TUNNEL_HLEN + opt_len), *ip, *udp;
	struct geneve_hdr gh = {.ver_optlen = (uint8_t)(opt_len / 4), .proto = htons(ETYPE_TEB),
		.vni = {(uint8_t)(t->vni >> 16), (uint8_t)(t->vni >> 8), (uint8_t)t->vni}};
	// DF: path MTU is respected, not fragmented away (RFC 8926 section 4.1.1); so the
	// identification may stay 0 (RFC 6864 section 4.1)
	struct ip_hdr ih = {.ver_ihl = 0x45, .frag = htons(IP_DF), .ttl = 64, .proto = IPP_UDP, .src = t->our_tep, .dst = t->tep};
	struct udp_hdr uh = {.dport = htons(GENEVE_PORT)};
	uint32_t overhead = TUNNEL_HLEN - ETH_HLEN_ + opt_len, underlay_mtu = MIN(t->underlay_mtu, WIDEST);

	memset(a, 0, sizeof(*a));
	gh.flags = t->option ? GENEVE_F_CRITICAL : 0; // our option is critical (RFC 8926 section 3.4)
	put_eth(p, t->next_mac, t->our_mac, ETYPE_IPV4);
	ip = p + ETH_HLEN_;
	memcpy(ip, &ih, sizeof(ih));
	udp = ip + IP_HLEN;
	memcpy(udp, &uh, sizeof(uh));
	memcpy(udp + UDP_HLEN, &gh, sizeof(gh));
	if (t->option)
		put_option(udp + UDP_HLEN + GENEVE_HLEN, t->label);
	put_eth(udp + UDP_HLEN + GENEVE_HLEN + opt_len, t->inner_dst, t->inner_src, ETYPE_IPV4);

	a->ip_sum = csum_ip_words(ip);
	a->udp_sum = csum_fold(csum_add_bytes(csum_pseudo(ih.src, ih.dst, IPP_UDP, 0), udp, UDP_HLEN + GENEVE_HLEN + opt_len + ETH_HLEN_));
	a->len = (uint16_t)(TUNNEL_HLEN + opt_len);
	a->mtu = (uint16_t)MIN(t->inner_mtu, underlay_mtu > overhead ? underlay_mtu - overhead : 0);
	a->kind = ADJ_TUNNEL;
	a->resolved = t->resolved;
	a->silent = t->silent;
	a->role = PCGDP_DOWNLINK;
	a->udp_checksum = t->udp_checksum;
	a->next = t->tep;
	a->vni = t->vni;
	a->vrf = t->vrf;
	a->counter = t->counter;
	a->address = t->address;
}

void adj_make_plain(struct adj *a, const uint8_t *our_mac, const uint8_t *next_mac, be32 next, uint32_t mtu)
{
	memset(a, 0, sizeof(*a));
	put_eth(a->tmpl + ADJ_TMPL - ETH_HLEN_, next_mac, our_mac, ETYPE_IPV4);
	a->len = ETH_HLEN_;
	a->mtu = (uint16_t)MIN(mtu, WIDEST);
	a->kind = ADJ_PLAIN;
	a->role = PCGDP_UPLINK;
	a->next = next;
}
