// SPDX-License-Identifier: Apache-2.0
// bench_frames.c - see bench.h.

#include "bench.h"

#include "csum.h"

uint64_t lane_draw(struct lane *l)
{
	l->random ^= l->random << 13;
	l->random ^= l->random >> 7;
	l->random ^= l->random << 17;
	return l->random;
}

static void put_eth(uint8_t *at, const uint8_t *dst)
{
	struct eth_hdr eh = {.src = {2, 0, 0, 0, 0, 9}, .type = htons(ETYPE_IPV4)};

	memcpy(eh.dst, dst, 6);
	memcpy(at, &eh, sizeof(eh));
}

static void put_ip(uint8_t *at, be32 src, be32 dst, uint8_t proto, uint32_t len)
{
	struct ip_hdr ip = {.ver_ihl = 0x45, .len = htons((uint16_t)len), .frag = htons(IP_DF), .ttl = 64, .proto = proto, .src = src, .dst = dst};

	ip.csum = (uint16_t)~csum_ip_words(&ip);
	memcpy(at, &ip, sizeof(ip));
}

static void put_sum(uint8_t *l4, uint32_t at, be32 src, be32 dst, uint8_t proto, uint32_t len)
{
	uint16_t sum;

	wr16(l4 + at, 0);
	sum = (uint16_t)~csum_fold(csum_add_bytes(csum_pseudo(src, dst, proto, (uint16_t)len), l4, len));
	wr16(l4 + at, sum ? sum : 0xffff);
}

// The packet itself, `size` bytes; its payload is what lies there.
static void put_packet(uint8_t *at, const struct pcgdp_flow *f, uint32_t size, uint8_t tcp_flags)
{
	uint8_t *l4 = at + IP_HLEN;
	uint32_t n = size - IP_HLEN;

	put_ip(at, f->src_be, f->dst_be, f->protocol, size);
	if (f->protocol == IPP_TCP) {
		struct tcp_hdr th = {.sport = htons(f->sport), .dport = htons(f->dport), .off = 5 << 4, .flags = tcp_flags, .window = 0xffff};

		memcpy(l4, &th, sizeof(th));
		put_sum(l4, 16, f->src_be, f->dst_be, IPP_TCP, n);
	} else {
		struct udp_hdr uh = {.sport = htons(f->sport), .dport = htons(f->dport), .len = htons((uint16_t)n)};

		memcpy(l4, &uh, sizeof(uh));
		put_sum(l4, 6, f->src_be, f->dst_be, IPP_UDP, n);
	}
}

// The tunnel around a packet that lies at `at` + TUNNEL, with its checksum.
static void put_tunnel(const struct lane *l, uint8_t *at, const struct pcgdp_flow *f, uint32_t size)
{
	const struct pcgdp_bench *b = l->what;
	be32 tep = l->tep;
	uint32_t udp_len = TUNNEL - ETH_HLEN_ - IP_HLEN + size;
	uint8_t *l4 = at + ETH_HLEN_ + IP_HLEN;
	struct udp_hdr uh = {.sport = htons((uint16_t)(0xc000 | (f->sport * 40503u ^ f->src_be >> 16))), .dport = htons(GENEVE_PORT), .len = htons((uint16_t)udp_len)};
	struct geneve_hdr gh = {.ver_optlen = OPTION_LEN / 4, .flags = GENEVE_F_CRITICAL, .proto = htons(ETYPE_TEB), .vni = {(uint8_t)(b->vni >> 16), (uint8_t)(b->vni >> 8), (uint8_t)b->vni}};
	struct geneve_opt opt = {.class_ = htons(OUR_CLASS), .type = OUR_TYPE, .len = 1};

	put_eth(at, l->dp->nics[PCGDP_DOWNLINK].mac);
	put_ip(at + ETH_HLEN_, f->tep_be, tep, IPP_UDP, udp_len + IP_HLEN);
	memcpy(l4, &uh, sizeof(uh));
	memcpy(l4 + UDP_HLEN, &gh, sizeof(gh));
	memcpy(l4 + UDP_HLEN + GENEVE_HLEN, &opt, sizeof(opt));
	memset(l4 + UDP_HLEN + GENEVE_HLEN + sizeof(opt), 0, OPTION_LEN - sizeof(opt));
	put_eth(l4 + UDP_HLEN + GENEVE_HLEN + OPTION_LEN, b->gateway_mac);
	put_sum(l4, 6, f->tep_be, tep, IPP_UDP, udp_len);
}

static const struct pcgdp_flow *pick(struct lane *l, uint32_t pass, uint32_t i)
{
	const struct pcgdp_bench *b = l->what;
	bool odd = b->split && i / b->burst & 1;
	uint32_t first = odd ? b->split : 0, n = b->split && !odd ? b->split : l->n_flows - first;

	if (b->in_order)
		return &l->flows[(((uint64_t)pass * b->workers + l->id) * b->frames + i) % l->n_flows];
	return &l->flows[first + (uint32_t)((lane_draw(l) >> 32) * n >> 32)];
}

void lane_refill(struct lane *l, uint32_t pass)
{
	const struct pcgdp_bench *b = l->what;

	for (uint32_t i = 0; i < b->frames; i++) {
		const struct pcgdp_flow *f = pick(l, pass, i);
		uint32_t size = b->sizes[l->order[i] % b->n_sizes];
		uint8_t *at = l->pool + (size_t)l->order[i] * l->stride + HEADROOM;

		put_packet(at + (f->tep_be ? TUNNEL : ETH_HLEN_), f, size, (uint8_t)b->tcp_flags);
		if (f->tep_be)
			put_tunnel(l, at, f, size);
		else
			put_eth(at, l->dp->nics[PCGDP_UPLINK].mac);
		l->frames[i] = (struct frame){.data = at, .len = size + (f->tep_be ? TUNNEL : ETH_HLEN_)};
		l->roles[i] = f->tep_be ? PCGDP_DOWNLINK : PCGDP_UPLINK;
	}
}

void lane_scribble(struct lane *l) // payload
{
	for (size_t i = 0; i + 8 <= (size_t)l->what->frames * l->stride; i += 8)
		*(uint64_t *)(void *)(l->pool + i) = lane_draw(l);
}
