// SPDX-License-Identifier: Apache-2.0
// pcgdp.h - the whole border between the C packet path and Python (DESIGN section 6.4).
//
// cffi parses this file as it stands: plain declarations, flat structs, no macros with arguments.
// Every function returns 0 (or a count where it says so) or -errno. Addresses end in _be and are
// in network byte order; everything else is host order. Arrays are pointer + count; reads copy
// into the caller's array. No callback, and no pointer outlives its call.
//
// Records (struct pcgdp_<table>) are what the tables hold. Every byte of a record counts when two
// are compared: clear it before filling it. Two kinds of tables:
//   single   TEPS, PORTS, NEXTHOPS, CLIENTS: put and del take effect one by one, at once
//   policy   all others: begin, put, commit publishes the set whole
//
// Threads: put, del, begin..commit, nic_add, start, stop: one caller at a time (the control
// thread). Reads, inject and trace may be called from another thread beside it, and so may punts and
// send, by one caller at a time.

enum {
	PCGDP_ABI = 1,         // of this header
	PCGDP_NAME_LEN = 48,   // with the final zero
	PCGDP_FRAME_MAX = 9216, // longest frame carried, Ethernet header included
	PCGDP_POOL_MAX = 16,   // public addresses one NAT rule draws from
	PCGDP_NICS_MAX = 4,
	PCGDP_COLD_LEN = 16,   // bytes of a session beside its two lines, which packets rarely need
	PCGDP_WORKERS_MAX = 16,
	PCGDP_EXAMPLE_LEN = 192, // bytes kept of a dropped frame: its headers, and a little of what they carry
};

enum pcgdp_role { PCGDP_DOWNLINK = 0, PCGDP_UPLINK = 1 };
enum pcgdp_driver {
	PCGDP_DRIVER_MEM = 0, PCGDP_DRIVER_AF_PACKET = 1, PCGDP_DRIVER_AF_XDP = 2,
	PCGDP_DRIVER_AUTO = 3, // the best that works; nic_info says which it is
};

enum pcgdp_table {
	PCGDP_T_TEPS, PCGDP_T_PORTS, PCGDP_T_NEXTHOPS, PCGDP_T_CLIENTS, // single
	PCGDP_T_LOCAL, PCGDP_T_VRFS, PCGDP_T_SEGMENTS, PCGDP_T_PUBLICS, // policy
	PCGDP_T_ROUTES, PCGDP_T_NAT, PCGDP_T_FIREWALL,
	PCGDP_T_GROUPS, PCGDP_T_MEMBERS,
	PCGDP_N_TABLES,
};

struct pcgdp_params {
	uint32_t sessions;      // table size; 1,024 to 16,777,216
	uint32_t mappings;      // 0: as many as sessions
	uint32_t ports;         // workload addresses, and as many DHCP clients; 0: 131,072
	uint32_t workers;       // 1 to PCGDP_WORKERS_MAX
	char arena[256];        // file on a tmpfs or hugetlbfs that outlives the process; "": anonymous
	uint32_t fresh;         // 1: start empty even if the arena holds sessions
	uint32_t reserved;
};

// ---- single tables ----

struct pcgdp_teps {         // key: address_be
	uint32_t address_be;
	uint8_t mac[6];         // of the next hop towards it, from the kernel
	uint8_t resolved;       // 1: mac is valid
	uint8_t option;         // 1: packets towards it carry our option 0x0104/0x80
	uint16_t mtu;           // of the underlay towards it: its interface's or a learned path MTU
	uint8_t silent;         // 1: nobody answers for its next hop; not resolved nor silent: being asked for
	uint8_t reserved;
};

struct pcgdp_ports {        // key: vrf, address_be; one record per address of a workload's port
	uint32_t vrf;
	uint32_t address_be;
	uint32_t vni;
	uint32_t tep_be;
	uint8_t mac[6];
	uint8_t reserved[2];
};

struct pcgdp_nexthops {     // key: address_be; on the uplink
	uint32_t address_be;
	uint8_t mac[6];
	uint8_t resolved, silent; // as of a TEP
};

