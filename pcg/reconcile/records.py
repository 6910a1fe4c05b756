"""What a backend holds, as plain records: the common tongue of compile, plan and drivers.

The datapath's records have the fields of the structs of the same meaning in
`datapath_c/include/pcgdp.h`, in that order, without padding (a test compares them). Addresses are
4 bytes and MACs 6 bytes as on the wire, so that packing is a copy; the rest are ints and names.
"""

from typing import NamedTuple

ANY_PORTS = (0, 65535)


class Match(NamedTuple):
    src_be: bytes = bytes(4)
    dst_be: bytes = bytes(4)
    src_len: int = 0
    dst_len: int = 0
    protocol: int = 0
    sport_first: int = 0
    sport_last: int = 65535
    dport_first: int = 0
    dport_last: int = 65535


class Teps(NamedTuple):
    address_be: bytes
    mac: bytes
    resolved: int
    option: int
    mtu: int
    silent: int = 0


class Ports(NamedTuple):
    vrf: int
    address_be: bytes
    vni: int
    tep_be: bytes
    mac: bytes


class Nexthops(NamedTuple):
    address_be: bytes
    mac: bytes
    resolved: int
    silent: int = 0


class Clients(NamedTuple):
    vni: int
    mac: bytes
    tep_be: bytes


class Local(NamedTuple):
    tep_be: bytes
    udp_checksum: int
    uplink_mtu: int
    downlink_mtu: int
    port_first: int
    port_last: int
    label: int
    sessions_each: int = 0
    ports_each: int = 0
    mss_clamp: int = 1
    made_all: int = 1000
    made_each: int = 100
    dhcp_all: int = 10_000
    dhcp_each: int = 10


class Vrfs(NamedTuple):
    index: int
    default_in: int
    default_out: int
    name: str
    log_in: int = 0
    log_out: int = 0


class Segments(NamedTuple):
    vni: int
    vrf: int
    kind: int
    subnet_be: bytes
    gateway_be: bytes
    mtu: int
    prefix_len: int
    flags: int
    gateway_mac: bytes
    name: str


class Publics(NamedTuple):
    index: int
    vrf: int
    address_be: bytes
    secondary_be: bytes
    name: str


class Routes(NamedTuple):
    vrf: int
    prefix_be: bytes
    prefix_len: int
    kind: int
    next_hop_be: bytes
    vni: int


class Nat(NamedTuple):
    id: int
    vrf: int
    action: int
    fw_match: int
    log: int
    n_pool: int
    port_first: int
    port_last: int
    target_be: bytes
    n_targets: int
    match: Match
    pool: tuple[int, ...]  # 16, unused ones 0
    name: str
    sessions_each: int = 0
    ports_each: int = 0
    timeouts: tuple[int, ...] = (0,) * 6  # seconds; 0: as the RFCs have it
    filtering: int = 0
    overflow: int = 0
    reset: int = 0  # bits of enum pcgdp_reset


class Groups(NamedTuple):
    id: int
    vrf: int
    name: str


class Members(NamedTuple):
    vrf: int
    group: int
    prefix_be: bytes
    prefix_len: int


class Firewall(NamedTuple):
    id: int
    vrf: int
    action: int
    direction: int
    log: int
    match: Match
    name: str
    src_group: int = 0
    dst_group: int = 0
    stateless: int = 0


class Touch(NamedTuple):
    vrf: int
    src_be: bytes
    dst_be: bytes
    src_len: int
    dst_len: int


SINGLE = {"teps": Teps, "ports": Ports, "nexthops": Nexthops, "clients": Clients}
POLICY = {
    "local": Local,
    "vrfs": Vrfs,
    "segments": Segments,
    "publics": Publics,
    "routes": Routes,
    "nat": Nat,
    "firewall": Firewall,
    "groups": Groups,
    "members": Members,
}
