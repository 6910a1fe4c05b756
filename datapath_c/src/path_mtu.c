// SPDX-License-Identifier: Apache-2.0
// path_mtu.c - path MTU discovery of the tunnels (RFC 1191, RFC 8926 section 4.1.1).
//
//   in:   parse_outer: ICMP "fragmentation needed" -> [path_mtu_told] -> housekeeping
//
// Tunnel packets carry DF. A router of the underlay that cannot pass one says so, and from then on
// that TEP's adjacencies are as narrow: what is bigger is cut inside the tunnel, or its sender is
// told the inner MTU. Whoever can spoof may try to lower it, so the message must quote a packet that
// we could have sent, of a length that could not pass; a floor keeps 576 bytes inside (RFC 791: what
// every host takes); it ends after ten minutes unless it is told again (RFC 1191 section 6.3).
// Workers only note the value; housekeeping makes the adjacencies, at most once a second.

#include "path_mtu.h"

#include "csum.h"
#include "swap.h"

enum { FLOOR = 576 + TUNNEL_MAX - ETH_HLEN_, SPORT_MIN = 0xc000 };

#define AGE_NS 600000000000ull
#define TURN_NS 1000000000ull

struct quote {
	struct icmp_hdr icmp;
	struct ip_hdr ip;
	struct udp_hdr udp;
} __attribute__((packed));

// RFC 1191 section 7: routers of before 1990 do not say the MTU; then it is the next lower one that
// is common.
static uint32_t plateau_below(uint32_t len)
{
	static const uint16_t common[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006};

	for (uint32_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		if (common[i] < len)
			return common[i];
	return 0;
}

// Could it be about a packet of ours?
static bool quotes_us(const struct worker *w, const struct ip_hdr *ip, const struct udp_hdr *udp)
{
	return ip->ver_ihl == 0x45 && ip->proto == IPP_UDP && ip->src == w->cfg->local.tep_be && ip->frag == htons(IP_DF) &&
		udp->dport == htons(GENEVE_PORT) && ntohs(udp->sport) >= SPORT_MIN;
}

static void note(struct path_mtu *path, uint32_t mtu)
{
	uint32_t now = PEEK(&path->told);

	while ((!now || mtu < now) && !__atomic_compare_exchange_n(&path->told, &now, mtu, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

enum pcgdp_verdict path_mtu_told(struct worker *w, struct pkt *p, const struct ip_hdr *ip, uint32_t ihl)
{
	uint32_t len = ntohs(ip->len) - ihl, mtu, quoted_len, tep;
	const struct quote *q = (const void *)((const uint8_t *)ip + ihl);

	if (len < sizeof(*q) || q->icmp.type != ICMP_UNREACH || q->icmp.code != UNREACH_FRAG)
		return drop(p, R_OUTER_ICMP);
	if (csum_fold(csum_add_bytes(0, (const uint8_t *)q, len)) != 0xffff || !quotes_us(w, &q->ip, &q->udp))
		return drop(p, R_OUTER_ICMP);
	tep = tep_find(&w->dp->arena, q->ip.dst);
	quoted_len = ntohs(q->ip.len);
	mtu = q->icmp.seq ? ntohs(q->icmp.seq) : plateau_below(quoted_len);
	if (tep == NONE || mtu < FLOOR || mtu >= quoted_len)
		return drop(p, R_OUTER_ICMP);
	p->outer_src = q->ip.dst; // of whom it speaks
	if (!w->dry) {
		note(&w->dp->paths[tep], mtu);
		STORE(&w->dp->paths_told, true);
	}
	return PCGDP_PUNTED;
}

uint32_t path_mtu(const struct pcgdp *dp, uint32_t tep, uint32_t configured)
{
	uint32_t learned = tep == NONE ? 0 : dp->paths[tep].mtu;

	return learned && learned < configured ? learned : configured;
}

void path_mtu_forget(struct pcgdp *dp, uint32_t tep)
{
	memset(&dp->paths[tep], 0, sizeof(dp->paths[tep]));
}

// Is the TEP's MTU another one now? A higher one than is known was told of a packet that was sent
// before it was known.
static bool learn(struct pcgdp *dp, uint32_t i, uint64_t now_ns)
{
	struct path_mtu *path = &dp->paths[i];
	uint32_t told = __atomic_exchange_n(&path->told, 0, __ATOMIC_RELAXED), before = path->mtu;

	if (told && (!before || told <= before)) {
		path->mtu = told;
		path->at_ns = now_ns;
	} else if (before && now_ns > path->at_ns + AGE_NS) {
		path->mtu = 0;
	}
	dp->paths_known += !!path->mtu;
	return path->mtu != before;
}

void path_mtu_turn(struct pcgdp *dp, uint64_t now_ns, bool at_once)
{
	struct pcgdp_teps changed[TEPS_EACH + 1];
	uint32_t n = 0;

	if (!at_once && (now_ns < dp->paths_next_ns || (!LOAD(&dp->paths_told) && !dp->paths_known)))
		return;
	pthread_mutex_lock(&dp->control);
	dp->paths_next_ns = now_ns + TURN_NS;
	dp->paths_known = 0;
	STORE(&dp->paths_told, false);
	for (uint32_t i = 0; i < dp->arena.head->teps_high; i++)
		if (dp->arena.teps[i].live && learn(dp, i, now_ns) && n <= TEPS_EACH)
			changed[n++] = dp->arena.teps[i].rec;
	if (n)
		teps_changed(dp, changed, n);
	pthread_mutex_unlock(&dp->control);
}

uint32_t path_mtu_read(struct pcgdp *dp, uint32_t from, struct pcgdp_path_mtu *out, uint32_t n)
{
	uint64_t now_ns = clock_ns();
	uint32_t got = 0;

	for (uint32_t i = 0, seen = 0; i < dp->arena.head->teps_high && got < n; i++) {
		const struct path_mtu *path = &dp->paths[i];

		if (dp->arena.teps[i].live && path->mtu && seen++ >= from)
			out[got++] = (struct pcgdp_path_mtu){.address_be = dp->arena.teps[i].rec.address_be, .mtu = path->mtu,
				.age_s = now_ns > path->at_ns ? (uint32_t)((now_ns - path->at_ns) / TURN_NS) : 0};
	}
	return got;
}
