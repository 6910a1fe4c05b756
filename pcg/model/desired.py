"""Desired state of one gateway: what the controller asks it to be (DESIGN section 3).

Types only; `load.py` reads a document, `validate.py` holds it against the rules. Addresses,
prefixes and MACs are text in the canonical form of `forms.py`, as messages and tables show them.
"""

import enum
from typing import Annotated

import msgspec

from pcg.model.dhcp import DhcpScope
from pcg.model.kinds import (
    Address,
    GeneveOption,
    Id,
    Label,
    Mac,
    Mtu,
    Port16,
    Prefix,
    Span,
    Value,
    Vni,
)
from pcg.model.terms import DhcpRates, ErrorRates, Filtering, Quota, Timers

SCHEMA = 1  # of the document; a higher one is refused by name, never half understood


class Interface(Value):
    name: str  # of the kernel's device, at most 15 bytes
    addresses: tuple[Prefix, ...] = ()  # "10.99.1.10/24"; the first one is the primary address
    mtu: Mtu = 9001
    gateway: Address = ""  # next hop out of this interface; its routes live in a table of their own


class Interfaces(Value):
    uplink: Interface
    downlink: Interface
    management: Interface


class Gateway(Value):
    id: Id
    interfaces: Interfaces
    tep: Address  # our tunnel endpoint: one of the downlink's addresses, without its length
    zone: Label = ""
    udp_checksum: bool = True  # write the outer UDP checksum (RFC 8926 section 4.3)
    mss_clamp: bool = True  # TCP's MSS is made to fit both sides' MTU, for when ICMP is dropped
    quota: Quota = Quota()  # of each workload address, where its NAT rule says nothing
    errors: ErrorRates = ErrorRates()
    dhcp_requests: DhcpRates = DhcpRates()


class FirewallAction(enum.Enum):
    ALLOW = "ALLOW"
    DROP = "DROP"
    REJECT = "REJECT"


class Transit(Value):
    """Where agents with distributed routing send north traffic."""

    vni: Vni
    gateway_mac: Mac


class Vrf(Value):
    id: Id
    transit: Transit | None = None


class Tep(Value):
    address: Address
    owner: Label = ""  # instance or host, for people
    options: tuple[GeneveOption, ...] = ("0x0104/0x80",)  # that it sends; others unknown to us


class Segment(Value):
    id: Id
    vrf: Id
    vni: Vni
    subnet: Prefix
    gateway: Address  # our address in the subnet
    gateway_mac: Mac
    name: Label = ""
    mtu: Mtu = 8943
    dhcp: Id | None = None  # a scope of `dhcp`
    replication: tuple[Address, ...] = ()  # TEPs that get broadcast of this segment
    routed: bool = False  # its prefix is reachable from the underlay without NAT


class Port(Value):
    """A workload's port. The only source of MAC and ARP truth."""

    id: Id
    segment: Id
    mac: Mac
    addresses: tuple[Address, ...]  # empty: what the segment's DHCP scope gives it
    tep: Address
    instance: Label = ""


class Route(Value):
    """Exactly one of next_hop, segment, blackhole."""

    vrf: Id
    prefix: Prefix
    next_hop: Address = ""  # on the uplink
    segment: Id | None = None
    blackhole: bool = False


class PublicAddress(Value):
    """An Elastic IP and the secondary uplink address that the cloud maps it to, per gateway."""

    id: Id
    vrf: Id
    address: Address
    secondary: dict[Id, Address]  # gateway id -> address


class Protocol(enum.Enum):
    ANY = "any"
    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    GRE = "gre"
    ESP = "esp"
    AH = "ah"
    SCTP = "sctp"


class PortRange(Value):
    first: Port16
    last: Port16


class Match(Value):
    """All that is given must hold; an empty list is anything.
    Items of `source` and `destination`: prefixes, addresses, ids of public addresses."""

    source: tuple[Span, ...] = ()
    destination: tuple[Span, ...] = ()
    protocol: Protocol = Protocol.ANY
    source_ports: tuple[PortRange, ...] = ()
    destination_ports: tuple[PortRange, ...] = ()


class NatAction(enum.Enum):
    DNAT = "DNAT"
    SNAT = "SNAT"
    REFLEXIVE = "REFLEXIVE"  # 1:1 both ways, ports and protocol kept
    NO_SNAT = "NO_SNAT"
    NO_DNAT = "NO_DNAT"


