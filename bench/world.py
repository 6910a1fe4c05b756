"""The world that the bench forwards in, and the flows that cross it; everything by arithmetic.

    workload w   10.16.0.0 + w, on segment w / 1024, behind TEP w % 256
    remote       8.0.0.0/8
    SNAT         rules each for its part of the workloads, 16 public addresses each
    DNAT         public addresses, each to its part of the workloads

A session's addresses follow from its number, so that every packet of a pass can be of any session
without anybody keeping a list of what was sent.
"""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from pcg.datapath.lib import Datapath
from pcg.reconcile import records as r

MAC = bytes.fromhex("020000000005")
GATEWAY_MAC = bytes.fromhex("020000000007")
OURS, HOP = bytes([10, 99, 0, 1]), bytes([10, 99, 1, 1])
NEXTHOP = r.Nexthops(HOP, MAC, 1)
TRANSIT, FIRST_VNI, SEGMENT_SIZE = 5000, 10_000, 1024
WORKLOADS, TEPS = 0x0A10_0000, 0x0AC8_0001  # 10.16.0.0, 10.200.0.1
SECONDARIES, ELASTICS, REMOTES = 0x0AC9_0000, 0x3400_0000, 0x0800_0000
N_TEPS, POOL, LEAST_WORKLOADS = 256, 16, 64
TCP, UDP = 6, 17
FLOW = struct.Struct("=4s4s4sHHB3x")  # struct pcgdp_flow
N_RULES, N_ROUTES = 1000, 10_000
ANY_NAT_POOL = (0,) * POOL


def address(number: int) -> bytes:
    return number.to_bytes(4)


