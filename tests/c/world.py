"""The world of places.py as a policy, and a datapath that holds it."""

import dataclasses
import struct
import time
from collections.abc import Iterable
from socket import inet_aton as ip

from scapy.layers.inet import UDP

from pcg.datapath.lib import Datapath
from pcg.reconcile import records as r
from tests.c import wire
from tests.c.packets import udp
from tests.c.places import (
    APP,
    FEW,
    GATEWAY,
    HOP,
    HOP_MAC,
    LABEL,
    LONELY,
    POOL_A,
    POOL_B,
    PUBLICS,
    RED_POOL,
    RED_TRANSIT,
    RED_WEB,
    ROUTED,
    SERVER,
    TEP,
    TEP1,
    TEP2,
    TEP3,
    TEP4,
    TEP_MAC,
    TINY,
    TRANSIT,
    TWIN,
    VMS,
    WEB,
    WHOLE,
    A,
    B,
    C,
    Public,
    R,
    Vm,
    mac,
)


def nat(id_: int, action: int, match: r.Match, *pool: Public, ports=(0, 0), target=None, **given):
    vrf, fw, targets = given.get("vrf", 0), given.get("fw_match", 0), given.get("targets", 1)
    indices = tuple(p.index for p in pool) + (0,) * (16 - len(pool))
    to = ip(target.address) if target else bytes(4)
    n = targets if target else 0
    return r.Nat(id_, vrf, action, fw, 0, len(pool), *ports, to, n, match, indices, f"rule-{id_}")


def source(prefix: str, length: int, **given) -> r.Match:
    return r.Match(src_be=ip(prefix), src_len=length, **given)


def to_public(public: Public, protocol: int = 0, first: int = 0, last: int = 65535) -> r.Match:
    at = ip(public.secondary)
    return r.Match(dst_be=at, dst_len=32, protocol=protocol, dport_first=first, dport_last=last)


DNAT, SNAT, REFLEXIVE, NO_SNAT, NO_DNAT = range(5)
NAT = {
    "no_snat": nat(1, NO_SNAT, source("192.168.99.0", 24, dst_be=ip("172.16.0.0"), dst_len=12)),
    "reflexive": nat(2, REFLEXIVE, source(R.address, 32), TWIN),
    "no_dnat": nat(3, NO_DNAT, to_public(SERVER, 6, 23, 23)),
    "web": nat(4, DNAT, to_public(SERVER, 6, 80, 80), ports=(8080, 8080), target=B),
    "range": nat(5, DNAT, to_public(SERVER, 17, 7000, 7009), ports=(9000, 9009), target=B),
    "whole": nat(6, DNAT, to_public(WHOLE), target=C),
    "tiny": nat(7, SNAT, source(TINY.address, 32), FEW, ports=(2000, 2003)),
    "gre": nat(8, SNAT, source(C.address, 32, protocol=47), WHOLE),
    "snat": nat(9, SNAT, source("192.168.0.0", 16), POOL_A, POOL_B),
    "red": nat(10, SNAT, source("0.0.0.0", 0), RED_POOL, vrf=1),
}