struct pcgdp_clients {      // key: vni, mac; ports of segments with DHCP, whether they have an address or not
	uint32_t vni;
	uint8_t mac[6];
	uint8_t reserved[2];
	uint32_t tep_be;
};

// ---- policy tables ----

struct pcgdp_local {        // one record
	uint32_t tep_be;
	uint32_t udp_checksum;  // 1: write the outer UDP checksum
	uint32_t uplink_mtu;    // IP MTU of the uplink
	uint32_t downlink_mtu;  // IP MTU of the underlay
	uint32_t port_first;    // ports SNAT draws from when a rule does not say: 1024
	uint32_t port_last;     // 65535
	uint32_t label;         // 24-bit source label in the option of packets we send
	uint32_t sessions_each; // that one overlay address may have at a time, unless its rule says; 0: any number
	uint32_t ports_each;    // and outside ports, of all protocols together
	uint32_t mss_clamp;     // 1: a SYN's MSS is made to fit both sides
	uint32_t made_all;      // ICMP errors and RST that we make in a second, for each side; 0: none
	uint32_t made_each;     // of them, about packets of one source
	uint32_t dhcp_all;      // DHCP packets that go on to the relay in a second; 0: none
	uint32_t dhcp_each;     // of them, from one port
};

struct pcgdp_vrfs {         // key: index
	uint32_t index;         // below 1,048,576; domains 2 * index (overlay) and 2 * index + 1 (uplink)
	uint8_t default_in, default_out; // enum pcgdp_fw_action
	char name[48];
	uint8_t log_in, log_out; // of what the defaults decide; as a rule's log
};

enum pcgdp_vni_kind { PCGDP_SEGMENT = 0, PCGDP_TRANSIT = 1 };
enum pcgdp_segment_flags { PCGDP_ROUTED = 1, PCGDP_DHCP = 2 };

struct pcgdp_segments {     // key: vni
	uint32_t vni;
	uint32_t vrf;
	uint32_t kind;          // enum pcgdp_vni_kind; a transit has neither subnet nor gateway
	uint32_t subnet_be;
	uint32_t gateway_be;
	uint32_t mtu;           // inner IP MTU
	uint8_t prefix_len;
	uint8_t flags;
	uint8_t gateway_mac[6];
	char name[48];
};

struct pcgdp_publics {      // key: index
	uint32_t index;         // below 65,536
	uint32_t vrf;
	uint32_t address_be;    // the Elastic IP, which workloads may dial
	uint32_t secondary_be;  // what is on our uplink
	char name[48];
};

enum pcgdp_route_kind { PCGDP_VIA_UPLINK = 0, PCGDP_VIA_SEGMENT = 1, PCGDP_VIA_BLACKHOLE = 2 };

struct pcgdp_routes {       // key: vrf, prefix_be, prefix_len; connected subnets are given too
	uint32_t vrf;
	uint32_t prefix_be;
	uint32_t prefix_len;
	uint32_t kind;
	uint32_t next_hop_be;   // VIA_UPLINK
	uint32_t vni;           // VIA_SEGMENT
};

struct pcgdp_match {        // all must hold; host order ports; 0..65535 is any
	uint32_t src_be, dst_be;
	uint8_t src_len, dst_len; // 0 is any
	uint8_t protocol;       // IP protocol number; 0 is any
	uint8_t reserved;
	uint16_t sport_first, sport_last, dport_first, dport_last;
};

enum pcgdp_nat_action { PCGDP_DNAT = 0, PCGDP_SNAT = 1, PCGDP_REFLEXIVE = 2, PCGDP_NO_SNAT = 3, PCGDP_NO_DNAT = 4 };
// RFC 4787 section 5: who may answer to an outside endpoint, once it is open.
enum pcgdp_filtering { PCGDP_ADDRESS_DEPENDENT = 0, PCGDP_ENDPOINT_INDEPENDENT = 1 };
enum pcgdp_timer {
	PCGDP_TIMER_TCP_OPENING, PCGDP_TIMER_TCP_ESTABLISHED, PCGDP_TIMER_TCP_CLOSING, PCGDP_TIMER_UDP, PCGDP_TIMER_ICMP,
	PCGDP_TIMER_OTHER, PCGDP_TIMERS,
};
// Why a TCP session ends: another policy; its silence.
enum pcgdp_reset { PCGDP_RESET_CHANGE = 1, PCGDP_RESET_IDLE = 2 };
enum pcgdp_fw_match { PCGDP_FW_EXTERNAL = 0, PCGDP_FW_INTERNAL = 1, PCGDP_FW_BYPASS = 2 };

