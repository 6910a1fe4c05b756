// SPDX-License-Identifier: Apache-2.0
// ledger.h - what ended here: by reason, port, segment and rule; how often, since when, an example.
//
// Each worker has a ledger of its own and is the only one who writes it, only when a packet ends
// or a session is decided: the path of what goes on never comes here. A line is a kind of drop;
// its count and times are of every packet, its example is taken anew at most every SAMPLE_NS, so
// that a flood costs a look-up and two stores a packet. Kinds are bounded by what the operator
// configured (never by what strangers send); should they be more than fit, the rest shares one
// line a reason. Which flows they were of is in recent.h.
#pragma once

#include "config.h"
#include "nic.h"
#include "pkt.h"
#include "recent.h"

enum { LEDGER_BITS = 11, LEDGER_SLOTS = 1 << LEDGER_BITS, LEDGER_MAX = LEDGER_SLOTS / 4 * 3, FW_COUNTED = 65536 };

struct ledger_line {
	uint32_t seq; // odd while the example is being written
	struct recent_gate gate;
	struct pcgdp_drop rec;
};

struct ledger {
	uint32_t used;
	uint64_t keys[LEDGER_SLOTS];                     // 0: free
	struct ledger_line line[LEDGER_SLOTS + N_REASONS]; // the last N_REASONS: of what found no place
	uint64_t decided[FW_COUNTED]; // by firewall rule; 0: by none, or by a rule of a higher number
	struct recent recent;
	uint64_t by_default[2 * VRFS_MAX]; // by domain: of the overlay those outwards, of the uplink those inwards
};

struct worker;

struct ledger *ledger_new(void); // NULL: no memory
void ledger_free(struct ledger *l);
void ledger_drop(struct worker *w, const struct pkt *p);
void ledger_drops(struct worker *w, const struct pkt *p, uint32_t n); // n like this one
void ledger_unsent(struct worker *w, uint32_t role, const struct frame *frame);

INLINE void ledger_decided(struct ledger *l, uint32_t domain, uint32_t fw_id, bool by_default)
{
	BUMP(&l->decided[fw_id < FW_COUNTED ? fw_id : 0], 1);
	if (by_default)
		BUMP(&l->by_default[domain], 1);
}
