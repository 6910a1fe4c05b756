// SPDX-License-Identifier: Apache-2.0
// report.c - what pcgdp.h lets be read: totals, drops, ports, sessions, trace.

#include <stdlib.h>

#include "dp.h"
#include "path_mtu.h"
#include "trace.h"

uint32_t all_workers(const struct pcgdp *dp, const struct worker **w)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < dp->params.workers; i++)
		w[n++] = dp->workers[i];
	w[n++] = dp->inject;
	return n;
}

int pcgdp_totals(struct pcgdp *dp, struct pcgdp_totals *out)
{
	const struct worker *w[PCGDP_WORKERS_MAX + 1];
	const struct arena_head *h = dp->arena.head;
	uint32_t n = all_workers(dp, w);

	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < n; i++) {
		out->rx += PEEK(&w[i]->c.rx);
		out->made += PEEK(&w[i]->c.made);
		out->sessions_cut += PEEK(&w[i]->c.sessions_cut);
		out->unmade += PEEK(&w[i]->c.unmade);
		out->unmade_source += PEEK(&w[i]->c.unmade_source);
		out->unmade_all += PEEK(&w[i]->c.unmade_all);
		out->unmade_no_way += PEEK(&w[i]->c.unmade_no_way);
		out->tx += PEEK(&w[i]->c.tx);
		out->punt += PEEK(&w[i]->c.punt);
		out->held += PEEK(&w[i]->c.held);
		out->joined += PEEK(&w[i]->c.joined);
		out->sessions_made += PEEK(&w[i]->c.sessions_made);
		out->decisions += PEEK(&w[i]->c.decisions);
		for (uint32_t r = 0; r < N_REASONS; r++)
			out->drops += PEEK(&w[i]->c.drops[r]);
	}
	out->decisions += PEEK(&dp->deciding.decisions);
	out->sessions_cut += PEEK(&dp->deciding.cut);
	out->resets_waiting = cuts_waiting(&dp->cuts);
	out->resets_late = PEEK(&dp->cuts.late);
	out->resets_unheard = PEEK(&dp->cuts.unheard);
	out->sessions = h->sessions_live;
	out->mappings = PEEK(&h->mappings_live);
	out->peers = MIN(PEEK(&h->mappings_further), out->mappings); // one after the other, so not of one instant
	out->mappings -= out->peers;
	out->ports = h->ports_live;
	out->teps = h->teps_live;
	out->sessions_ended = dp->sessions_ended;
	out->commits = dp->commits;
	out->sessions_max = dp->params.sessions;
	out->mappings_max = dp->params.mappings;
	out->ports_max = dp->params.ports;
	out->changes = h->changes;
	pthread_mutex_lock(&dp->control);
	out->revision = dp->cfg->revision;
	pthread_mutex_unlock(&dp->control);
	return 0;
}

int pcgdp_drops(struct pcgdp *dp, uint64_t *by_reason, uint32_t n)
{
	const struct worker *w[PCGDP_WORKERS_MAX + 1];
	uint32_t workers = all_workers(dp, w);

	for (uint32_t r = 0; r < n; r++) {
		by_reason[r] = 0;
		for (uint32_t i = 0; i < workers && r < N_REASONS; i++)
			by_reason[r] += PEEK(&w[i]->c.drops[r]);
	}
	return 0;
}

int pcgdp_stages(struct pcgdp *dp, uint64_t *packets_in, uint32_t n)
{
	const struct worker *w[PCGDP_WORKERS_MAX + 1];
	uint32_t workers = all_workers(dp, w);

	for (uint32_t s = 0; s < n; s++) {
		packets_in[s] = 0;
		for (uint32_t i = 0; i < workers && s < N_STAGES; i++)
			packets_in[s] += PEEK(&w[i]->c.stages[s]);
	}
	return 0;
}

static uint64_t tsc_hz(const struct pcgdp *dp)
{
	uint64_t ns = clock_ns() - dp->opened_ns;

	return ns ? (uint64_t)((double)(tsc() - dp->opened_tsc) * 1e9 / (double)ns) : 0;
}

