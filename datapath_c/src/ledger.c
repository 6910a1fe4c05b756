// SPDX-License-Identifier: Apache-2.0
// ledger.c - see ledger.h.

#include "ledger.h"

#include <sys/mman.h>

#include "dp.h"

struct ledger *ledger_new(void)
{
	// most of it is never touched, and what is not touched takes no memory
	void *at = mmap(NULL, sizeof(struct ledger), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

void ledger_free(struct ledger *l)
{
	if (l)
		munmap(l, sizeof(*l));
}

// A rule is named by what was decided: later reasons are not a rule's doing, earlier ones know none.
static uint32_t rule_of(const struct pkt *p)
{
	if (p->reason == R_FIREWALL_DENIED)
		return p->fw_id;
	return p->reason >= R_NO_ROUTE && p->reason < R_FIREWALL_DENIED ? p->nat_id : 0;
}

// Not 0. The VNI is that of a segment: what a stranger writes into his packets makes no lines.
static uint64_t key_of(const struct pkt *p)
{
	uint32_t vni = p->segment ? p->segment->rec.vni : 0;

	return kind_of(rule_of(p), vni, p->nic, p->reason);
}

static void line_begin(struct pcgdp_drop *rec, uint64_t key, uint8_t reason, uint64_t now_ns)
{
	rec->reason = reason;
	rec->role = kind_role(key);
	rec->vni = key ? key >> 8 & 0xffffff : NONE;
	rec->fw_id = kind_fw(key);
	rec->nat_id = kind_nat(key);
	rec->first_ns = now_ns;
}

static struct ledger_line *line_of(struct ledger *l, uint64_t key, uint8_t reason, uint64_t now_ns)
{
	struct ledger_line *line = &l->line[LEDGER_SLOTS + reason];
	uint32_t at = (uint32_t)(key * 0x9e3779b97f4a7c15ull >> (64 - LEDGER_BITS));

	while (l->keys[at] && l->keys[at] != key)
		at = (at + 1) % LEDGER_SLOTS;
	if (l->keys[at])
		return &l->line[at];
	if (l->used < LEDGER_MAX) {
		l->used++;
		l->keys[at] = key;
		line = &l->line[at];
	} else {
		key = 0;
	}
	if (!line->rec.packets)
		line_begin(&line->rec, key, reason, now_ns);
	return line;
}

static void copy_frame(struct pcgdp_drop *rec, const uint8_t *data, uint32_t len)
{
	rec->length = len;
	rec->captured = MIN(len, (uint32_t)sizeof(rec->frame));
	memcpy(rec->frame, data, rec->captured);
}

// p is NULL for a frame that was finished: its own bytes are all there is.
static void sample(struct ledger_line *line, uint64_t now_ns, const struct pkt *p, const uint8_t *data, uint32_t len)
{
	static const struct pkt nothing;
	struct pcgdp_drop *rec = &line->rec;

	if (!p)
		p = &nothing;
	__atomic_store_n(&line->seq, line->seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	rec->at_ns = now_ns;
	rec->vrf = p->key.src ? p->vrf : NONE;
	rec->outer_src_be = p->outer_src;
	rec->src_be = p->key.src;
	rec->dst_be = p->key.dst;
	rec->sport = ntohs(p->key.sport);
	rec->dport = ntohs(p->key.dport);
	rec->protocol = p->proto;
	rec->l3 = p->l3;
	copy_frame(rec, data, len);
	STORE(&line->seq, line->seq + 1);
}

static void note(struct worker *w, const struct pkt *p, uint64_t key, uint8_t reason, const uint8_t *data, uint32_t len, uint32_t n)
{
	struct ledger_line *line = line_of(w->ledger, key, reason, w->now_ns);
	struct recent_packet r = {.kind = key, .data = data, .len = len, .n = n};

	if (!line->rec.packets || w->now_ns - line->rec.at_ns >= SAMPLE_NS)
		sample(line, w->now_ns, p, data, len);
	__atomic_store_n(&line->rec.last_ns, w->now_ns, __ATOMIC_RELAXED);
	STORE(&line->rec.packets, line->rec.packets + n);
	if (!recent_note(&w->ledger->recent, &w->dp->arena.head->secret, p, &r, &line->gate, w->now_ns))
		BUMP(&line->rec.unlisted, n);
}

void ledger_drop(struct worker *w, const struct pkt *p)
{
	note(w, p, key_of(p), p->reason, p->data, p->len, 1);
}

void ledger_drops(struct worker *w, const struct pkt *p, uint32_t n)
{
	if (n)
		note(w, p, key_of(p), p->reason, p->data, p->len, n);
}

void ledger_unsent(struct worker *w, uint32_t role, const struct frame *frame)
{
	note(w, NULL, kind_of(0, 0, role, R_TX_FAILED), R_TX_FAILED, frame->data, frame->len, 1);
}

// ---- reading, by any thread ----

static void line_read(const struct ledger_line *line, struct pcgdp_drop *out)
{
	uint32_t seq;

	do {
		while ((seq = LOAD(&line->seq)) & 1)
			cpu_relax();
		*out = line->rec;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (PEEK(&line->seq) != seq);
	out->packets = PEEK(&line->rec.packets);
	out->last_ns = PEEK(&line->rec.last_ns);
	out->unlisted = PEEK(&line->rec.unlisted);
}

int pcgdp_ledger(struct pcgdp *dp, struct pcgdp_drop *out, uint32_t n)
{
	const struct worker *w[PCGDP_WORKERS_MAX + 1];
	uint32_t workers = all_workers(dp, w), got = 0;

	for (uint32_t i = 0; i < workers; i++)
		for (uint32_t k = 0; k < LEDGER_SLOTS + N_REASONS && got < n; k++)
			if (LOAD(&w[i]->ledger->line[k].rec.packets))
				line_read(&w[i]->ledger->line[k], &out[got++]);
	return (int)got;
}
