// SPDX-License-Identifier: Apache-2.0
// dhcp_load.c - thousands of DHCP clients behind tunnel endpoints, as frames on one interface.
//
//   dhcp_load DEVICE GATEWAY_TEP GATEWAY_MAC CLIENTS SEGMENTS PHASE...
//
//   beside:RATE:IN:FILE   from here on also frames of FILE (as traffic.c reads them), which come out
//                         at IN: how many of them are lost meanwhile
//   boot:SECONDS          each client asks for the first time, spread over so long; until all have a lease
//   turns:N:SECONDS       whole exchanges (DISCOVER to ACK), N at any time, client after client
//   renew:RATE:SECONDS    unicast REQUESTs of clients that have a lease, so many a second
//
// Who client i is follows from i, as bench/dhcp.py tells the gateway. Lost messages are sent again as
// RFC 2131 section 4.1 says (4, 8, 16 ... seconds, less or more up to one); a time is from the first
// message of an exchange to the ACK. Each answer must come in the right tunnel, to the right client,
// with right inner checksums, name the segment's gateway as server and carry no option 82; else it is
// `wrong` and nothing else. One JSON line is printed per phase.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dhcp_beside.h"
#include "dhcp_frame.h"

enum { BATCH = 64, BUFFER = 32 << 20, LONGEST = 2048, SCAN_MS = 20, PATIENCE_S = 30, DRAIN_MS = 200, KEPT = 1 << 22 };
enum state { IDLE, SELECTING, REQUESTING, RENEWING };

struct client {
	enum state state;
	uint32_t address, offered, turn, tries; // addresses in host order
	uint64_t begun, again;			// ns: first message of the exchange; next one if nothing comes
};

static struct {
	int fd;
	struct client *client;
	uint8_t tx[BATCH][LONGEST];
	struct iovec iov[BATCH];
	struct mmsghdr msg[BATCH];
	uint32_t queued, seed;
	uint64_t now, started, done, naks, resent, wrong, unsent, in_time, latency_n;
	uint32_t *us;
} g;

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint32_t bootp_put(uint8_t *at, uint32_t i, int kind)
{
	struct client *c = &g.client[i];
	uint8_t *o = at + BOOTP;

	memset(at, 0, BOOTP);
	at[0] = 1, at[1] = 1, at[2] = 6;
	put32(at + 4, i | c->turn << 20);
	put32(at + 236, 0x63825363);
	mac_of(i, at + 28);
	*o++ = 53, *o++ = 1, *o++ = (uint8_t)kind;
	if (c->state == RENEWING)
		put32(at + 12, c->address);
	if (c->state == REQUESTING) {
		*o++ = 50, *o++ = 4, put32(o, c->offered), o += 4;
		*o++ = 54, *o++ = 4, put32(o, gateway_of(i)), o += 4;
	}
	*o++ = 55, *o++ = 6, *o++ = 1, *o++ = 3, *o++ = 6, *o++ = 15, *o++ = 26, *o++ = 121;
	*o++ = 255;
	while (o < at + 300) // BOOTP's least (RFC 1542 section 2.1)
		*o++ = 0;
	return (uint32_t)(o - at);
}

static void flush(void)
{
	for (uint32_t sent = 0; sent < g.queued;) {
		int n = sendmmsg(g.fd, g.msg + sent, g.queued - sent, 0);

		if (n <= 0 && errno != ENOBUFS && errno != EAGAIN)
			fail("send");
		if (n <= 0)
			g.unsent += g.queued - sent, n = (int)(g.queued - sent);
		sent += (uint32_t)n;
	}
	g.queued = 0;
}

