// SPDX-License-Identifier: Apache-2.0
// inside.c - what no border shows: the pace of housekeeping, of resets, and a lane between two workers that
// is full.
//
//   inside pace
//   inside judged WORLD FRAME PORTS SESSIONS
//   inside asked WORLD FRAME PORTS SESSIONS
//   inside lane WORLD FIRST LAST
//
//   WORLD   tables, as tests/fuzz/world.c reads them
//   FRAME   of a workload, UDP or a SYN, its checksum left as it is; its ports, PORTS bytes into it, say
//           which of SESSIONS it opens
//   FIRST   the first pieces of so many datagrams that came by the downlink, each behind its length
//   LAST    their last pieces, in the same order

#include <stdio.h>
#include <stdlib.h>

#include "../../datapath_c/src/keeper.c" // its pace is its own
#include "cuts.h"
#include "mail.h"

#define MUST(what) ((what) ? (void)0 : fail(__LINE__, #what))

enum { DATAGRAMS_MAX = 1024, MANY = 10000000, FEW = 1000, ASKED_MOST = 16 };

void world_read(const char *path); // tests/fuzz/world.c
void world_put(struct pcgdp *dp);
void world_commit(struct pcgdp *dp);

static void fail(int line, const char *what)
{
	fprintf(stderr, "inside.c:%d: not so: %s\n", line, what);
	exit(1);
}

static struct pcgdp *opened(uint32_t workers, uint32_t sessions)
{
	struct pcgdp_params params = {.sessions = sessions, .mappings = 4096, .ports = 1024, .workers = workers, .fresh = 1};
	char error[256] = "";
	struct pcgdp *dp;

	MUST(!pcgdp_open(&params, &dp, error, sizeof(error)));
	return dp;
}

static void programmed(struct pcgdp *dp, const char *world)
{
	char error[256] = "";

	MUST(!pcgdp_nic_add(dp, "up0", PCGDP_UPLINK, PCGDP_DRIVER_MEM, error, sizeof(error)));
	MUST(!pcgdp_nic_add(dp, "down0", PCGDP_DOWNLINK, PCGDP_DRIVER_MEM, error, sizeof(error)));
	world_read(world);
	world_put(dp);
	world_commit(dp);
}

// ---- pace ----

// How many turns until one sweeps a slice of the quiet pace.
static uint32_t turns_until_slow(const struct pcgdp *dp, struct keeper *k)
{
	uint32_t n = 0;

	while (slice_of(dp, k) != QUIET_SLICE)
		MUST(++n <= 2 * HURRY);
	return n;
}

static void pace(void)
{
	struct pcgdp *dp = opened(1, 4096);
	struct keeper k = {.hurry = HURRY};
	uint32_t *high = &dp->arena.head->sessions_high, was = *high, whole = MANY / ROUNDS_PER_S;

	*high = MANY; // it is only looked at: nothing is swept here
	MUST(slice_of(dp, &k) >= whole); // a round takes a second
	MUST(turns_until_slow(dp, &k) <= HURRY);
	MUST(slice_of(dp, &k) == QUIET_SLICE && QUIET_SLICE < whole);

	dp->arena.head->changes++; // a port, a TEP, an adjacency
	MUST(slice_of(dp, &k) >= whole);
	MUST(turns_until_slow(dp, &k) == HURRY - 1);

	dp->sessions_ended++; // others may be as old
	MUST(slice_of(dp, &k) >= whole);
	MUST(turns_until_slow(dp, &k) == HURRY - 1);

	*high = FEW; // a small table is swept within a second at any pace
	MUST(slice_of(dp, &k) >= FEW / ROUNDS_PER_S && slice_of(dp, &k) < QUIET_SLICE);
	*high = was;
	pcgdp_close(dp);
}

// ---- what a commit concerns ----

