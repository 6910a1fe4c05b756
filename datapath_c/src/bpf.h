// SPDX-License-Identifier: Apache-2.0
// bpf.h - classic BPF as libpcap compiles a tcpdump expression to it.
//
// The instruction set of McCanne and Jacobson, "The BSD Packet Filter" (USENIX 1993), and no
// extension. A program is checked once, before it runs: then it ends, and nothing but the frame and
// its own sixteen words is reached.
#pragma once

#include "base.h"

enum { BPF_PROGRAM_MAX = 4096 }; // instructions, as in libpcap and the kernel

int bpf_check(const struct pcgdp_bpf *program, uint32_t n); // 0 or -EINVAL
// What the program returns: 0 is no. `length` on the wire, of which `there` bytes are at `frame`; a
// read past them is a no.
uint32_t bpf_run(const struct pcgdp_bpf *program, const uint8_t *frame, uint32_t length, uint32_t there);