static void say(uint32_t i)
{
	struct client *c = &g.client[i];
	uint8_t *at = g.tx[g.queued], *geneve = at + ETHER + IP + UDP, *inner = at + OUTER, mac[6];
	bool unicast = c->state == RENEWING;
	uint32_t n = bootp_put(inner + INNER, i, c->state == SELECTING ? DISCOVER : REQUEST);

	mac_of(i, mac);
	ether_put(inner, unicast ? ROUTER : EVERYBODY, mac);
	udp_put(inner + ETHER, unicast ? c->address : 0, unicast ? gateway_of(i) : 0xffffffff, 68, 67, n, true);
	memset(geneve, 0, GENEVE);
	put32(geneve, 0x02406558), put32(geneve + 4, (FIRST_VNI + segment_of(i)) << 8), put32(geneve + 8, 0x01048001);
	ether_put(at, place.theirs, place.mac);
	udp_put(at + ETHER, tep_of(i), place.tep, 0xc000 | (i & 0x3fff), 6081, GENEVE + INNER + n, false);
	g.iov[g.queued] = (struct iovec){at, OUTER + INNER + n};
	// RFC 2131 section 4.1: 4 seconds, then twice as long each time, up to 64, one less or more
	g.seed = g.seed * 1664525 + 1013904223;
	c->again = g.now + (4000000000ull << (c->tries < 4 ? c->tries : 4)) - 1000000000ull + (uint64_t)(g.seed >> 1) * 2000000000ull / 0x7fffffff;
	if (++g.queued == BATCH)
		flush();
}

static void begin(uint32_t i, enum state state)
{
	struct client *c = &g.client[i];

	c->state = state, c->turn = (c->turn + 1) & 0xfff, c->tries = 0, c->begun = g.now;
	g.started++;
	say(i);
}

static void end(struct client *c, uint32_t address)
{
	c->address = address, c->state = IDLE;
	g.us[g.latency_n++ & (KEPT - 1)] = (uint32_t)((g.now - c->begun) / 1000);
	g.done++;
}

static void take(const uint8_t *at, uint32_t n)
{
	const uint8_t *bootp = at + OUTER + INNER;
	struct answer a = {0};
	struct client *c;
	uint32_t i;

	if (!answer_read(at, n, &i, &a)) {
		g.wrong++;
		return;
	}
	c = &g.client[i];
	if (get32(bootp + 4) >> 20 != c->turn)
		return; // of an exchange that is over
	if (a.kind == OFFER && c->state == SELECTING) {
		c->state = REQUESTING, c->offered = get32(bootp + 16), c->tries = 0;
		say(i);
	} else if (a.kind == ACK && (c->state == REQUESTING || c->state == RENEWING)) {
		if (get32(bootp + 16) >> 8 != gateway_of(i) >> 8)
			g.wrong++;
		end(c, get32(bootp + 16));
	} else if (a.kind == NAK && c->state != IDLE) {
		g.naks++, c->state = IDLE, c->address = 0;
	}
}

static void receive(void)
{
	static uint8_t rx[BATCH][LONGEST];
	struct mmsghdr msg[BATCH] = {0};
	struct iovec iov[BATCH];
	int n;

	for (int i = 0; i < BATCH; i++)
		iov[i] = (struct iovec){rx[i], LONGEST}, msg[i].msg_hdr.msg_iov = &iov[i], msg[i].msg_hdr.msg_iovlen = 1;
	do {
		n = recvmmsg(g.fd, msg, BATCH, MSG_DONTWAIT, NULL);
		g.now = clock_ns();
		for (int i = 0; i < n; i++)
			if (get16(rx[i] + 12) == ETHERTYPE_IP && rx[i][ETHER + 9] == IPPROTO_UDP)
				take(rx[i], msg[i].msg_len);
	} while (n == BATCH);
}

