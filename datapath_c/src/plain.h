// SPDX-License-Identifier: Apache-2.0
// plain.h - nearly every packet: of a known session, and nothing odd about it.
#pragma once

#include "worker.h"

#ifdef PCG_NO_PLAIN // bench/ablations.py asks what it is worth
enum { PLAIN = 0 };
#else
enum { PLAIN = 1 };
#endif

enum { PLAIN_BURST = 64 };

// Forward those of the n frames, at most PLAIN_BURST, that are plain. Bit i of what is returned:
// frame i is not, and has not been touched. `more` frames lie behind, for the next call.
uint64_t plain_burst(struct worker *w, uint32_t role, const struct frame *frames, uint32_t n, uint32_t more);
// Is the tunnel frame plain, its outer checksum judged by the headers alone?
bool plain_tunnel(const struct worker *w, const uint8_t *frame, uint32_t len);