// In order of put: the first that matches decides. Several records may share an id: one rule
// whose lists were multiplied out; counters are by id.
// DNAT, NO_DNAT match on the *secondary* address as destination; REFLEXIVE matches the overlay
// source outwards, and its secondary address inwards.
struct pcgdp_nat {          // key: id and place
	uint32_t id;            // below 65,536, stable over commits
	uint32_t vrf;
	uint8_t action;
	uint8_t fw_match;
	uint8_t log;
	uint8_t n_pool;         // SNAT, REFLEXIVE: public addresses used
	uint16_t port_first, port_last; // SNAT: drawn from (0, 0: default); DNAT: becomes (0, 0: kept)
	uint32_t target_be;     // DNAT: first overlay address
	uint32_t n_targets;     // DNAT: how many from there, chosen by source address; at least 1
	struct pcgdp_match match;
	uint16_t pool[16];      // indices of publics
	char name[48];
	uint32_t sessions_each; // held against all sessions of the address when this rule is to make one; 0: as local says
	uint32_t ports_each;    // SNAT: likewise
	uint32_t timeouts[6];   // seconds, by enum pcgdp_timer; 0: as the RFCs have it
	uint8_t filtering;      // SNAT: enum pcgdp_filtering
	uint8_t overflow;       // SNAT, 1: once its ports have run out, one port serves several destinations
	uint8_t reset;          // bits of enum pcgdp_reset: when a TCP session that ends is reset at both ends
	uint8_t reserved;
};

struct pcgdp_groups {       // key: id; groups of addresses that have a name
	uint32_t id;            // 1 to 2^31 - 1; higher ones are lists of single rules, which have none
	uint32_t vrf;
	char name[48];
};

struct pcgdp_members {      // key: group, prefix_be, prefix_len
	uint32_t vrf;           // of the group
	uint32_t group;
	uint32_t prefix_be;
	uint32_t prefix_len;
};

enum pcgdp_fw_action { PCGDP_ALLOW = 0, PCGDP_DROP = 1, PCGDP_REJECT = 2 };
enum pcgdp_direction { PCGDP_IN = 1, PCGDP_OUT = 2 };

struct pcgdp_firewall {     // key: id and place; order of put, first match decides
	uint32_t id;
	uint32_t vrf;
	uint8_t action;
	uint8_t direction;      // bits of enum pcgdp_direction
	uint8_t log;
	uint8_t reserved;
	struct pcgdp_match match;
	char name[48];
	uint32_t src_group, dst_group; // not 0: in place of the match's prefix; one without members fits nothing
	uint32_t stateless;     // 1, ALLOW: what is not translated gets no session; each packet is asked about
};

// What a commit may have changed for sessions that exist. A session is decided again when one of
// these matches its forward tuple, before or after translation.
struct pcgdp_touch {
	uint32_t vrf;
	uint32_t src_be, dst_be;
	uint8_t src_len, dst_len;
	uint8_t reserved[2];
};

// ---- what is read ----

struct pcgdp_nic_info {
	char name[16];
	char note[160];         // how the driver works here, and why it was taken
	uint32_t role, driver;
	uint32_t ifindex, mtu;
	uint8_t mac[6];
	uint8_t up, reserved;
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t rx_missed;     // lost in the ring before we saw them, as the kernel counts
};

