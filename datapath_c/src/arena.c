// SPDX-License-Identifier: Apache-2.0
// arena.c - laying the arena out, and attaching to one that a previous process left.

#include "arena.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum { ARENA_LAYOUT = 5 }; // raise it with any change of what lies in the arena
#define ARENA_MAGIC 0x414e455241474350ull // "PCGARENA"
#define HUGE_PAGE (2ul << 20)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 // Linux 6.1
#endif

// Addresses as numbers, since from NULL there is nothing to add to.
static void *take(uintptr_t *at, size_t bytes)
{
	void *p = (void *)*at;

	*at += (bytes + 4095) & ~4095ul;
	return p;
}

// The one place that knows the order of the sections. With base NULL it only measures.
static size_t lay_out(struct arena *a, uint8_t *base, const struct pcgdp_params *p, bool fresh)
{
	uintptr_t at = (uintptr_t)base;
	uint32_t slots = p->ports + 1 + NEXTHOPS_MAX;
	uint32_t adjs = slots + slots / 8 + 8192; // room for swaps that wait for quiescence
	void *index[6];

	a->head = take(&at, sizeof(*a->head));
	a->sessions.e = take(&at, 2ul * p->sessions * sizeof(struct entry));
	index[0] = take(&at, sigtab_bytes(2 * p->sessions));
	a->adjs.slots = take(&at, slots * sizeof(struct slot));
	a->adjs.adj = take(&at, adjs * sizeof(struct adj));
	index[1] = take(&at, sigtab_bytes(p->ports));
	a->ports = take(&at, p->ports * sizeof(struct port));
	a->sessions.cold = take(&at, p->sessions * sizeof(struct cold));
	a->mappings.m = take(&at, p->mappings * sizeof(struct mapping));
	index[2] = take(&at, sigtab_bytes(p->mappings));
	index[3] = take(&at, sigtab_bytes(p->mappings));
	a->teps = take(&at, TEPS_MAX * sizeof(struct tep));
	index[4] = take(&at, sigtab_bytes(TEPS_MAX));
	a->nexthops = take(&at, NEXTHOPS_MAX * sizeof(struct nexthop));
	if (!base)
		return at - (uintptr_t)base;

	sigtab_init(&a->sessions.index, index[0], 2 * p->sessions, fresh);
	sigtab_init(&a->port_index, index[1], p->ports, fresh);
	sigtab_init(&a->mappings.by_in, index[2], p->mappings, fresh);
	sigtab_init(&a->mappings.by_out, index[3], p->mappings, fresh);
	sigtab_init(&a->tep_index, index[4], TEPS_MAX, fresh);
	a->adjs.n_slots = slots;
	a->adjs.n_adj = adjs;
	return at - (uintptr_t)base;
}

static void wire_up(struct arena *a, const struct pcgdp_params *p)
{
	struct arena_head *h = a->head;

	a->limbo_first = a->limbo_last = NONE;
	a->sessions.n = p->sessions;
	a->sessions.secret = a->mappings.secret = &h->secret;
	a->sessions.free_head = &h->sessions_free;
	a->sessions.lock = &h->sessions_lock;
	a->sessions.high = &h->sessions_high;
	a->sessions.live = &h->sessions_live;
	a->mappings.n = p->mappings;
	a->mappings.free_head = &h->mappings_free;
	a->mappings.lock = &h->mappings_lock;
	a->mappings.high = &h->mappings_high;
	a->mappings.live = &h->mappings_live;
	a->mappings.further = &h->mappings_further;
	a->mappings.limbo = NONE;
	a->adjs.free_head = &h->adjs_free;
	a->adjs.high = &h->adjs_high;
}

