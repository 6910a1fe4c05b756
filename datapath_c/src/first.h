// SPDX-License-Identifier: Apache-2.0
// first.h - packets without a session; see first.c.
#pragma once

#include "install.h"

void first_burst(struct worker *w, struct burst *b, struct pkt **list, uint32_t n); // part of session_lookup
enum pcgdp_verdict first_one(struct worker *w, struct pkt *p); // p->entry, or PF_STATELESS, or PF_ANSWER; p->slot