struct pcgdp_totals {       // rx + made = tx + punt + sum(drops) + held + joined, at rest
	uint64_t rx, made, tx, punt, drops, held;
	uint64_t joined;        // fragments that became part of another one: of each whole all but one
	uint64_t sessions, mappings, ports, teps;
	uint64_t sessions_made, sessions_ended, decisions, commits;
	uint64_t peers;         // of mappings, each beyond its first: a record among them
	uint64_t sessions_max, mappings_max, ports_max;
	uint64_t revision;      // of the last commit, as its caller named it
	uint64_t changes;       // records written since start: a loop with nothing to do leaves it alone
	uint64_t unmade;        // ICMP errors and RST not made, of these three:
	uint64_t unmade_source, unmade_all, unmade_no_way; // over the rate of one source; of all of a side; no way to the sender
	uint64_t sessions_cut;  // sessions that rules or routes no longer yield
	uint64_t resets_waiting; // now: sessions that are over, whose ends are still to be asked for the numbers of their RST
	uint64_t resets_late;   // sessions to be reset that had to wait, since more ended than can be asked at a time
	uint64_t resets_unheard; // sessions that ended without a RST: both ends were asked, none answered
};

struct pcgdp_counter {      // of one object: by segment, NAT rule, firewall rule, VRF or public address
	uint32_t id;            // segment: VNI; rule: its id; public address: its index; VRF: its domain
	uint32_t reserved;
	uint64_t in_packets, in_bytes, out_packets, out_bytes, sessions;
	uint64_t hits;          // firewall rule: decisions it made, of those below 65,536; domain: those of its VRF's default
	uint64_t ports_used;    // public address: ports drawn, of the protocol that has most; SNAT rule: of its `ports`, by any rule
	uint64_t ports;         // SNAT rule: ports it may draw, of all its addresses
	uint64_t overflow;      // NAT rule: sessions, ended ones too, that had to share a port
};

// Packets that ended by one reason, came by one port, and had one segment and one rule in common,
// as one worker saw them; with an example, renewed at most every 100 ms.
struct pcgdp_drop {
	uint32_t reason;        // index in reasons.def
	uint32_t role;          // enum pcgdp_role: where they came by; TX_FAILED: where they were to leave
	uint32_t vni;           // of their segment; 0: none; 0xffffffff: of several, there are too many kinds
	uint32_t fw_id, nat_id; // the rule that decided; 0: none (FIREWALL_DENIED: the VRF's default)
	uint32_t vrf;           // from here on of the example; 0xffffffff: not known
	uint32_t outer_src_be, src_be, dst_be;
	uint16_t sport, dport;
	uint8_t protocol, reserved;
	uint16_t l3;            // offset in the frame of the IP header that would have gone on; 0: not known
	uint32_t length;        // of the frame
	uint32_t captured;      // of its bytes in `frame`
	uint32_t reserved_too;
	uint64_t at_ns;         // of the example; monotonic, as all times here
	uint64_t packets, first_ns, last_ns; // of all
	uint64_t unlisted;      // of them, of flows that found no place among the recent: too many new ones at once
	uint8_t frame[192];     // PCGDP_EXAMPLE_LEN; as it was when it ended
};

// A flow of which packets ended lately, by one reason and rule, as one worker saw them. Two records that
// differ in sport, length and what is counted alone are of one flow. To be read as a table.
enum { PCGDP_RECENT = 102, PCGDP_RECENT_MAX = 4096 }; // kept by each worker, 64 bytes and a tag of 8 each

struct pcgdp_recent {
	uint32_t worker;
	uint32_t reason, role, fw_id, nat_id; // as of struct pcgdp_drop
	uint32_t vni;           // that it came with; 0: none
	uint32_t vrf;           // 0xffffffff: not known
	uint32_t outer_src_be, src_be, dst_be; // as it came, as far as it could be read
	uint16_t sport, dport;  // sport: of the latest
	uint8_t protocol, reserved[3]; // protocol 0: of ARP, or nothing was read
	uint32_t length;        // of the latest frame
	uint64_t packets, first_ns, last_ns;
};

// Where one worker's time goes, since it was made. A round is what one look at a port brought. Of
// one round in so many each part was timed: stages.def's stages, then rx, plain (packets of known
// sessions, which pass the stages by) and tx. No cycle is of two parts.
enum { PCGDP_STAGES = 7, PCGDP_PARTS = 10, PCGDP_SIZES = 8, PCGDP_TIMED_EVERY = 63 };

