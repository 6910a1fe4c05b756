// SPDX-License-Identifier: Apache-2.0
// nic.c - a port by the name of its driver, and what "auto" takes.

#include "nic.h"

#include <stdio.h>

static const struct nic_ops *const drivers[] = {
	[PCGDP_DRIVER_MEM] = &nic_mem_ops,
	[PCGDP_DRIVER_AF_PACKET] = &nic_af_packet_ops,
	[PCGDP_DRIVER_AF_XDP] = &nic_af_xdp_ops,
};

static int open_with(struct nic *nic, const char *name, uint32_t role, uint32_t driver, uint32_t queues, char *error, uint32_t error_len)
{
	int rc;

	memset(nic, 0, sizeof(*nic));
	strcpy(nic->name, name);
	nic->role = role;
	nic->driver = driver;
	rc = drivers[driver]->open(nic, queues, error, error_len);
	if (!rc)
		nic->ops = drivers[driver];
	return rc;
}

// The best that works: af_xdp, else af_packet. Either way the note says why. XDP that the kernel runs
// behind a driver without it saves nothing: the frame has been made a packet of the kernel's by then.
static int open_best(struct nic *nic, const char *name, uint32_t role, uint32_t queues, char *error, uint32_t error_len)
{
	char why[sizeof(nic->note)] = "";
	int rc = open_with(nic, name, role, PCGDP_DRIVER_AF_XDP, queues, error, error_len);

	if (!rc && !nic->second_best) {
		memcpy(why, nic->note, sizeof(why));
		snprintf(nic->note, sizeof(nic->note), "auto: %.*s", (int)sizeof(why) - 8, why);
		return 0;
	}
	snprintf(why, sizeof(why), "%s", rc ? error : nic->second_best);
	if (!rc)
		nic->ops->close(nic);
	rc = open_with(nic, name, role, PCGDP_DRIVER_AF_PACKET, queues, error, error_len);
	if (!rc)
		snprintf(nic->note, sizeof(nic->note), "auto: not af_xdp: %.*s", (int)sizeof(why) - 20, why);
	return rc;
}

int nic_open(struct nic *nic, const char *name, uint32_t role, uint32_t driver, uint32_t queues, char *error, uint32_t error_len)
{
	if (driver == PCGDP_DRIVER_AUTO)
		return open_best(nic, name, role, queues, error, error_len);
	return open_with(nic, name, role, driver, queues, error, error_len);
}

void nic_publish(struct nic *to, const struct nic *opened)
{
	struct nic n = *opened;

	n.ops = NULL;
	*to = n;
	STORE(&to->ops, opened->ops);
}
