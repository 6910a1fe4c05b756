// SPDX-License-Identifier: Apache-2.0
// events.h - sessions that began and ended, for whoever keeps a log of them.
//
// A ring for each worker (sessions begin there) and one for housekeeping (they end there), each with
// one writer and one reader. Off, there is no ring: a new session asks for a pointer, nothing else
// does. A reader that is too slow costs events, which are counted.
#pragma once

#include "decide.h"
#include "worker.h"

struct events;

void event_began(struct worker *w, uint32_t session, bool continued); // just published, by this worker
void event_ended(struct pcgdp *dp, uint32_t session, enum pcgdp_end end, uint64_t now_ns); // nobody looks at it any more; under `sweeping`
// No session: the firewall denied this packet, or let it pass by a stateless rule, and a rule says log.
void event_packet(struct worker *w, const union key *k, const struct decision *d);
void events_free(struct events *e);