struct pcgdp_performance {
	uint64_t packets, plain; // received; of them forwarded past the stages
	uint64_t sizes[8];      // rounds by frames: 1, 2 to 3, 4 to 7 ... 128 and more
	uint64_t busy_ns, idle_ns; // rounds with frames; without, asleep included
	uint64_t slept, napped; // times it waited for a frame; times it let some gather, 50 us
	uint64_t part_packets[10], part_cycles[10];
	uint64_t tsc_hz;        // of the cycles
};

// What a workload's address holds of what all share, and was refused. To be read as a table.
enum { PCGDP_USAGE = 100 };

struct pcgdp_usage {
	uint32_t vrf;
	uint32_t address_be;
	uint32_t sessions, ports; // now
	uint32_t refused;       // sessions, since it is known
	uint32_t nat_id;        // the latest of them: its rule, 0: none
	uint32_t public_index;  // public address asked first; 0xffffffff: none
	uint32_t reason;        // index in reasons.def
};

// Path MTUs that the underlay told of (RFC 1191), of TEPs whose packets it could not pass. To be read
// as a table.
enum { PCGDP_PATH_MTU = 101 };

struct pcgdp_path_mtu {
	uint32_t address_be;    // of the TEP
	uint32_t mtu;           // of the underlay towards it
	uint32_t age_s;         // since it was last told
};

enum pcgdp_tcp_state { PCGDP_TCP_NONE = 0, PCGDP_TCP_OPENING = 1, PCGDP_TCP_ESTABLISHED = 2, PCGDP_TCP_CLOSING = 3 };

struct pcgdp_session {
	uint32_t index;
	uint32_t vrf;
	uint8_t protocol, state, marked; // state: enum pcgdp_tcp_state
	uint8_t kind;           // enum pcgdp_nat_action, or 255: not translated
	uint32_t fwd_src_be, fwd_dst_be, rev_src_be, rev_dst_be;
	uint16_t fwd_sport, fwd_dport, rev_sport, rev_dport;
	uint32_t nat_id, fw_id; // 0: none
	uint32_t public_index;  // 0xffffffff: none
	uint32_t age_s, idle_s, timeout_s;
	uint8_t fwd_from_uplink, reserved[3];
	uint64_t fwd_packets, fwd_bytes, rev_packets, rev_bytes;
};

// The last two are of single packets, for rules that say log: one that the firewall denied, one that
// passed by a stateless rule. Of these each worker notes 1,000 a second; the others count as lost.
enum pcgdp_event_kind { PCGDP_SESSION_BEGAN = 1, PCGDP_SESSION_ENDED = 2, PCGDP_SESSION_DENIED = 3, PCGDP_SESSION_PASSED = 4 };
// Why one ended: silent for too long; TCP said that it is over, then silent; its workload's port is
// gone; rules or routes say something else of it now.
enum pcgdp_end { PCGDP_END_NONE = 0, PCGDP_END_IDLE = 1, PCGDP_END_CLOSED = 2, PCGDP_END_PORT_GONE = 3, PCGDP_END_DECIDED_AGAIN = 4 };

// Who says so: a rule of it; the firewall's default, which decided.
enum pcgdp_log { PCGDP_LOG_RULE = 1, PCGDP_LOG_DEFAULT = 2 };

struct pcgdp_event {        // of a session, seen from its workload: inside, what stands for it outside, the peer
	uint64_t at_ns;         // monotonic; an end is noted when housekeeping comes by
	uint64_t out_packets, out_bytes, in_packets, in_bytes; // of an end; out: from the workload
	uint32_t session;       // its number, which another one may have after its end
	uint32_t vrf;
	uint32_t inside_be, outside_be, peer_be;
	uint32_t nat_id, fw_id; // 0: none
	uint32_t lasted_s, idle_s; // of an end: from its first packet to its last; silent since
	uint16_t inside_port, outside_port, peer_port;
	uint8_t kind, protocol; // kind: enum pcgdp_event_kind
	uint8_t from_uplink;    // 1: the peer opened it
	uint8_t continued;      // 1: it takes over from one that goes another way, or by another rule, now
	uint8_t log, end;       // log: bits of enum pcgdp_log; end: enum pcgdp_end
};