def segment(vni: int, name: str, length: int, flags: int = 0, vrf: int = 0, kind: int = 0):
    gateway, its_mac = GATEWAY[vni]
    net = (int.from_bytes(ip(gateway)) & (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF).to_bytes(4)
    return r.Segments(vni, vrf, kind, net, ip(gateway), 8943, length, flags, mac(its_mac), name)


SEGMENTS = [
    segment(WEB, "web", 24),
    segment(APP, "app", 24),
    segment(LONELY, "lonely", 24),
    segment(ROUTED, "routed", 24, flags=1),
    segment(TRANSIT, "transit", 0, kind=1),
    segment(RED_WEB, "red-web", 24, vrf=1),
    segment(RED_TRANSIT, "red-transit", 0, vrf=1, kind=1),
]
ROUTES = {
    "default": r.Routes(0, bytes(4), 0, 0, ip(HOP), 0),
    "web": r.Routes(0, ip("192.168.99.0"), 24, 1, bytes(4), WEB),
    "app": r.Routes(0, ip("192.168.100.0"), 24, 1, bytes(4), APP),
    "lonely": r.Routes(0, ip("10.50.0.0"), 24, 1, bytes(4), LONELY),
    "routed": r.Routes(0, ip("198.18.7.0"), 24, 1, bytes(4), ROUTED),
    "hole": r.Routes(0, ip("192.168.100.200"), 32, 2, bytes(4), 0),
    "slow": r.Routes(0, ip("100.64.0.0"), 10, 0, ip("10.99.1.2"), 0),  # its MAC is not known
    "dark": r.Routes(0, ip("100.127.0.0"), 16, 0, ip("10.99.1.3"), 0),  # no such next hop
    "red-web": r.Routes(1, ip("192.168.99.0"), 24, 1, bytes(4), RED_WEB),
    "red-net": r.Routes(1, ip("198.51.100.0"), 24, 0, ip(HOP), 0),
}
FIREWALL = [
    r.Firewall(1, 0, 1, 2, 0, r.Match(dst_be=ip("198.51.100.66"), dst_len=32), "silent"),
    r.Firewall(2, 0, 2, 3, 0, r.Match(dst_be=ip("198.51.100.67"), dst_len=32), "said"),
    r.Firewall(3, 0, 2, 1, 0, r.Match(src_be=ip("198.51.100.68"), src_len=32), "said-in"),
]


@dataclasses.dataclass
class Policy:
    """What a commit publishes; tests change one part and commit again."""

    udp_checksum: int = 1
    uplink_mtu: int = 1500
    ports: tuple[int, int] = (1024, 65535)
    defaults: tuple[int, int] = (0, 0)
    default_logs: tuple[int, int] = (0, 0)
    nat: dict = dataclasses.field(default_factory=lambda: dict(NAT))
    routes: dict = dataclasses.field(default_factory=lambda: dict(ROUTES))
    firewall: list = dataclasses.field(default_factory=lambda: list(FIREWALL))
    segments: list = dataclasses.field(default_factory=lambda: list(SEGMENTS))
    publics: tuple = PUBLICS
    groups: list = dataclasses.field(default_factory=list)
    members: list = dataclasses.field(default_factory=list)
    mss_clamp: int = 1
    quota: dict = dataclasses.field(default_factory=dict)  # of each address: records.Local

    def tables(self) -> dict[str, list]:
        local = r.Local(ip(TEP), self.udp_checksum, self.uplink_mtu, 9001, *self.ports, LABEL)
        local = local._replace(mss_clamp=self.mss_clamp, **self.quota)
        pub = [r.Publics(p.index, p.vrf, ip(p.elastic), ip(p.secondary), "") for p in self.publics]
        return {
            "local": [local],
            "vrfs": [
                r.Vrfs(0, *self.defaults, "blue", *self.default_logs),
                r.Vrfs(1, 0, 0, "red"),
            ],
            "segments": self.segments,
            "publics": pub,
            "routes": list(self.routes.values()),
            "nat": list(self.nat.values()),
            "firewall": self.firewall,
            "groups": self.groups,
            "members": self.members,
        }


TEPS = [
    r.Teps(ip(TEP1), mac(TEP_MAC[TEP1]), 1, 1, 9001),
    r.Teps(ip(TEP2), mac(TEP_MAC[TEP2]), 1, 1, 9001),
    r.Teps(ip(TEP3), bytes(6), 0, 1, 9001),
    r.Teps(ip(TEP4), mac(TEP_MAC[TEP4]), 1, 0, 1500),
]
NEXTHOPS = [r.Nexthops(ip(HOP), mac(HOP_MAC), 1), r.Nexthops(ip("10.99.1.2"), bytes(6), 0)]


class World:
    """A datapath that holds this world, its clock, and what it sent: every frame is checked."""

    def __init__(self, dp: Datapath, policy: Policy | None = None, program: bool = True) -> None:
        self.dp, self.policy, self.now_s = dp, policy or Policy(), 0.0
        self.zero_ns = time.monotonic_ns()
        self.seen_drops = dp.drops()
        if program:
            dp.put("teps", TEPS)
            dp.put("nexthops", NEXTHOPS)
            dp.put("ports", [vm.record for vm in VMS])
            self.commit()

    def commit(self, touches=None) -> None:
        self.dp.commit(self.policy.tables(), 1, touches)
        self.sweep()

    @property
    def now_ns(self) -> int:
        return self.zero_ns + int(self.now_s * 1e9)

    def sweep(self, after_s: float = 0) -> None:
        self.now_s += after_s
        self.dp.sweep(self.now_ns)

    def inject(self, role: str, *frames: bytes) -> list[wire.Seen]:
        sent = self.dp.inject(role, frames, self.now_ns)
        return [wire.read(one, self.policy.udp_checksum) for one in sent]

    def down(self, vm: Vm, packet, **given) -> list[wire.Seen]:
        """`packet` (what follows the inner Ethernet header) from a workload; see wire.over()."""
        return self.inject("downlink", over(vm, packet, **given))

    def up(self, packet, **given) -> list[wire.Seen]:
        return self.inject("uplink", wire.plain(packet, **given))

    def drops(self) -> dict[str, int]:
        """What was dropped since the last call."""
        now = self.dp.drops()
        new = {k: n - self.seen_drops.get(k, 0) for k, n in now.items()}
        self.seen_drops = now
        return {k: n for k, n in new.items() if n}


def over(vm: Vm, packet, vni: int | None = None, tep: str | None = None, **given) -> bytes:
    """A tunnel frame from `vm`: over its VRF's transit, unless `vni` says its segment's."""
    vni = vni or (RED_TRANSIT if vm.vrf else TRANSIT)
    given.setdefault("inner_dst", GATEWAY.get(vni, GATEWAY[TRANSIT])[1])
    return wire.over(packet, vni=vni, tep=tep or vm.tep, inner_src=vm.mac, **given)


def numbered(pairs: Iterable[tuple[int, int]]) -> list[bytes]:
    """UDP frames of A to NET, one for each pair of ports; without checksums, so that nothing but
    the ports differs and thousands are made at once."""
    packet = udp()
    packet[UDP].chksum = 0
    frame = over(A, packet, udp={"chksum": 0})
    at = frame.rindex(bytes(packet[UDP])[:4])
    return [frame[:at] + struct.pack("!HH", *pair) + frame[at + 4 :] for pair in pairs]
