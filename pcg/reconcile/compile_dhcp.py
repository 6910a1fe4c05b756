"""Desired state -> what the DHCP server of each VRF hands out, in the words of Kea. Pure.

A subnet's id is the VNI of its segment: leases name it, so it must outlive all other changes.

With an HA peer both gateways serve the same scopes without asking each other. That no address is
given twice, cut off from each other or not, then follows from three things each of them does alone:
it hands out to newcomers only addresses of its own share of a pool, which is told by the address
alone; it keeps a lease for its port until the port is gone; and of the other's share it gives an
address only to the client that desired state binds it to.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pcg.model.addresses import Prefix, address_number, address_text, prefix_number, split_prefix
from pcg.model.desired import Desired, Port, Segment
from pcg.model.dhcp import DhcpOption, DhcpScope
from pcg.reconcile.addresses import address

INFINITE_S = 0xFFFFFFFF  # RFC 2131 section 3.3
# Of a pair's leases in Kea, which are the ports'. Not infinite: of those Kea notes no renewal.
KEPT_S = 10 * 365 * 86400
SHARES = 64  # blocks that a subnet is dealt out in, alternately to the one gateway and the other
HEADER_FILE_MAX = 127  # bytes of `file` in the header (RFC 2131 section 2), with its final zero

Subnet4 = dict[str, Any]
Spans = list[Prefix]


class Served(NamedTuple):
    segment: str
    lease_s: int  # what clients are told


class Server(NamedTuple):
    """What one VRF's Kea serves."""

    subnets: list[Subnet4]  # by id
    served: Mapping[int, Served]  # VNI -> segment
    holds: bool  # a lease stays until its port is gone
    ports: frozenset[tuple[int, str]]  # VNI and MAC of those that there are; when `holds`


def compile_dhcp(desired: Desired) -> dict[str, Server]:
    """VRF id -> its server; VRFs without a segment that has a scope have none."""
    scopes = {s.id: s for s in desired.dhcp}
    segments = {s.id: s for s in desired.segments if s.dhcp is not None}
    ports: dict[str, list[Port]] = {}
    for port in desired.ports:
        if port.segment in segments:
            ports.setdefault(port.segment, []).append(port)
    side = side_of(desired)
    by_vrf: dict[str, list[Segment]] = {}
    for segment in sorted(segments.values(), key=lambda s: s.vni):
        by_vrf.setdefault(segment.vrf, []).append(segment)
    return {
        vrf: Server(
            subnets=[subnet(s, scopes[s.dhcp], ports.get(s.id, ()), side) for s in members],
            served={s.vni: Served(s.id, scopes[s.dhcp].lease_s) for s in members},
            holds=side is not None,
            ports=frozenset(
                (s.vni, p.mac) for s in members for p in ports.get(s.id, ()) if side is not None
            ),
        )
        for vrf, members in by_vrf.items()
    }


def side_of(desired: Desired) -> int | None:
    """Which of an HA pair we are, 0 or 1, as both see it; None: we are alone."""
    return None if desired.ha is None else int(desired.gateway.id > desired.ha.peer)


def subnet(segment: Segment, scope: DhcpScope, ports: Iterable[Port], side: int | None) -> Subnet4:
    prefix = prefix_number(segment.subnet)
    made: Subnet4 = {
        "id": segment.vni,
        "subnet": segment.subnet,
        "valid-lifetime": scope.lease_s if side is None else KEPT_S,
        "cache-max-age": 0,  # every renewal is written
        "pools": [
            {"pool": f"{address_text(span.first)}-{address_text(span.last)}"}
            for span in pools(scope, prefix, ports, side)
        ],
        "option-data": [
            {"code": code, "csv-format": False, "data": data.hex(), "always-send": code == 26}
            for code, data in sorted(options(segment, scope, prefix).items())
        ],
        "reservations": reservations(scope, prefix, ports),
    }
    if address_number(scope.tftp_server) is not None:
        made["next-server"] = scope.tftp_server
    if 0 < len(scope.bootfile) <= HEADER_FILE_MAX:
        made["boot-file-name"] = scope.bootfile
    return made


# ---- which addresses ----


def pools(scope: DhcpScope, subnet: Prefix, ports: Iterable[Port], side: int | None) -> Spans:
    """The spans to draw from, in order: pools of the subnet without what is taken out of them.

    A port's first address is reserved for it; Kea leaves that out by itself.
    """
    spans = sorted(s for s in map(span, scope.pools) if s.within(subnet))
    taken = [span(e) for e in scope.exclusions]
    for port in ports:
        taken += [Prefix(n, n) for n in map(address_number, port.addresses[1:])]
    free = without(spans, sorted(taken))
    return free if side is None else [s for f in free for s in share(f, subnet, side)]


