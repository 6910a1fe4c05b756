"""Random gateways and random packets for them, made from bytes that hypothesis draws.

Every choice is one byte, its first alternative the dullest, so that a failing example shrinks to
dull ones. All addresses are numbers. Two VRFs have the same prefixes and the same workloads.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import NamedTuple, TypeVar

from pcg.reconcile import records as r
from tests.oracle import ipv4 as ip4

T = TypeVar("T")


def at(text: str) -> int:
    return int(IPv4Address(text))


class Picks:
    """Bytes, taken one by one; zeros behind the last."""

    def __init__(self, data: bytes) -> None:
        self.left = iter(data)

    def of(self, choices: Sequence[T]) -> T:
        return choices[next(self.left, 0) % len(choices)]


TEP, HOP, UNRESOLVED, NOWHERE = at("10.99.3.10"), at("10.99.1.1"), at("10.99.1.2"), at("10.99.1.3")
OTHER_HOP = at("10.99.1.4")
TEPS = [at("10.99.3.11"), at("10.99.3.12"), at("10.99.3.13")]
STRANGER = at("10.99.3.99")
PEERS = [at("198.51.100.7"), at("198.51.100.8"), at("203.0.114.9")]
HOSTS = [at("10.0.1.4"), at("10.0.1.5"), at("10.0.2.5"), 0]  # 0: in the routed segment
NOBODY = at("10.0.1.77")
PUBLICS = [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1)]  # index, VRF
DOWN_MAC, UP_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


def elastic(index: int) -> int:
    return at("203.0.113.10") + index


def secondary(index: int) -> int:
    return at("10.99.1.10") + index


def host(vrf: int, n: int) -> int:
    return HOSTS[n] or at(f"198.18.{vrf}.5")


def home(vrf: int, n: int) -> int:
    """VNI of a host's segment."""
    return 100 * vrf + (11, 11, 12, 13)[n]


def transit(vrf: int) -> int:
    return 100 * vrf + 19


def mac(kind: int, vrf: int, n: int) -> bytes:
    return bytes([2, kind, vrf, 0, 0, n])


def segments(p: Picks) -> list[r.Segments]:
    rows = []
    mtu = p.of([8943, 1400])
    for vrf in (0, 1):
        for vni, net, flags in (11, "10.0.1.0", 0), (12, "10.0.2.0", 0), (13, f"198.18.{vrf}.0", 1):
            subnet, vni = at(net), vni + 100 * vrf
            gateway = (subnet + 1).to_bytes(4)
            rows.append(
                r.Segments(
                    vni,
                    vrf,
                    0,
                    subnet.to_bytes(4),
                    gateway,
                    mtu,
                    24,
                    flags,
                    mac(8, vrf, vni),
                    f"seg-{vni}",
                )
            )
        none = bytes(4)
        rows.append(r.Segments(transit(vrf), vrf, 1, none, none, 8943, 0, 0, mac(8, vrf, 19), ""))
    return rows


def routes(p: Picks) -> list[r.Routes]:
    rows = []
    for vrf in (0, 1):
        for n in (0, 2, 3):
            net = (host(vrf, n) & 0xFFFFFF00).to_bytes(4)
            rows.append(r.Routes(vrf, net, 24, 1, bytes(4), home(vrf, n)))
        hop = p.of([HOP] * 12 + [UNRESOLVED, NOWHERE, None])
        if hop:
            rows.append(r.Routes(vrf, bytes(4), 0, 0, hop.to_bytes(4), 0))
        kind, hop = p.of([(None, 0), (2, 0), (0, HOP), (0, UNRESOLVED), (0, NOWHERE)])
        if kind is not None:
            rows.append(r.Routes(vrf, PEERS[1].to_bytes(4), 32, kind, hop.to_bytes(4), 0))
        if p.of([False, False, True]):
            rows.append(r.Routes(vrf, at("10.0.2.0").to_bytes(4), 30, 2, bytes(4), 0))
    return rows