static void open_sessions(struct pcgdp *dp, const char *path, uint32_t ports_at, uint32_t n)
{
	static uint8_t buf[HEADROOM + PCGDP_FRAME_MAX], frame[PCGDP_FRAME_MAX];
	struct worker *w = dp->workers[0];
	FILE *f = fopen(path, "rb");
	uint32_t len;

	MUST(f);
	len = (uint32_t)fread(frame, 1, sizeof(frame), f);
	fclose(f);
	MUST(len > ports_at + 4);
	for (uint32_t i = 0; i < n; i++) {
		struct frame copy = {.data = buf + HEADROOM, .len = len};

		memcpy(copy.data, frame, len);
		wr16(copy.data + ports_at, htons((uint16_t)(1 + i % 50000)));
		wr16(copy.data + ports_at + 2, htons((uint16_t)(1 + i / 50000)));
		worker_begin(w, clock_ns());
		run_frames(w, PCGDP_DOWNLINK, &copy, 1);
		worker_end(w);
	}
	MUST(PEEK(dp->arena.sessions.live) == n);
}

static bool all_judged(struct pcgdp *dp)
{
	const struct session_table *t = &dp->arena.sessions;
	bool all = !dp->touches.all && !dp->touches.n;

	for (uint32_t s = 0; s < LOAD(t->high) && all; s++)
		all = !t->e[2 * s].mark;
	return all;
}

// In turns of housekeeping, which come EACH_MS apart, until each session has been decided again.
static uint32_t turns_until_judged(struct pcgdp *dp, struct keeper *k, uint32_t n)
{
	uint64_t before = dp->deciding.decisions;
	uint32_t turns = 0;

	for (world_commit(dp); !all_judged(dp); turns++) {
		MUST(turns < 2 * ROUNDS_PER_S);
		turn(dp, k);
	}
	MUST(dp->deciding.decisions - before == n);
	return turns;
}

// However the commit meets it: behind a walk, and wherever the sweep stands. A third of a second is left for
// the work itself.
static void judged(const char *world, const char *frame, uint32_t ports_at, uint32_t n)
{
	struct pcgdp *dp = opened(1, n);

	programmed(dp, world);
	open_sessions(dp, frame, ports_at, n);
	for (uint32_t i = 0; i < 4; i++) {
		struct keeper k = {.rest = MARK_REST, .cursor = (uint32_t[]){0, n / 3, 2 * n / 3, n - 1}[i]};

		MUST(turns_until_judged(dp, &k, n) * EACH_MS <= 667);
	}
	pcgdp_close(dp);
}

// ---- resets ----

static void cut_all(struct pcgdp *dp, uint32_t n)
{
	struct entry *e = dp->arena.sessions.e;

	for (uint32_t s = 0; s < n; s++) {
		e[2 * s].tcp_flags = e[2 * s + 1].tcp_flags = TCP_SYN | TCP_ACK;
		MUST(cuts_add(dp, s, MARK_CUT) == CUTS_TAKEN);
	}
}

// Frames wait for no more than one call between two looks at the ports: few are asked at each, and all in the end.
static void asked(const char *world, const char *frame, uint32_t ports_at, uint32_t n)
{
	struct pcgdp *dp = opened(1, n);
	struct worker *w = dp->workers[0];
	uint32_t calls = 0;
	uint64_t made;

	programmed(dp, world);
	open_sessions(dp, frame, ports_at, n);
	cut_all(dp, n);
	made = w->c.made;
	for (; cuts_waiting(&dp->cuts); calls++) {
		uint64_t before = w->c.made, waited = cuts_waiting(&dp->cuts);

		worker_begin(w, clock_ns());
		cuts_ask(w);
		worker_end(w);
		MUST(w->c.made - before == 2 * (waited - cuts_waiting(&dp->cuts)) && w->c.made - before <= 2 * ASKED_MOST);
	}
	MUST(calls >= n / ASKED_MOST && w->c.made - made == 2ull * n);
	pcgdp_close(dp);
}

// ---- a full lane ----

struct pieces {
	uint32_t n;
	struct frame frame[DATAGRAMS_MAX]; // each with HEADROOM in front, and a copy of it for each time it comes
};

static struct pieces pieces_read(const char *path)
{
	struct pieces p = {0};
	FILE *f = fopen(path, "rb");
	uint32_t len;

