// SPDX-License-Identifier: Apache-2.0
// kernel_if.h - what a port asks the kernel about its interface, whatever driver it uses.
#pragma once

#include "nic.h"

int kernel_if_facts(struct nic *nic); // fills ifindex, mac, mtu; refuses an MTU beyond our frames with -EMSGSIZE
bool kernel_if_up(struct nic *nic);
void kernel_if_queues(const struct nic *nic, uint32_t *rx, uint32_t *tx); // in use; 1 where the driver does not say
const char *kernel_if_mend(int rc); // of -errno: what to do about it