def elastic_routes(p: Picks) -> list[r.Routes]:
    """Where Elastic IPs of ours do not go out by the default route."""
    kind, hop, vni = p.of([(None, 0, 0)] * 10 + [(2, 0, 0), (1, 0, 11), (0, HOP, 0)])
    prefix = at("203.0.113.8").to_bytes(4), p.of([29, 30])
    vrf = p.of([0, 1])
    return [] if kind is None else [r.Routes(vrf, *prefix, kind, hop.to_bytes(4), vni)]


INSIDE = [("10.0.0.0", 16), ("10.0.1.0", 24), ("10.0.1.4", 32), ("10.0.1.4", 31), ("0.0.0.0", 0)]
DOORS = [(17, (7000, 7003)), (6, (80, 80)), *[(0, (0, 65535))] * 2, (17, (2000, 2000))]
OUTSIDE = [("0.0.0.0", 0), ("198.51.100.0", 24), ("198.51.100.7", 32)]


def match(source=("0.0.0.0", 0), destination=("0.0.0.0", 0), proto=0, ports=(0, 65535)) -> r.Match:
    (src, src_len), (dst, dst_len) = source, destination
    sides = at(src).to_bytes(4), at(dst).to_bytes(4), src_len, dst_len
    return r.Match(*sides, proto, dport_first=ports[0], dport_last=ports[1])


def translation(p: Picks, id_: int) -> r.Nat:
    """One NAT rule of any kind, as compile would make it."""
    action = p.of([1, 0, 2, 1, 0, 3, 4])
    vrf = p.of([0, 0, 0, 1])
    mine = [index for index, owner in PUBLICS if owner == vrf]
    first = p.of(mine)
    pool, ports, target, targets = (), (0, 0), 0, 0
    if action == 2:  # REFLEXIVE: as many public addresses as sources
        span = p.of([("10.0.1.4", 32), ("10.0.2.5", 32), ("10.0.1.4", 31)])
        pool = (first,) if span[1] == 32 else (first, mine[(mine.index(first) + 1) % len(mine)])
        matched = match(span, p.of(OUTSIDE))
    elif action in (0, 4):
        proto, doors = p.of(DOORS)
        matched = match(p.of(OUTSIDE), (str(IPv4Address(secondary(first))), 32), proto, doors)
        if action == 0:
            target, targets = host(vrf, p.of([0, 0, 1, 2])), p.of([1, 1, 2])
            ports = p.of([(0, 0), (9000, 9003)]) if doors == (7000, 7003) else (0, 0)
            ports = p.of([(0, 0), (8080, 8080)]) if doors == (80, 80) else ports
    else:
        matched = match(p.of(INSIDE), p.of(OUTSIDE), p.of([0, 0, 0, 17, 6, 47]))
        if action == 1:
            pool = p.of([(first,), tuple(mine)])
            ports = p.of([(0, 0), (2000, 2001), (2000, 2000), (3000, 3050)])
    fw_match = p.of([0, 1, 2, 0])
    padded = pool + (0,) * (16 - len(pool))
    return r.Nat(
        id_, vrf, action, fw_match, 0, len(pool), *ports, target.to_bytes(4), targets, matched,
        padded, f"nat-{id_}", *p.of(QUOTAS), p.of([(0,) * 6, (5, 60, 10, 30, 30, 30)]),
        p.of([0, 0, 1]), overflow=p.of([0, 1]) if action == 1 else 0, reset=p.of([0, 1, 2, 3]),
    )  # fmt: skip