class FirewallMatch(enum.Enum):
    """Which address of a translated packet the firewall sees."""

    EXTERNAL_ADDRESS = "MATCH_EXTERNAL_ADDRESS"
    INTERNAL_ADDRESS = "MATCH_INTERNAL_ADDRESS"
    BYPASS = "BYPASS"


class Nat(Value):
    """`translated`: SNAT, REFLEXIVE: public addresses by id. DNAT: overlay addresses.

    `translated_ports`: SNAT: the range ports are drawn from. DNAT: the port, or a range as long
    as the matched one. Absent: 1024 to 65535, and the port kept.
    """

    id: Id
    vrf: Id
    action: NatAction
    priority: Annotated[int, msgspec.Meta(ge=0, le=0x7FFFFFFF)] = 100  # lower first, ties by id
    match: Match = Match()
    translated: tuple[Span, ...] = ()
    translated_ports: PortRange | None = None
    firewall_match: FirewallMatch = FirewallMatch.EXTERNAL_ADDRESS
    enabled: bool = True
    log: bool = False
    quota: Quota = Quota()
    timers: Timers = Timers()
    filtering: Filtering = Filtering.ADDRESS_DEPENDENT  # SNAT
    overflow: bool = False  # SNAT: once its ports have run out, share them between destinations
    reset: bool = False  # a TCP session that a change of policy ends is reset at both ends
    reset_idle: bool = False  # so is one that was silent for too long


class Direction(enum.Enum):
    IN = "IN"  # from the uplink
    OUT = "OUT"  # to the uplink
    IN_OUT = "IN_OUT"


class Service(Value):
    protocol: Protocol
    source_ports: tuple[PortRange, ...] = ()
    destination_ports: tuple[PortRange, ...] = ()


class FirewallRule(Value):
    """Items of `source` and `destination` may be groups, too.

    Not `stateful`, ALLOW: what is not translated makes no session; replies need a rule too.
    """

    id: Id
    action: FirewallAction
    source: tuple[Span, ...] = ()
    destination: tuple[Span, ...] = ()
    services: tuple[Service, ...] = ()
    direction: Direction = Direction.IN_OUT
    stateful: bool = True
    enabled: bool = True
    log: bool = False


class FirewallSection(Value):
    id: Id
    vrf: Id
    rules: tuple[FirewallRule, ...] = ()


class Group(Value):
    """Addresses that firewall rules name as one: prefixes, addresses, ids of public addresses.

    One without members is nobody, and a rule about it matches nothing.
    """

    id: Id  # none that a public address has
    vrf: Id
    members: tuple[Span, ...] = ()


class Firewall(Value):
    """Sections in order, rules in order, first match decides, then the default of the direction."""

    sections: tuple[FirewallSection, ...] = ()
    default_in: FirewallAction = FirewallAction.ALLOW
    default_out: FirewallAction = FirewallAction.ALLOW
    default_in_log: bool = False
    default_out_log: bool = False


class HaRole(enum.Enum):
    ACTIVE = "ACTIVE"
    STANDBY = "STANDBY"


class Ha(Value):
    peer: Id
    peer_tep: Address
    prefer: HaRole = HaRole.ACTIVE
    hello_ms: Annotated[int, msgspec.Meta(ge=50, le=60000)] = 300
    dead_multiplier: Annotated[int, msgspec.Meta(ge=2, le=20)] = 3


class Desired(Value, kw_only=True):
    schema: int = SCHEMA
    gateway: Gateway
    vrfs: tuple[Vrf, ...] = ()
    teps: tuple[Tep, ...] = ()
    segments: tuple[Segment, ...] = ()
    ports: tuple[Port, ...] = ()
    routes: tuple[Route, ...] = ()
    public_addresses: tuple[PublicAddress, ...] = ()
    nat: tuple[Nat, ...] = ()
    groups: tuple[Group, ...] = ()
    firewall: Firewall = Firewall()
    dhcp: tuple[DhcpScope, ...] = ()
    ha: Ha | None = None


def route_key(route: Route) -> str:
    return f"{route.vrf}/{route.prefix}"


# How one object of each list is named: in errors (`segments[web].subnet`), in deltas, in reports.
KEYS = {
    "vrfs": lambda o: o.id,
    "teps": lambda o: o.address,
    "segments": lambda o: o.id,
    "ports": lambda o: o.id,
    "routes": route_key,
    "public_addresses": lambda o: o.id,
    "nat": lambda o: o.id,
    "groups": lambda o: o.id,
    "dhcp": lambda o: o.id,
}
