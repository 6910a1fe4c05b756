// SPDX-License-Identifier: Apache-2.0
// xdp.c - see xdp.h.
//
// The program hangs on a BPF link: the kernel takes it off when the last descriptor of the link is
// closed, be it by us without any privilege or because the process was killed. Maps are filled
// through descriptors that were opened with privilege and stay open.

#include "xdp.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#define FAIL(code, ...) (snprintf(error, error_len, __VA_ARGS__), (code))

struct prefix_key { // as in xdp/steer.c
	uint32_t len;
	be32 address;
};

// What the kernel said last through libbpf. Ports are opened by one thread.
static char said[160];

static int listen_to(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[256], *from;

	(void)level;
	vsnprintf(line, sizeof(line), format, args);
	from = strstr(line, "Kernel error message: ");
	if (from) {
		from += strlen("Kernel error message: ");
		from[strcspn(from, "\n")] = 0;
		snprintf(said, sizeof(said), "%s", from);
	}
	return 0;
}

static int be_silent(enum libxdp_print_level level, const char *format, va_list args)
{
	(void)level, (void)format, (void)args;
	return 0;
}

static int load(struct xdp *x, uint32_t role, uint32_t queues)
{
	const char *wanted = role == PCGDP_UPLINK ? "steer_uplink" : "steer_downlink";
	uint32_t room = role == PCGDP_UPLINK ? 2 * OWNED_MAX : 4; // new ones come before old ones go
	struct bpf_program *p;
	int rc;

	x->object = bpf_object__open_mem(steer_object, steer_object_len, NULL);
	if (!x->object)
		return -errno;
	bpf_object__for_each_program(p, x->object)
		bpf_program__set_autoload(p, !strcmp(bpf_program__name(p), wanted));
	bpf_map__set_max_entries(bpf_object__find_map_by_name(x->object, "sockets"), queues);
	bpf_map__set_max_entries(bpf_object__find_map_by_name(x->object, "addresses"), room);
	bpf_map__set_max_entries(bpf_object__find_map_by_name(x->object, "prefixes"), room);
	rc = bpf_object__load(x->object);
	if (rc)
		return rc;
	x->program = bpf_program__fd(bpf_object__find_program_by_name(x->object, wanted));
	x->sockets = bpf_object__find_map_fd_by_name(x->object, "sockets");
	x->addresses = bpf_object__find_map_fd_by_name(x->object, "addresses");
	x->prefixes = bpf_object__find_map_fd_by_name(x->object, "prefixes");
	return 0;
}

static int attach(struct xdp *x, const struct nic *nic, uint32_t mode)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = mode);
	int fd = bpf_link_create(x->program, (int)nic->ifindex, BPF_XDP, &opts);

	if (fd < 0)
		return fd;
	x->link = fd;
	return 0;
}

// Why the driver will not have the program. A link does not hand on the driver's words, attaching
// by netlink does; should that succeed, it is undone at once.
static const char *words_of_driver(const struct xdp *x, const struct nic *nic, int rc)
{
	said[0] = 0;
	if (!bpf_xdp_attach((int)nic->ifindex, x->program, XDP_FLAGS_UPDATE_IF_NOEXIST | XDP_FLAGS_DRV_MODE, NULL))
		bpf_xdp_detach((int)nic->ifindex, XDP_FLAGS_DRV_MODE, NULL);
	return said[0] ? said : strerror(-rc);
}

// In the driver; where the driver knows no XDP at all, in the kernel behind it. A driver that knows
// it but refuses now has a limit that its operator can mend, so that is said, not worked around.
static int attach_best(struct xdp *x, const struct nic *nic, char *error, uint32_t error_len)
{
	int rc = attach(x, nic, XDP_FLAGS_DRV_MODE);

	x->generic = rc == -EOPNOTSUPP;
	if (x->generic)
		rc = attach(x, nic, XDP_FLAGS_SKB_MODE);
	if (rc == -EBUSY || rc == -EEXIST)
		return FAIL(-EOPNOTSUPP, "%s: another XDP program is attached; take it off: ip link set dev %s xdp off", nic->name, nic->name);
	if (rc == -EPERM)
		return FAIL(rc, "%s: no permission to attach an XDP program", nic->name);
	if (rc)
		return FAIL(-EOPNOTSUPP, "%s: its driver refuses XDP at MTU %u: %s", nic->name, nic->mtu, words_of_driver(x, nic, rc));
	return 0;
}

int xdp_open(struct xdp *x, const struct nic *nic, uint32_t queues, char *error, uint32_t error_len)
{
	int rc;

	memset(x, 0, sizeof(*x));
	libbpf_set_print(listen_to);
	libxdp_set_print(be_silent);
	rc = load(x, nic->role, queues);
	if (rc == -EPERM || rc == -EACCES)
		rc = FAIL(-EPERM, "%s: no permission to load an XDP program", nic->name);
	else if (rc)
		rc = FAIL(-EOPNOTSUPP, "%s: the kernel refuses our XDP program (it needs Linux 5.19): %s", nic->name, strerror(-rc));
	else
		rc = attach_best(x, nic, error, error_len);
	if (rc)
		xdp_close(x);
	return rc;
}

int xdp_socket(struct xdp *x, uint32_t queue, int fd)
{
	return bpf_map_update_elem(x->sockets, &queue, &fd, BPF_ANY);
}

void xdp_close(struct xdp *x)
{
	if (x->link > 0)
		close(x->link);
	bpf_object__close(x->object); // NULL is none
	memset(x, 0, sizeof(*x));
}

// Remove what this round has not written.
static void forget(int map, void *key, void *next, size_t len, uint32_t round)
{
	bool more = !bpf_map_get_next_key(map, NULL, key);

	while (more) {
		uint32_t written = round;

		more = !bpf_map_get_next_key(map, key, next);
		if (!bpf_map_lookup_elem(map, key, &written) && written != round)
			bpf_map_delete_elem(map, key);
		memcpy(key, next, len);
	}
}

static int write_owned(struct xdp *x, uint32_t role, const struct owned *o)
{
	int rc = 0;

	if (role == PCGDP_DOWNLINK)
		return o->tep ? bpf_map_update_elem(x->addresses, &o->tep, &x->round, BPF_ANY) : 0;
	for (uint32_t i = 0; !rc && i < o->n; i++)
		rc = bpf_map_update_elem(x->addresses, &o->addresses[i], &x->round, BPF_ANY);
	for (uint32_t i = 0; !rc && i < o->n_prefixes; i++) {
		struct prefix_key key = {o->prefixes[i].len, o->prefixes[i].prefix};

		rc = bpf_map_update_elem(x->prefixes, &key, &x->round, BPF_ANY);
	}
	return rc;
}

// New ones first, then the old ones go: an address owned before and after is owned throughout.
int xdp_steer(struct xdp *x, const struct nic *nic, const struct owned *o, char *error, uint32_t error_len)
{
	struct prefix_key key, next;
	int rc;

	if (o->n > OWNED_MAX || o->n_prefixes > OWNED_MAX)
		return FAIL(-E2BIG, "%s: %u addresses and %u prefixes are more than %u", nic->name, o->n, o->n_prefixes, OWNED_MAX);
	x->round++;
	rc = write_owned(x, nic->role, o);
	if (rc)
		return FAIL(rc, "%s: the XDP program's map cannot be written: %s", nic->name, strerror(-rc));
	forget(x->addresses, &key, &next, sizeof(be32), x->round);
	forget(x->prefixes, &key, &next, sizeof(key), x->round);
	return 0;
}
