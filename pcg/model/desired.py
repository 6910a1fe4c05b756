"""Desired state of one gateway: what the controller asks it to be (DESIGN section 3).

Types only. They are frozen, name every field as the operator writes it in YAML, and refuse
unknown fields; `load.py` reads a document, `validate.py` holds it against the rules that span
objects. Addresses, prefixes and MACs are kept as text, in the canonical form that `load` gives
them, since that is what every message, table and error shows.
"""

import enum
from typing import Annotated

import msgspec

SCHEMA = 1  # of the document; a higher one is refused by name, never half understood

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,46}$")]  # a letter first: never an address
Vni = Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFF)]  # RFC 8926 section 3.4: 24 bits; 0 is BFD's
Mtu = Annotated[int, msgspec.Meta(ge=576, le=9216)]
Port16 = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Base of every part of the document: immutable, compared and hashed by value."""


class Interface(Value):
    name: str  # of the kernel's device, at most 15 bytes
    addresses: tuple[str, ...] = ()  # "10.99.1.10/24"; the first one is the primary address
    mtu: Mtu = 9001
    gateway: str = ""  # next hop out of this interface; its routes live in a table of their own


class Interfaces(Value):
    uplink: Interface
    downlink: Interface
    management: Interface


class Gateway(Value):
    id: Id
    interfaces: Interfaces
    tep: str  # our tunnel endpoint: one of the downlink's addresses, without its length
    zone: str = ""
    udp_checksum: bool = True  # write the outer UDP checksum (RFC 8926 section 4.3)


class FirewallAction(enum.Enum):
    ALLOW = "ALLOW"
    DROP = "DROP"
    REJECT = "REJECT"


class Transit(Value):
    """Where agents with distributed routing send north traffic."""

    vni: Vni
    gateway_mac: str


class Vrf(Value):
    id: Id
    transit: Transit | None = None


class Tep(Value):
    address: str
    owner: str = ""  # instance or host, for people
    options: tuple[str, ...] = ("0x0104/0x80",)  # Geneve options it sends, class/type; others unknown to us


class Segment(Value):
    id: Id
    vrf: Id
    vni: Vni
    subnet: str
    gateway: str  # our address in the subnet
    gateway_mac: str
    name: str = ""
    mtu: Mtu = 8943
    dhcp: Id | None = None  # a scope of `dhcp`
    replication: tuple[str, ...] = ()  # TEPs that get broadcast of this segment
    routed: bool = False  # its prefix is reachable from the underlay without NAT


class Port(Value):
    """A workload's port. The only source of MAC and ARP truth."""

    id: Id
    segment: Id
    mac: str
    addresses: tuple[str, ...]
    tep: str
    instance: str = ""


class Route(Value):
    """Exactly one of next_hop, segment, blackhole."""

    vrf: Id
    prefix: str
    next_hop: str = ""  # on the uplink
    segment: Id | None = None
    blackhole: bool = False


class PublicAddress(Value):
    """An Elastic IP and the secondary uplink address that the cloud maps it to, per gateway."""

    id: Id
    vrf: Id
    address: str
    secondary: dict[str, str]  # gateway id -> address


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

    An item of `source` and `destination` is a prefix, an address, or the id of a public address.
    """

    source: tuple[str, ...] = ()
    destination: tuple[str, ...] = ()
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
    priority: int = 100  # lower first, ties by id
    match: Match = Match()
    translated: tuple[str, ...] = ()
    translated_ports: PortRange | None = None
    firewall_match: FirewallMatch = FirewallMatch.EXTERNAL_ADDRESS
    enabled: bool = True
    log: bool = False


class Direction(enum.Enum):
    IN = "IN"  # from the uplink
    OUT = "OUT"  # to the uplink
    IN_OUT = "IN_OUT"


class Service(Value):
    protocol: Protocol
    source_ports: tuple[PortRange, ...] = ()
    destination_ports: tuple[PortRange, ...] = ()


class FirewallRule(Value):
    id: Id
    action: FirewallAction
    source: tuple[str, ...] = ()
    destination: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    direction: Direction = Direction.IN_OUT
    stateful: bool = True
    enabled: bool = True
    log: bool = False


class FirewallSection(Value):
    id: Id
    vrf: Id
    rules: tuple[FirewallRule, ...] = ()


class Firewall(Value):
    """Sections in order, rules in order, first match decides, then the default of the direction."""

    sections: tuple[FirewallSection, ...] = ()
    default_in: FirewallAction = FirewallAction.ALLOW
    default_out: FirewallAction = FirewallAction.ALLOW


class AddressRange(Value):
    first: str
    last: str


class StaticBinding(Value):
    mac: str
    address: str
    hostname: str = ""


class DhcpRoute(Value):
    """Option 121, RFC 3442."""

    prefix: str
    next_hop: str


class DhcpOption(Value):
    code: Annotated[int, msgspec.Meta(ge=1, le=254)]
    value: str  # hexadecimal bytes


class DhcpScope(Value):
    id: Id
    vrf: Id
    pools: tuple[AddressRange, ...] = ()
    lease_s: Annotated[int, msgspec.Meta(ge=60)] = 86400
    gateway: str = ""
    dns: tuple[str, ...] = ()
    domain: str = ""
    routes: tuple[DhcpRoute, ...] = ()
    mtu: Mtu | None = None
    options: tuple[DhcpOption, ...] = ()
    bindings: tuple[StaticBinding, ...] = ()


class HaRole(enum.Enum):
    ACTIVE = "ACTIVE"
    STANDBY = "STANDBY"


class Ha(Value):
    peer: Id
    peer_tep: str
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
    "dhcp": lambda o: o.id,
}