	MUST(f);
	while (fread(&len, sizeof(len), 1, f) == 1) {
		uint8_t *data = malloc(HEADROOM + PCGDP_FRAME_MAX);

		MUST(data && len <= PCGDP_FRAME_MAX && p.n < DATAGRAMS_MAX && fread(data + HEADROOM, len, 1, f) == 1);
		p.frame[p.n++] = (struct frame){.data = data + HEADROOM, .len = len};
	}
	fclose(f);
	return p;
}

static void pieces_free(struct pieces *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		free(p->frame[i].data - HEADROOM);
}

// One frame to one worker, as from its NIC. Returns whether a full lane, or full memory, ended it.
static bool comes(struct pcgdp *dp, uint32_t worker, const struct frame *f)
{
	static uint8_t buf[HEADROOM + PCGDP_FRAME_MAX];
	struct frame copy = {.data = buf + HEADROOM, .len = f->len};
	struct worker *w = dp->workers[worker];
	uint64_t before = w->c.drops[R_FRAGMENTS_FULL];

	memcpy(copy.data, f->data, f->len);
	worker_begin(w, clock_ns());
	run_frames(w, PCGDP_DOWNLINK, &copy, 1);
	worker_end(w);
	return w->c.drops[R_FRAGMENTS_FULL] > before;
}

static void serve_mail(struct pcgdp *dp, uint32_t worker)
{
	struct worker *w = dp->workers[worker];

	worker_begin(w, clock_ns());
	while (mail_waits(dp->boxes[worker]))
		mail_serve(w);
	worker_end(w);
}

static struct pcgdp_totals totals_of(struct pcgdp *dp)
{
	struct pcgdp_totals t;

	pcgdp_totals(dp, &t);
	MUST(t.rx + t.made == t.tx + t.punt + t.drops + t.held + t.joined);
	return t;
}

// Datagrams, though they leave cut: all pieces but one count as made.
static uint64_t forwarded(struct pcgdp *dp)
{
	struct pcgdp_totals t = totals_of(dp);

	return t.tx - t.made;
}

static void lane(const char *world, const char *first_pieces, const char *last_pieces)
{
	static bool refused[DATAGRAMS_MAX];
	struct pcgdp *dp = opened(2, 4096);
	struct pieces first = pieces_read(first_pieces), last = pieces_read(last_pieces);
	uint32_t n_refused = 0;
	uint64_t sent;

	programmed(dp, world);

	for (uint32_t i = 0; i < first.n; i++) // the other worker stands still
		n_refused += refused[i] = comes(dp, 0, &first.frame[i]);
	sent = dp->boxes[1]->sent;
	MUST(n_refused && sent);
	MUST(sent * first.frame[0].len <= LANE_BYTES && (sent + 1) * (first.frame[0].len + HEADROOM + 2 * LINE) > LANE_BYTES);
	MUST(totals_of(dp).drops == n_refused && totals_of(dp).held == first.n - n_refused);

	serve_mail(dp, 1);
	MUST(totals_of(dp).held == first.n - n_refused); // now they wait for the others
	for (uint32_t i = 0; i < last.n; i++) {
		MUST(!comes(dp, 0, &last.frame[i]));
		serve_mail(dp, 1);
	}
	MUST(forwarded(dp) == first.n - n_refused && totals_of(dp).held == n_refused);

	for (uint32_t i = 0; i < first.n; i++) // whoever was refused comes again, and there is room
		if (refused[i]) {
			MUST(!comes(dp, 0, &first.frame[i]));
			serve_mail(dp, 1);
		}
	MUST(forwarded(dp) == first.n && totals_of(dp).held == 0 && totals_of(dp).drops == n_refused);
	pieces_free(&first);
	pieces_free(&last);
	pcgdp_close(dp);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "pace"))
		pace();
	else if (argc == 6 && !strcmp(argv[1], "judged"))
		judged(argv[2], argv[3], (uint32_t)atoi(argv[4]), (uint32_t)atoi(argv[5]));
	else if (argc == 6 && !strcmp(argv[1], "asked"))
		asked(argv[2], argv[3], (uint32_t)atoi(argv[4]), (uint32_t)atoi(argv[5]));
	else if (argc == 5 && !strcmp(argv[1], "lane"))
		lane(argv[2], argv[3], argv[4]);
	else
		return 2;
	return 0;
}