int pcgdp_performance(struct pcgdp *dp, struct pcgdp_performance *out, uint32_t n)
{
	const struct worker *w[PCGDP_WORKERS_MAX + 1];
	uint32_t got = MIN(all_workers(dp, w), n);
	uint64_t hz = tsc_hz(dp);

	for (uint32_t i = 0; i < got; i++) {
		const struct perf *p = &w[i]->perf;

		out[i] = (struct pcgdp_performance){.packets = PEEK(&w[i]->c.rx), .plain = PEEK(&p->plain), .busy_ns = PEEK(&p->busy_ns),
			.idle_ns = PEEK(&p->idle_ns), .slept = PEEK(&p->slept), .napped = PEEK(&p->napped), .tsc_hz = hz};
		for (uint32_t s = 0; s < PCGDP_SIZES; s++)
			out[i].sizes[s] = PEEK(&p->sizes[s]);
		for (uint32_t s = 0; s < N_PERF_PARTS; s++) {
			out[i].part_packets[s] = PEEK(&p->part[s].packets);
			out[i].part_cycles[s] = PEEK(&p->part[s].cycles);
		}
	}
	return (int)got;
}

static void nic_info(struct pcgdp *dp, uint32_t role, struct pcgdp_nic_info *out)
{
	const struct worker *w[PCGDP_WORKERS_MAX + 1];
	uint32_t workers = all_workers(dp, w);
	struct nic *nic = &dp->nics[role];

	memset(out, 0, sizeof(*out));
	memcpy(out->name, nic->name, sizeof(out->name));
	memcpy(out->note, nic->note, sizeof(out->note));
	memcpy(out->mac, nic->mac, 6);
	out->role = role;
	out->driver = nic->driver;
	out->ifindex = nic->ifindex;
	out->mtu = nic->mtu;
	out->up = nic->up(nic);
	out->rx_missed = nic->missed(nic);
	for (uint32_t i = 0; i < workers; i++) {
		out->rx_packets += PEEK(&w[i]->c.nic[role].rx_packets);
		out->rx_bytes += PEEK(&w[i]->c.nic[role].rx_bytes);
		out->tx_packets += PEEK(&w[i]->c.nic[role].tx_packets);
		out->tx_bytes += PEEK(&w[i]->c.nic[role].tx_bytes);
	}
}

int pcgdp_nics(struct pcgdp *dp, struct pcgdp_nic_info *out, uint32_t n)
{
	uint32_t got = 0;

	for (uint32_t role = 0; role < 2 && got < n; role++)
		if (dp->nics[role].ops)
			nic_info(dp, role, &out[got++]);
	return (int)got;
}

enum { NOT_TRANSLATED = 255 }; // struct pcgdp_session's word for it

// By the address that the other side sees: a session does not outlive a change of it.
static uint32_t public_of_session(const struct pcgdp *dp, uint32_t s)
{
	const struct session_table *t = &dp->arena.sessions;
	const struct cold *c = &t->cold[s];
	const struct public_address *pub;

	if (c->kind == KIND_PLAIN)
		return NONE;
	if (c->mapping != NONE)
		return dp->arena.mappings.m[c->mapping].public_index;
	pub = public_of_secondary(dp->cfg, session_from_uplink(t, s) ? t->e[2 * s].key.dst : t->e[2 * s + 1].key.dst);
	return pub ? pub->rec.index : NONE;
}

