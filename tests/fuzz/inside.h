// SPDX-License-Identifier: Apache-2.0
// inside.h - what of the fuzzer's harness looks into the path (inside.c).

#ifndef INSIDE_H
#define INSIDE_H

#include <stdbool.h>
#include <stdint.h>

struct pcgdp;

// As pcgdp_inject(), by a worker that does not run, the `lane`th from 1; any other lane: by inject's own.
// What it hands to others is served.
int inject_as(struct pcgdp *dp, uint32_t lane, uint32_t role, const uint8_t *frames, const uint32_t *lengths, uint32_t n, uint64_t at_ns,
	uint8_t *out, uint32_t out_len, uint32_t *out_lengths, uint32_t *out_roles, uint32_t n_out);
void hold_tables(const struct pcgdp *dp, bool swept); // they agree with each other, else this aborts
void hold_empty(const struct pcgdp *dp); // nothing is left, and all that was taken is back

#endif