@dataclass(frozen=True)
class World:
    """How large it is. `workloads`: a power of two, at least 64."""

    workloads: int = 1024
    rules: bool = False  # 1,000 firewall rules, 1,000 NAT rules, 10,000 routes
    snat_rules: int = 32  # each of 16 public addresses; powers of two
    dnat_rules: int = 64  # each of one

    def __post_init__(self) -> None:
        if self.workloads < LEAST_WORKLOADS or self.workloads & (self.workloads - 1):
            raise ValueError(f"workloads is a power of two from 64 on, not {self.workloads}")

    @property
    def segments(self) -> int:
        return max(1, self.workloads // SEGMENT_SIZE)

    # ---- what is programmed ----

    def program(self, dp: Datapath) -> None:
        dp.put("teps", [r.Teps(tep(i), MAC, 1, 1, 9001) for i in range(N_TEPS)])
        dp.put("nexthops", [NEXTHOP])
        dp.put("ports", [self.port(w) for w in range(self.workloads)])
        dp.commit(self.policy(), 1)

    def port(self, w: int) -> r.Ports:
        return r.Ports(
            0, workload(w), FIRST_VNI + w // SEGMENT_SIZE, tep(w), b"\x02\x01" + address(w)
        )

    def policy(self) -> dict[str, list]:
        firewall = list(firewall_rules()) if self.rules else []
        more = list(nat_rules(N_RULES - self.snat_rules - self.dnat_rules)) if self.rules else []
        routes = list(routes_north(N_ROUTES - self.segments - 1)) if self.rules else []
        default = r.Routes(0, bytes(4), 0, 0, HOP, 0)
        connected = [
            r.Routes(0, workload(s * SEGMENT_SIZE), 22, 1, bytes(4), FIRST_VNI + s)
            for s in range(self.segments)
        ]
        return {
            "local": [r.Local(OURS, 1, 9001, 9001, 1024, 65535, 7)],
            "vrfs": [r.Vrfs(0, 0, 0, "bench")],
            "segments": [self.transit(), *(self.segment(s) for s in range(self.segments))],
            "publics": list(self.publics()),
            "routes": [default, *connected, *routes],
            "nat": [*more, *self.dnat(), *self.snat()],
            "firewall": firewall,
        }

    def transit(self) -> r.Segments:
        return r.Segments(TRANSIT, 0, 1, bytes(4), bytes(4), 8943, 0, 0, GATEWAY_MAC, "transit")

    def segment(self, s: int) -> r.Segments:
        net = WORKLOADS + s * SEGMENT_SIZE
        gateway = address(net + SEGMENT_SIZE - 1) if self.workloads % SEGMENT_SIZE else bytes(4)
        return r.Segments(
            *(FIRST_VNI + s, 0, 0, address(net), gateway, 8943, 22, 0, GATEWAY_MAC, f"s{s}")
        )

    def dialled(self, i: int) -> bytes:
        """The address of DNAT rule i on the uplink; those of SNAT come before."""
        return address(SECONDARIES + self.snat_rules * POOL + i)

    def publics(self) -> Iterator[r.Publics]:
        for i in range(self.snat_rules * POOL + self.dnat_rules):
            yield r.Publics(i + 1, 0, address(ELASTICS + i), address(SECONDARIES + i), "")

    def snat(self) -> Iterator[r.Nat]:
        part = self.workloads // self.snat_rules
        for i in range(self.snat_rules):
            pool = tuple(range(1 + i * POOL, 1 + (i + 1) * POOL))
            match = r.Match(src_be=workload(i * part), src_len=33 - part.bit_length())
            yield r.Nat(10_000 + i, 0, 1, 0, 0, POOL, 0, 0, bytes(4), 0, match, pool, "out")

    def dnat(self) -> Iterator[r.Nat]:
        part = self.workloads // self.dnat_rules
        for i in range(self.dnat_rules):
            match = r.Match(dst_be=self.dialled(i), dst_len=32)
            target = workload(i * part)
            yield r.Nat(*(11_000 + i, 0, 0, 0, 0, 0, 0, 0, target, part, match, ANY_NAT_POOL, "in"))

    # ---- what crosses it ----

    def north(self, n: int) -> Iterator[bytes]:
        """Session i: workload i % workloads, another port each time round."""
        packed, log = FLOW.pack, self.workloads.bit_length() - 1
        ends = [(workload(w), tep(w)) for w in range(self.workloads)]
        for i in range(n):
            source, behind = ends[i & (self.workloads - 1)]
            remote = (REMOTES | spread(i)).to_bytes(4)
            port, proto = 1024 + (i >> log), TCP if i & 1 else UDP
            yield packed(source, remote, behind, port & 0xFFFF, 443 if i & 2 else 8053, proto)

    def south(self, n: int) -> Iterator[bytes]:
        """Session i: public address i % 64, any remote; the rule's target follows from both."""
        packed = FLOW.pack
        outside = [self.dialled(i) for i in range(self.dnat_rules)]
        for i in range(n):
            remote = (REMOTES | spread(i)).to_bytes(4)
            port, proto = 1024 + (i * 40503 & 0x7FFF), TCP if i & 64 else UDP
            yield packed(remote, outside[i % self.dnat_rules], bytes(4), port, 443, proto)

    def east(self, n: int) -> Iterator[bytes]:
        """Flow i: any workload to any other one."""
        packed, mask = FLOW.pack, self.workloads - 1
        for i in range(n):
            w = i & mask
            peer = (w + 1 + spread(i) % mask) & mask
            port = 1024 + (i * 40503 & 0x7FFF)
            yield packed(workload(w), workload(peer), tep(w), port, 443, TCP if i & 1 else UDP)


def spread(i: int) -> int:
    """24 bits, each number below 2^24 once: a multiplication by an odd number does that."""
    return i * 0x9E3779B1 & 0xFFFFFF


def workload(w: int) -> bytes:
    return (WORKLOADS + w).to_bytes(4)


def tep(i: int) -> bytes:
    return (TEPS + i % N_TEPS).to_bytes(4)


def array(flows: Iterator[bytes]) -> bytes:
    """The flows as one array; in pieces, since ten millions are many small objects."""
    whole = bytearray()
    while piece := b"".join(islice(flows, 65_536)):
        whole += piece
    return bytes(whole)


# ---- 1,000 rules and 10,000 routes: of many shapes, in an order that is always the same ----


def routes_north(n: int) -> Iterator[r.Routes]:
    """Prefixes of the Internet's lengths, all to the same next hop: the answer stays the same."""
    rng, seen = random.Random(1), set()
    while len(seen) < n:
        length = rng.choice((16, 19, 20, 22, 23, 24, 24, 24, 24, 24))
        prefix = rng.getrandbits(32) >> (32 - length) << (32 - length)
        if not 0x0800_0000 <= prefix < 0xDF00_0000 or prefix >> 24 in (10, 52, 127):
            prefix = REMOTES | prefix & 0x00FF_FFFF
        if (prefix, length) not in seen:
            seen.add((prefix, length))
            yield r.Routes(0, address(prefix), length, 0, HOP, 0)


def firewall_rules(n: int = N_RULES) -> Iterator[r.Firewall]:
    """n - 1 of five shapes, of which few fit a session of the bench, and one that fits all."""
    rng = random.Random(2)
    for i in range(n - 1):
        action, match = FIREWALL_SHAPES[i % len(FIREWALL_SHAPES)](rng)
        yield r.Firewall(i + 1, 0, action, 3, 0, match, "")
    yield r.Firewall(n, 0, 0, 3, 0, r.Match(), "all the rest")


def _remote(rng: random.Random, length: int, first: int = REMOTES) -> bytes:
    return address(first | rng.getrandbits(24) >> (32 - length) << (32 - length))


def _allow(rng: random.Random) -> tuple[int, r.Match]:
    return 0, r.Match(
        dst_be=_remote(rng, 24), dst_len=24, protocol=TCP, dport_first=443, dport_last=443
    )


def _allow_net(rng: random.Random) -> tuple[int, r.Match]:
    return 0, r.Match(src_be=_remote(rng, 20), src_len=20)


def _from_workloads(rng: random.Random) -> tuple[int, r.Match]:
    source, to = address(WORKLOADS + rng.randrange(64) * 16), _remote(rng, 16)
    ports = {"dport_first": 8000, "dport_last": 8100}
    return 0, r.Match(src_be=source, src_len=28, dst_be=to, dst_len=16, protocol=UDP, **ports)


def _blocked(rng: random.Random) -> tuple[int, r.Match]:
    return 1, r.Match(src_be=_remote(rng, 32, 0xC600_0000), src_len=32)


def _service(rng: random.Random) -> tuple[int, r.Match]:
    first = rng.randrange(10_000, 60_000)
    return 1, r.Match(protocol=UDP, dport_first=first, dport_last=first + 99)


FIREWALL_SHAPES = (_allow, _allow_net, _from_workloads, _blocked, _service)


def nat_rules(n: int) -> Iterator[r.Nat]:
    """Half SNAT and half DNAT, in front of those that the sessions use; they fit none of them."""
    rng, i = random.Random(3), 0
    while i < n:
        first = rng.randrange(20_000, 60_000)
        ports = {"dport_first": first, "dport_last": first + 9}
        if i % 2:
            net, pool = address(WORKLOADS + rng.randrange(1024)), (rng.randrange(1, 500), *[0] * 15)
            match = r.Match(src_be=net, src_len=32, protocol=TCP, **ports)
            yield r.Nat(i + 1, 0, 1, 0, 0, 1, 0, 0, bytes(4), 0, match, pool, "")
        else:
            public = address(SECONDARIES + 512 + rng.randrange(64))
            match = r.Match(dst_be=public, dst_len=32, protocol=TCP, **ports)
            to = workload(rng.randrange(64))
            yield r.Nat(i + 1, 0, 0, 0, 0, 0, 8080, 8080, to, 1, match, ANY_NAT_POOL, "")
        i += 1