struct pcgdp_trace_filter { // zero fields are any; addresses match inner source or destination
	uint32_t address_be, peer_be;
	uint32_t vni;
	uint16_t port;
	uint8_t protocol, only_drops;
};

enum pcgdp_verdict { PCGDP_NEXT = 0, PCGDP_DROPPED = 1, PCGDP_PUNTED = 2, PCGDP_SENT = 3, PCGDP_HELD = 4, PCGDP_LOOPED = 5 };

struct pcgdp_trace_event {  // one stage that one packet met
	uint64_t packet;        // number of the packet since the trace began
	uint64_t at_ns;
	uint8_t stage;          // index in stages.def
	uint8_t verdict, reason, protocol;
	uint32_t outer_src_be, vni;
	uint32_t src_be, dst_be;
	uint16_t sport, dport, ttl, length;
	uint32_t session;       // 0xffffffff: none
	uint32_t nat_id, fw_id; // 0: none
	uint32_t next_be;       // TEP or next hop it leaves to; 0: none yet
	uint32_t new_be;        // address that its session puts in; 0: not translated, or no session yet
	uint16_t new_port;
	uint16_t mtu;           // of where it leaves to, for the IP packet inside; 0: not known yet
	uint8_t nic_in, nic_out, new_session, reserved;
	char note[64];          // what the stage found, in words
};

struct pcgdp_bpf {          // one instruction of a filter, as libpcap compiles it
	uint16_t code;
	uint8_t jt, jf;
	uint32_t k;
};

enum pcgdp_capture_direction { PCGDP_CAPTURE_RX = 1, PCGDP_CAPTURE_TX = 2 };
enum pcgdp_capture_flags {
	PCGDP_CAPTURE_MADE = 1,   // by the gateway; it never came in
	PCGDP_CAPTURE_ANSWER = 2, // turned round: the gateway's own answer
	PCGDP_CAPTURE_NEW = 4,    // its session was made by this packet
};

struct pcgdp_capture_wanted { // which frames
	uint32_t ring_bytes;    // of each worker; a power of two, 65,536 to 1 GiB
	uint32_t snaplen;       // bytes kept of a frame; 0: all
	uint8_t roles;          // bits 1 << enum pcgdp_role
	uint8_t directions;     // bits of enum pcgdp_capture_direction
	uint8_t inner;          // 1: the filter reads the frame inside the tunnel, where there is one
	uint8_t both;           // 1: what fits brings its other side along, before or after the path
	uint8_t only_drops;
	uint8_t reserved[3];
};

struct pcgdp_captured {     // then `captured` bytes and zeros up to a multiple of 8
	uint64_t at_ns;         // CLOCK_MONOTONIC, of its burst
	uint64_t packet;        // the frames of one packet share it, across roles
	uint32_t length, captured;
	uint32_t inner;         // where the frame inside the tunnel begins; 0: no tunnel
	uint32_t session;       // 0xffffffff: none
	uint32_t nat_id, fw_id; // 0: none
	uint32_t lost;          // frames for which there was no room since the one before
	uint8_t role, direction, verdict, reason;
	uint8_t flags, worker, stage, protocol; // stage: the last it met
};

struct pcgdp_capture_state { // frames, by role
	uint64_t seen[2];       // held against the filter
	uint64_t taken[2];      // put into a ring
	uint64_t lost[2];       // fitted, and no ring had room: the reader was too slow
};

enum pcgdp_said { PCGDP_NAME = 0, PCGDP_TEXT = 1, PCGDP_ADVICE = 2 }; // advice: of a reason

// A frame on its way to the relay, or to a workload; behind it `length` bytes from the inner Ethernet
// header on, and zeros up to a multiple of 8.
struct pcgdp_parcel {
	uint64_t at_ns;         // CLOCK_MONOTONIC, of its burst; to a workload: 0
	uint32_t vni;           // of its segment
	uint32_t tep_be;        // where it came from; to a workload: 0
	uint8_t mac[6];         // of its port
	uint16_t length;
};

// ---- life ----

struct pcgdp;