static void session_out(const struct pcgdp *dp, uint32_t s, uint32_t now_s, struct pcgdp_session *out)
{
	const struct session_table *t = &dp->arena.sessions;
	const struct entry *fwd = &t->e[2 * s], *rev = fwd + 1;
	const struct cold *c = &t->cold[s];
	uint32_t a = PEEK(&fwd->last_s), b = PEEK(&rev->last_s), last = a > b ? a : b;

	*out = (struct pcgdp_session){.index = s, .vrf = session_vrf(t, s), .protocol = (uint8_t)proto_of(&fwd->key),
		.state = (uint8_t)session_tcp_state(t, s), .marked = fwd->mark != MARK_NONE, .kind = c->kind == KIND_PLAIN ? NOT_TRANSLATED : c->kind,
		.fwd_src_be = fwd->key.src, .fwd_dst_be = fwd->key.dst, .rev_src_be = rev->key.src, .rev_dst_be = rev->key.dst,
		.fwd_sport = ntohs(fwd->key.sport), .fwd_dport = ntohs(fwd->key.dport), .rev_sport = ntohs(rev->key.sport),
		.rev_dport = ntohs(rev->key.dport), .nat_id = c->nat_id, .fw_id = c->fw_id, .public_index = public_of_session(dp, s),
		.age_s = now_s > c->made_s ? now_s - c->made_s : 0, .idle_s = now_s > last ? now_s - last : 0,
		.timeout_s = session_timeout_s(t, s, dp->timeouts[c->nat_id]), .fwd_from_uplink = session_from_uplink(t, s), .fwd_packets = PEEK(&fwd->packets),
		.fwd_bytes = PEEK(&fwd->bytes), .rev_packets = PEEK(&rev->packets), .rev_bytes = PEEK(&rev->bytes)};
}

int pcgdp_sessions(struct pcgdp *dp, uint32_t *cursor, struct pcgdp_session *out, uint32_t n)
{
	const struct session_table *t = &dp->arena.sessions;
	uint32_t now_s = seconds_of(dp, clock_ns()), got = 0;

	pthread_mutex_lock(&dp->control); // the policy stays
	pthread_mutex_lock(&dp->sweeping);
	for (; *cursor < LOAD(t->high) && got < n; (*cursor)++)
		if (LOAD(&t->cold[*cursor].state) == S_LIVE)
			session_out(dp, *cursor, now_s, &out[got++]);
	pthread_mutex_unlock(&dp->sweeping);
	pthread_mutex_unlock(&dp->control);
	return (int)got;
}

int pcgdp_sweep(struct pcgdp *dp, uint64_t now_ns)
{
	now_ns = now_ns ? now_ns : clock_ns();
	decide_touched(dp);
	cuts_end(dp, now_ns);
	path_mtu_turn(dp, now_ns, true);
	sweep(dp, now_ns, 0, NONE / 2);
	pthread_mutex_lock(&dp->injecting);
	dp->inject->capture = &(struct capture){0}; // no port is its own to send by
	worker_begin(dp->inject, now_ns); // gives up what waits for its other pieces
	worker_end(dp->inject);
	dp->inject->capture = NULL;
	pthread_mutex_unlock(&dp->injecting);
	return 0;
}

#define X(name, text, advice) {#name, text, advice},
static const char *const reasons[N_REASONS][3] = {
#include "../include/reasons.def"
};
#undef X
#define X(from, name, text) {#name, text},
static const char *const stages[N_STAGES][2] = {
#include "../include/stages.def"
};
#undef X

const char *pcgdp_reason(uint32_t reason, uint32_t what)
{
	return reason < N_REASONS && what <= PCGDP_ADVICE ? reasons[reason][what] : NULL;
}

const char *pcgdp_stage(uint32_t stage, uint32_t what)
{
	return stage < N_STAGES && what <= PCGDP_TEXT ? stages[stage][what] : NULL;
}

int pcgdp_trace_start(struct pcgdp *dp, const struct pcgdp_trace_filter *filter, uint32_t packets)
{
	struct tracer *t = dp->tracer;

	pthread_mutex_lock(&t->lock);
	t->filter = *filter;
	t->packets = 0;
	t->head = t->tail = 0;
	STORE(&t->left, packets);
	if (packets)
		__atomic_or_fetch(&t->on, (uint32_t)TRACE_STAGES, __ATOMIC_SEQ_CST);
	else
		__atomic_and_fetch(&t->on, ~(uint32_t)TRACE_STAGES, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&t->lock);
	return 0;
}

int pcgdp_trace_read(struct pcgdp *dp, struct pcgdp_trace_event *out, uint32_t n)
{
	struct tracer *t = dp->tracer;
	uint32_t got = 0;

	pthread_mutex_lock(&t->lock);
	for (; got < n && t->head != t->tail; t->head = (t->head + 1) % TRACE_EVENTS)
		out[got++] = t->ring[t->head];
	pthread_mutex_unlock(&t->lock);
	return (int)got;
}
