// SPDX-License-Identifier: Apache-2.0
// dp.h - the whole datapath of one process: arena, policy, ports, workers.
#pragma once

#include <pthread.h>

#include "clients.h"
#include "cuts.h"
#include "limit.h"
#include "punt.h"
#include "send.h"
#include "touch.h"
#include "worker.h"

struct rule_totals { // of sessions that have ended; living ones carry their own
	uint64_t in_packets, in_bytes, out_packets, out_bytes, sessions;
	uint64_t hits; // of a sum made to be read: decisions
};

enum { NEXT_IDS = 1024, TEPS_EACH = 16 };

struct pcgdp {
	struct pcgdp_params params;
	struct arena arena;
	struct natports natports;
	struct limits limits; // of what workers make
	struct config *cfg;      // published; never NULL (empty before the first commit)
	struct config *building; // between begin and commit

	struct nic nics[2]; // by role; ops NULL: none
	struct worker *workers[PCGDP_WORKERS_MAX];
	pthread_t threads[PCGDP_WORKERS_MAX];
	uint32_t n_workers; // running; 0: none
	bool stop;
	uint64_t opened_ns, opened_tsc; // one instant by both clocks
	struct mailbox *boxes[PCGDP_WORKERS_MAX + 2]; // by worker; NULL: there is only one
	struct worker *inject; // the caller's own worker for frames without a NIC
	struct worker *dry;    // for explain

	pthread_mutex_t control; // tables and policy
	struct swaps *swaps;     // under `control`; empty between calls
	pthread_mutex_t injecting;
	pthread_mutex_t sweeping;
	pthread_t keeper;
	bool keeper_runs;
	uint32_t sweep_round;
	uint32_t tep_epoch; // moves with every change of the TEP table; from 1
	uint64_t sessions_ended, commits;

	uint32_t *counter_vni; // COUNTERS_MAX: VNI of each counter; [0] collects the overflow
	uint32_t n_counters;
	struct path_mtu *paths;  // TEPS_MAX: what the underlay told, by place of the TEP
	bool paths_told;         // since housekeeping looked
	uint32_t paths_known;
	uint64_t paths_next_ns;
	struct rule_totals *nat_totals, *fw_totals; // by rule id, 65,536; firewall rules of higher ones: 0
	uint32_t next_id[NEXT_IDS]; // IPv4 identifications of what we cut, by hash of its addresses
	uint8_t *resets;     // by NAT rule id, 65,536: enum pcgdp_reset, as the rule says, or said while it was there
	uint64_t *overflows; // by NAT rule id, 65,536: sessions that had to share a port
	uint32_t (*timeouts)[PCGDP_TIMERS]; // by NAT rule id, 65,536; housekeeping holds no policy
	struct tracer *tracer;
	struct events *events; // NULL: nobody wants them
	struct clients clients;
	uint64_t dhcp_rate; // of all ports; see limit.h
	struct punts punts;
	struct sending sending;

	pthread_mutex_t touching;
	struct touch_list touches; // whose sessions must be decided again: a commit adds, housekeeping takes
	pthread_mutex_t walking;
	uint64_t judged; // serial number of the policy by which every session has been decided, or marked
	struct {
		pthread_mutex_t lock;
		uint64_t seq; // odd while sessions and policy are looked at, as a worker's
		uint64_t decisions, cut;
	} deciding;
	struct cuts cuts;
};

void quiesce(struct pcgdp *dp);
uint32_t all_workers(const struct pcgdp *dp, const struct worker **w); // PCGDP_WORKERS_MAX + 1; how many count
int policy_steer(struct pcgdp *dp, struct nic *nic, char *error, uint32_t error_len); // a new port, by what is published
uint32_t port_find(const struct arena *a, uint32_t vrf, be32 address);
uint32_t tep_find(const struct arena *a, be32 address);
uint32_t nexthop_find(const struct arena *a, be32 address);
int tables_attach(struct arena *a); // 1 or -errno: the arena is damaged
int ports_put(struct pcgdp *dp, const struct pcgdp_ports *r, uint32_t n, char *error, uint32_t error_len);
int ports_del(struct pcgdp *dp, const struct pcgdp_ports *r, uint32_t n);
int teps_put(struct pcgdp *dp, const struct pcgdp_teps *r, uint32_t n, char *error, uint32_t error_len);
int teps_del(struct pcgdp *dp, const struct pcgdp_teps *r, uint32_t n);
void teps_changed(struct pcgdp *dp, const struct pcgdp_teps *r, uint32_t n); // more than TEPS_EACH: as if all had
int nexthops_put(struct pcgdp *dp, const struct pcgdp_nexthops *r, uint32_t n, char *error, uint32_t error_len);
int nexthops_del(struct pcgdp *dp, const struct pcgdp_nexthops *r, uint32_t n);
void adjacencies_rebuild(struct pcgdp *dp); // after a commit changed what templates are made of
void touch_add(struct pcgdp *dp, const struct pcgdp_touch *t, uint32_t n); // n 0: all
enum walked { WALKED_NOT, WALKED_WHOLE, WALKED_MARKING }; // there was nothing to do; all is decided; some are only marked
enum walked decide_touched(struct pcgdp *dp);
void decide_sessions(struct pcgdp *dp, const uint32_t *sessions, uint32_t n);
void sweep(struct pcgdp *dp, uint64_t now_ns, uint32_t first, uint32_t n);
void *keeper_main(void *dp);
uint64_t clock_ns(void);

INLINE uint32_t seconds_of(const struct pcgdp *dp, uint64_t now_ns)
{
	uint64_t born = dp->arena.head->born_ns;

	return now_ns > born ? (uint32_t)((now_ns - born) / 1000000000ull) : 0;
}