def everybody(p: Picks, vrf: int) -> r.Nat:
    """The last rule: SNAT of all that no other took, in most policies."""
    mine = [index for index, owner in PUBLICS if owner == vrf]
    pool = (*mine, *(0,) * (16 - len(mine)))
    action, nobody = p.of([(1, 0), (1, 0), (1, 0), (3, 32)])
    ports, overflow = p.of([((0, 0), 0), ((0, 0), 0), ((2000, 2000), 1), ((2000, 2000), 0)])
    matched = match(("0.0.0.0", nobody))
    return r.Nat(
        20 + vrf, vrf, action, 0, 0, len(mine), *ports, bytes(4), 0, matched, pool, "everybody",
        overflow=overflow,
    )  # fmt: skip


def filtering(p: Picks, id_: int) -> r.Firewall:
    action, way, vrf = p.of([0, 0, 1, 2]), p.of([3, 1, 2]), p.of([0, 0, 1])
    mapped = [("203.0.113.0", 24), ("10.99.1.10", 31), ("10.99.1.11", 32), ("10.0.1.0", 24)]
    matched = match(
        p.of([*OUTSIDE, *INSIDE, *mapped]),
        p.of([*OUTSIDE, *mapped]),
        p.of([0, 17, 6, 1]),
        p.of([(0, 65535), (53, 53), (80, 80), (7001, 9002)]),
    )
    stateless = p.of([0, 0, 1])
    groups = p.of([0, 0, 0, *GROUPS]), p.of([0, 0, 0, *GROUPS])
    return r.Firewall(id_, vrf, action, way, 0, matched, f"fw-{id_}", *groups, stateless)


class Given(NamedTuple):
    """What hypothesis draws of a policy."""

    base: bytes
    nat: list[bytes]
    firewall: list[bytes]
    members: bytes = b""


GROUPS = (1, 2, 3, 4)  # those that rules name; the last has no members


def members(p: Picks) -> list[r.Members]:
    prefixes = [*INSIDE[1:4], *OUTSIDE[1:], ("203.0.113.0", 29), ("10.99.1.10", 31), ("0.0.0.0", 0)]
    rows = set()
    for group in GROUPS[:-1]:
        for _ in range(p.of([2, 1, 3, 0])):
            net, length = p.of(prefixes)
            rows.add(r.Members(0, group, at(net).to_bytes(4), length))
    return sorted(rows)


NO_END = 1_000_000  # a second, of what the gateway says itself
QUOTAS = [(0, 0)] * 5 + [(2, 0), (0, 1), (4, 2)]  # sessions, ports


def policy(given: Given) -> dict[str, list]:
    p = Picks(given.base)
    local = r.Local(
        TEP.to_bytes(4), p.of([1, 0]), p.of([1500, 1500, 9001]), p.of([9001, 1500]),
        *p.of([(1024, 65535), (40000, 40063)]), 7, *p.of(QUOTAS), p.of([1, 1, 0]), NO_END, NO_END,
    )  # fmt: skip
    tables = {
        "local": [local],
        "vrfs": [r.Vrfs(vrf, p.of([0] * 8 + [1, 2]), p.of([0] * 8 + [1, 2]), "") for vrf in (0, 1)],
        "segments": segments(p),
        "publics": [
            r.Publics(i, vrf, elastic(i).to_bytes(4), secondary(i).to_bytes(4), "")
            for i, vrf in PUBLICS
        ],
        "routes": routes(p),
        "nat": [translation(Picks(data), i + 1) for i, data in enumerate(given.nat)]
        + [everybody(p, i) for i in (0, 1)],
        "firewall": [filtering(Picks(data), i + 1) for i, data in enumerate(given.firewall)],
        "groups": [r.Groups(group, 0, f"group-{group}") for group in GROUPS],
        "members": members(Picks(given.members)),
    }
    tables["routes"] += elastic_routes(p)
    return tables