int pcgdp_abi(void);
int pcgdp_open(const struct pcgdp_params *params, struct pcgdp **out, char *error, uint32_t error_len);
void pcgdp_close(struct pcgdp *dp); // stops workers; the arena stays
int pcgdp_nic_add(struct pcgdp *dp, const char *name, uint32_t role, uint32_t driver, char *error, uint32_t error_len);
int pcgdp_start(struct pcgdp *dp);
int pcgdp_stop(struct pcgdp *dp);

// ---- tables ----

int pcgdp_put(struct pcgdp *dp, uint32_t table, const void *records, uint32_t n, char *error, uint32_t error_len); // single tables; whole or not at all
int pcgdp_del(struct pcgdp *dp, uint32_t table, const void *records, uint32_t n); // by key fields; absent is no error
int pcgdp_policy_begin(struct pcgdp *dp);
int pcgdp_policy_put(struct pcgdp *dp, uint32_t table, const void *records, uint32_t n, char *error, uint32_t error_len);
int pcgdp_policy_commit(struct pcgdp *dp, uint64_t revision, const struct pcgdp_touch *touches, uint32_t n, char *error, uint32_t error_len); // n 0: all
int pcgdp_policy_abort(struct pcgdp *dp);
int pcgdp_read(struct pcgdp *dp, uint32_t table, uint32_t from, void *records, uint32_t n); // returns the count copied

// ---- counters and sessions ----

int pcgdp_totals(struct pcgdp *dp, struct pcgdp_totals *out);
int pcgdp_drops(struct pcgdp *dp, uint64_t *by_reason, uint32_t n);
int pcgdp_ledger(struct pcgdp *dp, struct pcgdp_drop *out, uint32_t n); // the same in detail; returns the count
int pcgdp_stages(struct pcgdp *dp, uint64_t *packets_in, uint32_t n); // packets that entered each stage
int pcgdp_performance(struct pcgdp *dp, struct pcgdp_performance *out, uint32_t n); // by worker; the last is inject's; returns the count
int pcgdp_nics(struct pcgdp *dp, struct pcgdp_nic_info *out, uint32_t n); // returns the count
int pcgdp_counters(struct pcgdp *dp, uint32_t table, struct pcgdp_counter *out, uint32_t n); // SEGMENTS, PUBLICS, NAT, FIREWALL, VRFS; returns the count
int pcgdp_sessions(struct pcgdp *dp, uint32_t *cursor, struct pcgdp_session *out, uint32_t n); // returns the count; cursor starts at 0
// Sessions that began and ended since the last call, each once; returns the count. keep: how many
// each worker holds ready until then, a power of two; another one than before begins anew, 0 is off.
// lost: since that began.
int pcgdp_events(struct pcgdp *dp, uint32_t keep, struct pcgdp_event *out, uint32_t n, uint64_t *lost);
int pcgdp_sweep(struct pcgdp *dp, uint64_t now_ns); // one ageing round; the housekeeping thread calls it itself once started
// enum pcgdp_said of a reason, of a stage; NULL past the last one.
const char *pcgdp_reason(uint32_t reason, uint32_t what);
const char *pcgdp_stage(uint32_t stage, uint32_t what);

// ---- to the gateway's relay, and back: DHCP of workloads ----

// Whole parcels, the oldest first; returns the bytes copied. What the call before copied is done with
// if `gone`, else it comes again. out NULL: nobody reads; what waits, and what comes before the next
// call, is dropped (PUNT_NOBODY).
int pcgdp_punts(struct pcgdp *dp, uint8_t *out, uint32_t out_len, uint32_t gone);
int pcgdp_punt_fd(struct pcgdp *dp); // to poll: readable when a parcel has come since pcgdp_punts was called
// Parcels to workloads' ports, each sent or counted as dropped. Returns the bytes taken: less than len
// while those before have not left, or the next is wrong. -EINVAL: the first is no parcel.
int pcgdp_send(struct pcgdp *dp, const uint8_t *parcels, uint32_t len);

// ---- trace and frames without a NIC ----

int pcgdp_trace_start(struct pcgdp *dp, const struct pcgdp_trace_filter *filter, uint32_t packets);
int pcgdp_trace_read(struct pcgdp *dp, struct pcgdp_trace_event *out, uint32_t n); // returns the count; each event once