static void say_again(void)
{
	static uint64_t last;

	if (g.now - last < SCAN_MS * 1000000ull)
		return;
	last = g.now;
	for (uint32_t i = 0; i < place.n; i++)
		if (g.client[i].state != IDLE && g.client[i].again <= g.now)
			g.client[i].tries++, g.resent++, say(i);
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double ms(uint64_t n, double part) { return n ? g.us[(uint64_t)((double)(n - 1) * part)] / 1e3 : 0; }

static void tell(const char *phase, uint64_t took)
{
	uint64_t n = g.latency_n < KEPT ? g.latency_n : KEPT, came = 0;

	if (beside.rate > 0)
		usleep(DRAIN_MS * 1000), came = received() - beside.before;
	qsort(g.us, n, sizeof(*g.us), by_size);
	printf("{\"phase\": \"%s\", \"seconds\": %.3f, \"started\": %lu, \"done\": %lu, \"in_time\": %lu, \"naks\": %lu, \"resent\": %lu, \"wrong\": %lu, "
	       "\"unsent\": %lu, \"beside\": {\"sent\": %lu, \"received\": %lu}, \"ms\": {\"50\": %.2f, \"90\": %.2f, \"99\": %.2f, \"99.9\": %.2f, \"100\": %.2f}}\n",
	       phase, (double)took / 1e9, g.started, g.done, g.in_time, g.naks, g.resent, g.wrong, g.unsent, beside.sent, came, ms(n, .5), ms(n, .9), ms(n, .99), ms(n, .999),
	       ms(n, 1));
	fflush(stdout);
	g.started = g.done = g.naks = g.resent = g.wrong = g.unsent = g.latency_n = beside.sent = g.in_time = 0;
}

// The next client that is at rest, in turn; false: none is.
static bool next(uint32_t *at, bool renew)
{
	for (uint32_t tried = 0; tried < place.n; tried++, *at = (*at + 1) % place.n)
		if (g.client[*at].state == IDLE && (!renew || g.client[*at].address))
			return true;
	return false;
}

// How many exchanges should have begun by now.
static uint64_t wanted(const char *kind, double amount, double seconds, double gone)
{
	if (!strcmp(kind, "turns"))
		return gone < seconds ? g.done + g.naks + (uint64_t)amount : 0;
	if (!strcmp(kind, "renew"))
		return (uint64_t)(amount * (gone < seconds ? gone : seconds));
	return gone < seconds ? (uint64_t)(place.n * gone / seconds) : place.n;
}

static void run(const char *phase)
{
	double amount = 0, seconds = 0, gone = 0;
	struct pollfd ready = {.fd = g.fd, .events = POLLIN};
	uint64_t begun = clock_ns(), goal;
	char kind[16];
	uint32_t at = 0;
	bool boot, renew;

	if (sscanf(phase, "%15[a-z]:%lf:%lf", kind, &amount, &seconds) < 2)
		fail(phase);
	boot = !strcmp(kind, "boot"), renew = !strcmp(kind, "renew");
	if (boot)
		seconds = amount;
	if (beside.rate > 0)
		beside.before = received();
	for (g.now = begun; gone < seconds + PATIENCE_S; gone = (double)(g.now - begun) / 1e9) {
		receive();
		goal = wanted(kind, amount, seconds, gone);
		for (int n = 0; n < BATCH && g.started < goal && next(&at, renew); n++, at = (at + 1) % place.n)
			begin(at, renew ? RENEWING : SELECTING);
		say_again();
		flush();
		if (gone < seconds)
			g.in_time = g.done;
		send_beside(g.fd, gone);
		if (gone >= seconds && g.done + g.naks >= g.started)
			break;
		poll(&ready, 1, 1);
	}
	for (uint32_t i = 0; i < place.n; i++)
		g.client[i].state = IDLE;
	tell(phase, g.now - begun);
}

static void open_device(const char *name)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = (int)if_nametoindex(name)};
	socklen_t at_len = sizeof(at);
	int size = BUFFER, yes = 1;

	g.fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (g.fd < 0 || !at.sll_ifindex || bind(g.fd, (struct sockaddr *)&at, sizeof(at)) || getsockname(g.fd, (struct sockaddr *)&at, &at_len))
		fail(name);
	memcpy(place.mac, at.sll_addr, 6);
	setsockopt(g.fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	setsockopt(g.fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(g.fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes));
	setsockopt(g.fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof(yes));
}

int main(int argc, char **argv)
{
	uint8_t *m = place.theirs;
	struct in_addr tep;

	if (argc < 7 || !inet_aton(argv[2], &tep) || sscanf(argv[3], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", m, m + 1, m + 2, m + 3, m + 4, m + 5) != 6) {
		fprintf(stderr, "see the top of dhcp_load.c\n");
		return 2;
	}
	place.tep = ntohl(tep.s_addr), place.n = (uint32_t)atoi(argv[4]), place.per_segment = place.n / (uint32_t)atoi(argv[5]), g.seed = 1;
	g.client = calloc(place.n, sizeof(*g.client)), g.us = malloc(sizeof(*g.us) * KEPT);
	for (uint32_t i = 0; i < BATCH; i++)
		g.msg[i].msg_hdr = (struct msghdr){.msg_iov = &g.iov[i], .msg_iovlen = 1};
	if (!g.client || !g.us)
		fail("memory");
	open_device(argv[1]);
	for (int i = 6; i < argc; i++)
		strncmp(argv[i], "beside:", 7) ? run(argv[i]) : load_beside(argv[i]);
	return 0;
}