def neighbours(data: bytes) -> tuple[list[r.Ports], list[r.Teps], list[r.Nexthops]]:
    p, ports = Picks(data), []
    for vrf in (0, 1):
        for n in range(4):
            if p.of([True] * 12 + [False]):
                tep = p.of(TEPS)
                address = host(vrf, n).to_bytes(4)
                ports.append(r.Ports(vrf, address, home(vrf, n), tep.to_bytes(4), mac(10, vrf, n)))
    teps = []
    for n, tep in enumerate(TEPS):
        resolved, silent = p.of([(1, 0)] * 8 + [(0, 0), (0, 1)])
        option, mtu = p.of([1, 0]), p.of([9001, 0, 1500])
        teps.append(r.Teps(tep.to_bytes(4), mac(6, 0, n), resolved, option, mtu, silent))
    hops = [
        r.Nexthops(HOP.to_bytes(4), mac(14, 0, 1), 1),
        r.Nexthops(OTHER_HOP.to_bytes(4), mac(14, 0, 2), 1),
        r.Nexthops(UNRESOLVED.to_bytes(4), bytes(6), 0, p.of([0, 1])),
    ]
    return ports, teps, hops


# ---- packets ----

FLAGS = [ip4.SYN, ip4.SYN | ip4.ACK, ip4.ACK, ip4.FIN | ip4.ACK, ip4.RST, ip4.RST | ip4.ACK]
# None; MSS 8903, 1460, 536 and 65535, some at an odd offset; malformed ones
OPTIONS = ["", "020422c7", "01020405b4000000", "02040218", "010101020204ffff", "0300020422c70000"]
OPTIONS += ["010204fffe010101", "020322c7", "00000000020422c7", "01010102"]
OPTIONS = [bytes.fromhex(text) for text in OPTIONS]
DPORTS = [53, 80, 7001, 7003, 2000, 2001, 9001, 8080]


def made(p: Picks, src: int, dst: int, proto: int, sport: int, dport: int, flags: int) -> ip4.Ip:
    odd = {
        "ttl": p.of([64] * 20 + [2, 1]),
        "tos": p.of([0, 0, 2, 1, 3, 0x28]),
        "frag": p.of([0, ip4.DF, ip4.DF, ip4.DF]),
        "id": p.of([0, 1, 0xFFFF]),
    }
    data = bytes(p.of([4] * 8 + [0, 1, 1373, 1440, 1473, 8900]))
    if proto == ip4.UDP:
        packet = ip4.udp(src, dst, sport, dport, data, **odd)
        return packet if p.of([1, 1, 1, 0]) else without_sum(packet)
    if proto == ip4.TCP:
        seq, options = p.of([1, 0xFFFFFFFF]), p.of(OPTIONS)
        return ip4.tcp(src, dst, sport, dport, flags, seq, 0, data, options, **odd)
    if proto == ip4.ICMP:
        rest = sport.to_bytes(2) + b"\0\1"
        kind = p.of([8] * 9 + [0, 13])
        return ip4.icmp(src, dst, kind, 0, rest, data, **odd)
    return ip4.Ip(src, dst, proto, data, **odd)


def without_sum(packet: ip4.Ip) -> ip4.Ip:
    data = packet.payload
    return ip4.Ip(
        packet.src, packet.dst, packet.proto, data[:6] + b"\0\0" + data[8:], packet.ttl,
        packet.tos, packet.id, packet.frag,
    )  # fmt: skip


def in_tunnel(packet: ip4.Ip, vni: int, tep: int, gateway_mac: bytes, ecn: int = 0) -> bytes:
    inner = gateway_mac + mac(10, 0, 0) + b"\x08\0" + packet.whole()
    option = bytes.fromhex("0104800100000001")
    data = bytes([2, 0x40]) + b"\x65\x58" + vni.to_bytes(3) + b"\0" + option + inner
    outer = ip4.udp(tep, TEP, 50000, 6081, data, tos=ecn, frag=ip4.DF)
    return DOWN_MAC + mac(6, 0, 0) + b"\x08\0" + outer.whole()


def plain(packet: ip4.Ip) -> bytes:
    return UP_MAC + mac(14, 0, 1) + b"\x08\0" + packet.whole()
