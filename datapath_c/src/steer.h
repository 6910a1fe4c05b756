// SPDX-License-Identifier: Apache-2.0
// steer.h - the socket filter that takes owned frames and nothing else (classic BPF).
#pragma once

#include <linux/filter.h>

#include "nic.h"

enum { STEER_MAX = 4096 }; // BPF_MAXINSNS: about 2,000 addresses; more need the XDP driver's map

// The number of instructions, or -E2BIG.
int steer_uplink(struct sock_filter *f, const struct owned *o);
int steer_downlink(struct sock_filter *f, const struct owned *o);
int steer_nothing(struct sock_filter *f);