// Copies of frames as they came and as they left, with their verdict. wanted NULL: end it and free
// its memory. A new one ends the one before. n 0: every frame.
int pcgdp_capture_start(struct pcgdp *dp, const struct pcgdp_capture_wanted *wanted, const struct pcgdp_bpf *filter, uint32_t n);
// Whole struct pcgdp_captured with their bytes, each once. Returns the bytes copied; -ENOENT: none runs.
int pcgdp_capture_read(struct pcgdp *dp, uint8_t *out, uint32_t out_len, struct pcgdp_capture_state *state);

// Run frames through the path as if `role`'s port had received them. frames: n frames behind each
// other, lengths[i] bytes each. What would be sent is copied to out (out_len bytes) with
// out_lengths and out_roles (n_out each). Returns the number of frames sent.
// now_ns 0: the clock. explain runs one frame, and nothing is counted, made, installed or sent.
int pcgdp_inject(struct pcgdp *dp, uint32_t role, const uint8_t *frames, const uint32_t *lengths, uint32_t n,
	uint64_t now_ns, uint8_t *out, uint32_t out_len, uint32_t *out_lengths, uint32_t *out_roles, uint32_t n_out);
int pcgdp_explain(struct pcgdp *dp, uint32_t role, const uint8_t *frame, uint32_t length,
	uint8_t *out, uint32_t *out_length, struct pcgdp_trace_event *events, uint32_t n_events); // returns the event count

// ---- bench: the path by itself, over mem ports, with no worker running ----

struct pcgdp_flow {         // one direction of a flow, as its frames say it
	uint32_t src_be, dst_be;
	uint32_t tep_be;        // the tunnel's source; 0: plain, by the uplink
	uint16_t sport, dport;
	uint8_t protocol;       // TCP or UDP
	uint8_t reserved[3];
};

enum pcgdp_bench_work { PCGDP_BENCH_PATH = 0, PCGDP_BENCH_TOUCH = 1, PCGDP_BENCH_ENCAP = 2, PCGDP_BENCH_TABLE = 3 };

struct pcgdp_bench {
	uint32_t work;          // PATH; TOUCH: only read and write the header lines; ENCAP: and copy a tunnel header;
	                        // TABLE: TOUCH, and the two lines of any session's direction
	uint32_t frames;        // of one worker in one pass
	uint32_t passes;
	uint32_t workers;       // each on its own frames, all on one table
	uint32_t cpus[16];      // where each worker runs
	uint32_t burst;         // frames offered at a time, at most 128
	uint32_t stride;        // bytes from buffer to buffer; 0: as the path likes it
	uint32_t split;         // flows below it fill even bursts, the others odd ones; 0: all alike
	uint32_t in_order;      // 1: each flow after the other; 0: each frame any flow
	uint32_t vni;           // of what comes by a tunnel
	uint32_t tcp_flags;
	uint32_t keeper;        // 1: housekeeping runs beside, as in production
	uint32_t realtime;      // 1: SCHED_FIFO for the timed part, where permitted
	uint32_t small_pages;   // 1: buffers on 4 KiB pages
	uint32_t time_bursts;   // 1: note each pass's slowest burst
	uint32_t time_parts;    // 1: every round is timed, part by part, for pcgdp_performance
	uint32_t ahead_s;       // the workers' clock is ahead by so much: what they do not meet is old
	uint32_t n_sizes;
	uint16_t sizes[12];     // of the packet, from its IP header on; dealt out over the buffers
	uint8_t gateway_mac[6]; // destination of the inner Ethernet header
	uint8_t reserved[2];
};

struct pcgdp_pass {
	double cycles, ns;      // TSC and time, per packet
	double on_ns;           // of it on the CPU: the rest had another thread, or another guest
	uint64_t worst;         // TSC of the slowest burst, where asked for
	uint64_t worst_on_ns;   // on the CPU, of the burst that had most
};

// passes: workers * passes of them, worker by worker. -EBUSY: workers run. Nobody else starts or
// stops meanwhile; all else may go on.
int pcgdp_bench(struct pcgdp *dp, const struct pcgdp_bench *what, const struct pcgdp_flow *flows, uint32_t n,
	struct pcgdp_pass *passes);
