// SPDX-License-Identifier: Apache-2.0
// reads.c - what an operator or the gateway's relay may ask for, whatever happened.

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

// Reads what was punted; `data` goes to workloads as it is: the path takes it, or says that it is none.
void relay(const struct step *s)
{
	static uint8_t parcels[1 << 17];
	int n;

	if (!s->len) {
		must(pcgdp_punts(dp, NULL, 0, 1), "nobody reads", "");
		return;
	}
	do {
		n = pcgdp_punts(dp, parcels, sizeof(parcels), 1);
		must(n, "punts", "");
	} while (n);
	n = pcgdp_send(dp, s->data, s->len);
	assert(n >= -EINVAL && n <= (int)s->len);
	relayed_from_now();
}

// All frames, or those that a filter takes: whatever program stands in the input is run, or refused.
static void capture(const struct step *s)
{
	static const struct pcgdp_capture_wanted all = {.ring_bytes = 1 << 16, .snaplen = 96, .roles = 3, .directions = 3, .both = 1};
	static const struct pcgdp_capture_wanted inner = {.ring_bytes = 1 << 16, .roles = 3, .directions = 3, .inner = 1};
	static struct pcgdp_bpf filter[64];
	uint32_t n = (s->len - 1) / sizeof(*filter);

	n = n > 64 ? 64 : n;
	memcpy(filter, s->data + 1, n * sizeof(*filter));
	if (pcgdp_capture_start(dp, byte_at(s, 0) & 4 ? &inner : &all, filter, n) && !n)
		abort();
}

// What an operator may look at while packets pass.
void watch(const struct step *s)
{
	static struct pcgdp_trace_event traced[256];
	static struct pcgdp_event events[256];
	static uint8_t captured[1 << 16];
	static const struct pcgdp_trace_filter any;
	struct pcgdp_capture_state state;
	uint32_t which = byte_at(s, 0) & 3;
	uint64_t lost;

	if (which == 0)
		must(pcgdp_trace_start(dp, &any, 16), "trace", "");
	if (which == 1 && s->len)
		capture(s);
	must(pcgdp_events(dp, which == 3 ? 0 : 64, events, 256, &lost), "events", "");
	must(pcgdp_trace_read(dp, traced, 256), "trace", "");
	if (which == 3)
		must(pcgdp_capture_start(dp, NULL, NULL, 0), "capture", "");
	else
		pcgdp_capture_read(dp, captured, sizeof(captured), &state);
}

// As the border says, whole or a few rows at a time. What is behind the last is not there.
static void read_tables(uint32_t from, uint32_t n)
{
	static uint8_t rows[1 << 18];
	static const uint32_t more[] = {PCGDP_USAGE, PCGDP_PATH_MTU, PCGDP_RECENT};

	for (uint32_t table = 0; table < PCGDP_N_TABLES; table++)
		must(pcgdp_read(dp, table, from, rows, n), "read", "");
	for (uint32_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		must(pcgdp_read(dp, more[i], from, rows, n), "read", "");
}

static uint32_t read_sessions(uint32_t n)
{
	static struct pcgdp_session sessions[1024];
	uint32_t cursor = 0, all = 0;
	int got;

	do {
		got = pcgdp_sessions(dp, &cursor, sessions, n);
		must(got, "sessions", "");
		all += (uint32_t)got;
	} while (got);
	return all;
}

static void read_drops(void)
{
	static struct pcgdp_drop lines[512];
	uint64_t by_reason[256] = {0}, of_lines[256] = {0}, all = 0;
	struct pcgdp_totals t;
	int n = pcgdp_ledger(dp, lines, 512);

	must(n, "ledger", "");
	must(pcgdp_drops(dp, by_reason, 256), "drops", "");
	must(pcgdp_totals(dp, &t), "totals", "");
	for (int i = 0; i < n; i++)
		of_lines[lines[i].reason] += lines[i].packets;
	for (uint32_t i = 0; i < 256; i++) {
		all += by_reason[i];
		assert(n == 512 || of_lines[i] == by_reason[i]); // one ledger: in detail as in sum
	}
	assert(all == t.drops);
}

void read_all(const struct step *s)
{
	static const uint32_t counted[] = {PCGDP_T_SEGMENTS, PCGDP_T_PUBLICS, PCGDP_T_NAT, PCGDP_T_FIREWALL, PCGDP_T_VRFS};
	static struct pcgdp_counter counters[512];
	uint32_t from = byte_at(s, 0), n = byte_at(s, 1) ? byte_at(s, 1) : 256;
	struct pcgdp_performance performance[8];
	uint64_t entered[PCGDP_STAGES];
	struct pcgdp_nic_info nics[PCGDP_NICS_MAX];
	struct pcgdp_totals t;

	must(pcgdp_totals(dp, &t), "totals", "");
	assert(read_sessions(n) <= t.sessions);
	read_tables(from, n);
	read_drops();
	must(pcgdp_stages(dp, entered, PCGDP_STAGES), "stages", "");
	must(pcgdp_performance(dp, performance, 8), "performance", "");
	must(pcgdp_nics(dp, nics, PCGDP_NICS_MAX), "nics", "");
	for (uint32_t i = 0; i < sizeof(counted) / sizeof(counted[0]); i++)
		must(pcgdp_counters(dp, counted[i], counters, 512), "counters", "");
}