static int head_fresh(struct arena_head *h, const struct pcgdp_params *p)
{
	struct timespec now;

	if (getrandom(&h->secret, sizeof(h->secret), 0) != sizeof(h->secret))
		return -errno;
	clock_gettime(CLOCK_MONOTONIC, &now);
	h->born_ns = (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
	h->params = *p;
	h->sessions_free = h->mappings_free = NONE;
	h->adjs_high = 1; // adjacency 0 is none
	h->layout = ARENA_LAYOUT;
	h->magic = ARENA_MAGIC;
	STORE(&h->complete, 1);
	return 0;
}

static bool same_sizes(const struct pcgdp_params *a, const struct pcgdp_params *b)
{
	return a->sessions == b->sessions && a->mappings == b->mappings && a->ports == b->ports;
}

static bool usable(const struct arena_head *h, const struct pcgdp_params *p)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now); // an arena "born in the future" is of an earlier boot
	return h->magic == ARENA_MAGIC && h->layout == ARENA_LAYOUT && h->complete == 1 && same_sizes(&h->params, p) &&
		h->born_ns <= (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

// Counts are rebuilt from the sessions that live: a crash may have left them wrong. Meanwhile each record
// counts one more, so that those of further peers are found.
static void mappings_attach(struct arena *a)
{
	struct mapping_table *t = &a->mappings;
	const struct session_table *st = &a->sessions;

	*t->lock = 0;
	*t->live = *t->further = 0;
	*t->free_head = NONE;
	sigtab_attach(&t->by_in);
	sigtab_attach(&t->by_out);
	for (uint32_t m = 0; m < *t->high; m++) {
		t->m[m].sessions = 1;
		t->m[m].open = 0;
	}
	for (uint32_t s = 0; s < *st->high; s++) {
		if (st->cold[s].state != S_LIVE || st->cold[s].mapping >= *t->high)
			continue;
		t->m[st->cold[s].mapping].sessions++;
		mapping_open_to(t, st->cold[s].mapping, peer_of(&st->e[2 * s].key), NONE);
	}
	for (uint32_t m = 0; m < *t->high; m++) {
		(*t->live)++;
		if (mapping_release(t, m))
			mapping_give(t, &m, 1);
		else
			*t->further += t->m[m].further;
	}
}

// A tmpfs gives a sparse file any length, and kills who writes past what it has (SIGBUS).
static int make_room(int fd, size_t bytes)
{
	struct statvfs fs;

	if (ftruncate(fd, 0))
		return -errno;
	if (!fstatvfs(fd, &fs) && fs.f_blocks && (uint64_t)fs.f_bavail * fs.f_frsize < bytes)
		return -ENOSPC;
	return ftruncate(fd, (off_t)bytes) ? -errno : 0;
}

// `bytes` of a file, or of anonymous memory (fd -1), where a huge page begins: only there can one be.
static void *map(int fd, size_t bytes)
{
	int kind = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
	uint8_t *room = mmap(NULL, bytes + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t skip = -(uintptr_t)room & (HUGE_PAGE - 1);

	if (room == MAP_FAILED)
		return room;
	if (skip)
		munmap(room, skip);
	munmap(room + skip + bytes, HUGE_PAGE - skip);
	return mmap(room + skip, bytes, PROT_READ | PROT_WRITE, kind | MAP_FIXED, fd, 0);
}

// A tmpfs without huge= gives small pages, whatever is advised. They can be made huge afterwards, if
// one of them is there: so the whole arena is, from the start, and no packet waits for its memory.
// What cannot be stays as it is.
static void make_huge(const uint8_t *base, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += HUGE_PAGE)
		(void)PEEK(base + at);
	madvise((void *)(uintptr_t)base, bytes, MADV_COLLAPSE);
}

static int map_file(const char *path, size_t bytes, bool *had, void **out, char *error, uint32_t error_len)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), rc = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		rc = -errno;
		snprintf(error, error_len, "arena %s: %s; use a path on a tmpfs that this user may write", path, strerror(-rc));
		goto out;
	}
	if (st.st_uid != geteuid() || !S_ISREG(st.st_mode)) { // its indices would be believed
		rc = -EPERM;
		snprintf(error, error_len, "arena %s: is no file of this user; remove it, or use another path", path);
		goto out;
	}
	*had = (size_t)st.st_size == bytes;
	rc = *had ? 0 : make_room(fd, bytes);
	if (rc) {
		snprintf(error, error_len, "arena %s: cannot be %zu MiB: %s; use fewer sessions or a larger tmpfs", path, bytes >> 20, strerror(-rc));
		goto out;
	}
	*out = map(fd, bytes);
	if (*out == MAP_FAILED) {
		rc = -errno;
		snprintf(error, error_len, "arena %s: %s", path, strerror(-rc));
	}
out:
	if (fd >= 0)
		close(fd);
	return rc;
}

int arena_open(struct arena *a, const struct pcgdp_params *p, char *error, uint32_t error_len)
{
	size_t bytes = (lay_out(a, NULL, p, false) + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	bool had = false;
	void *base;
	int rc;

	if (p->arena[0]) {
		rc = map_file(p->arena, bytes, &had, &base, error, error_len);
		if (rc)
			return rc;
	} else {
		base = map(-1, bytes);
		if (base == MAP_FAILED) {
			snprintf(error, error_len, "no %zu MiB of memory for the tables; use fewer sessions", bytes >> 20);
			return -ENOMEM;
		}
	}
	madvise(base, bytes, MADV_HUGEPAGE); // half the cycles at 1 M sessions (docs/profile.md); works without
	madvise(base, bytes, MADV_DONTDUMP);
	a->bytes = bytes;
	a->attached = had && !p->fresh && usable(base, p);
	if (p->arena[0] && !a->attached)
		make_huge(base, bytes);
	if (had && !a->attached)
		memset(base, 0, bytes);
	lay_out(a, base, p, !a->attached);
	wire_up(a, p);
	if (!a->attached)
		return head_fresh(a->head, p);
	session_attach(&a->sessions);
	mappings_attach(a);
	return 0;
}

void arena_close(struct arena *a)
{
	if (a->head)
		munmap(a->head, a->bytes);
	a->head = NULL;
}