def span(item: Any) -> Prefix:
    return Prefix(address_number(item.first), address_number(item.last))


def without(spans: Spans, taken: Spans) -> Spans:
    """
    >>> without([Prefix(1, 9)], [Prefix(0, 2), Prefix(5, 5)])
    [Prefix(first=3, last=4), Prefix(first=6, last=9)]
    """
    left = []
    for first, last in spans:
        for t in taken:
            if t.last < first or t.first > last:
                continue
            if t.first > first:
                left.append(Prefix(first, t.first - 1))
            first = t.last + 1
        if first <= last:
            left.append(Prefix(first, last))
    return left


def share(free: Prefix, subnet: Prefix, side: int) -> Spans:
    """What of it is ours. Nothing but the address and its subnet says whose an address is, so that
    two gateways that know of different pools, for a while, still agree.

    >>> share(Prefix(3, 9), Prefix(0, 255), 0), share(Prefix(3, 9), Prefix(0, 255), 1)
    ([Prefix(first=3, last=3), Prefix(first=8, last=9)], [Prefix(first=4, last=7)])
    """
    size = block(subnet)
    ours, first = [], free.first
    while first <= free.last:
        last = min(free.last, first - (first - subnet.first) % size + size - 1)
        if owner(first, subnet) == side:
            ours.append(Prefix(first, last))
        first = last + 1
    return ours


def block(subnet: Prefix) -> int:
    return max(1, subnet.size // SHARES)


def owner(number: int, subnet: Prefix) -> int:
    """The side whose share an address of the subnet is in."""
    return (number - subnet.first) // block(subnet) % 2


def reservations(scope: DhcpScope, subnet: Prefix, ports: Iterable[Port]) -> list[dict[str, str]]:
    """By MAC, then by client identifier. What a port already has is bound to it."""
    made = {
        p.mac: {"hw-address": p.mac, "ip-address": p.addresses[0]} for p in ports if p.addresses
    }
    for binding in scope.bindings:
        if address_number(binding.address) not in subnet:
            continue
        whose = {"hw-address": binding.mac} if binding.mac else {"client-id": binding.client_id}
        host = whose | {"ip-address": binding.address}
        if binding.hostname:
            host["hostname"] = binding.hostname
        made[binding.mac or binding.client_id] = host
    return [made[key] for key in sorted(made)]


# ---- which options ----


def options(segment: Segment, scope: DhcpScope, subnet: Prefix) -> dict[int, bytes]:
    """Option number -> bytes (RFC 2132). 51 is Kea's to say."""
    gateway = address(segment.gateway)
    if scope.gateway and address_number(scope.gateway) in subnet:
        gateway = address(scope.gateway)
    _, length = split_prefix(segment.subnet)
    made = {
        1: (0xFFFFFFFF << (32 - length) & 0xFFFFFFFF).to_bytes(4, "big"),
        3: gateway,
        6: b"".join(map(address, scope.dns)),
        15: scope.domain.encode(),
        26: (scope.mtu or segment.mtu).to_bytes(2, "big"),
        28: subnet.last.to_bytes(4, "big"),
        42: b"".join(map(address, scope.ntp)),
        54: address(segment.gateway),  # so that renewals come to us by unicast
        66: scope.tftp_server.encode(),
        67: scope.bootfile.encode(),
        119: b"".join(map(name, scope.search)),
        121: routes(scope, subnet, gateway),
    }
    made |= {option.code: option_bytes(option) for option in scope.options}
    return {code: data for code, data in made.items() if data}


def option_bytes(option: DhcpOption) -> bytes:
    for size, number in ((1, option.uint8), (2, option.uint16), (4, option.uint32)):
        if number is not None:
            return number.to_bytes(size, "big")
    if option.addresses:
        return b"".join(map(address, option.addresses))
    return option.text.encode() or bytes.fromhex(option.value)


def name(domain: str) -> bytes:
    """RFC 1035 section 3.1, without compression.

    >>> name("example.com.")
    b'\\x07example\\x03com\\x00'
    """
    labels = domain.removesuffix(".").encode().split(b".")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def routes(scope: DhcpScope, subnet: Prefix, gateway: bytes) -> bytes:
    """RFC 3442. Who takes option 121 ignores option 3, so the default route stands in it too; next
    hops of other segments' subnets are of no use here."""
    ways = {(bytes(4), 0): gateway}
    for route in scope.routes:
        if address_number(route.next_hop) in subnet:
            first, length = split_prefix(route.prefix)
            ways[first.to_bytes(4, "big"), length] = address(route.next_hop)
    return b"".join(
        bytes([length]) + prefix[: (length + 7) // 8] + hop
        for (prefix, length), hop in sorted(ways.items())
    )
