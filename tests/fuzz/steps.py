"""What inputs of the fuzzer are made of: its world, and steps (harness.h)."""

import struct

from pcg.datapath import pack
from pcg.datapath.errors import table_number
from pcg.reconcile import records as r
from tests.c import dhcp
from tests.c.places import (
    FEW,
    NET,
    NEWCOMER,
    OTHER_NET,
    PLAIN,
    VMS,
    WHOLE,
    A,
    B,
    C,
    ip,
)
from tests.c.world import NEXTHOPS, TEPS, Policy, nat, source, to_public

UPLINK, MEND, EXPLAIN, COMMIT, PORT, PASSES = 1, 2, 4, 8, 16, 32
FRAME, ANSWER, ERROR, PIECES, AGAIN, POLICY, PUT, RELAY, WATCH = range(9)
TIME, MANY, READ, RESTART = range(9, 13)
HOLD = 0x80
LANES = (0, 0x20, 0x40)  # inject's own; workers


def ports_of_many_rules() -> list[r.Firewall]:
    """So many of the same addresses that they are looked up by port; ranges that overlap."""
    ranges = [(n, n + 40, 0) for n in range(5000, 5200, 20)] + [(5300, 5400, 1)]
    match = {"dst_be": ip(NET), "dst_len": 32, "protocol": 17}
    return [
        r.Firewall(50 + i, 0, i % 3, 3, i % 2, r.Match(**match, sport_first=sport, dport_first=low,
                   dport_last=high), f"range-{i}")
        for i, (low, high, sport) in enumerate(ranges)
    ]  # fmt: skip


def world() -> bytes:
    """The tables of tests/c/world.py, with DHCP in one segment, as world.c reads them."""
    single = {"teps": TEPS, "nexthops": NEXTHOPS, "ports": [vm.record for vm in VMS]}
    single["clients"] = [dhcp.client(vm) for vm in (A, C, NEWCOMER)]
    policy = Policy(segments=dhcp.served_segments())
    policy.nat["tiny"] = policy.nat["tiny"]._replace(overflow=1, n_pool=2, pool=(5, 0) + (0,) * 14)
    policy.nat["range"] = policy.nat["range"]._replace(reset=1, log=1, sessions_each=4)
    policy.nat["snat"] = policy.nat["snat"]._replace(reset=3, sessions_each=99, ports_each=66)
    # by a public address that lets peers in, too: by a port drawn somebody may be answered already
    own = nat(11, 1, source(C.address, 32, protocol=17), WHOLE, ports=(3000, 3003))
    again = nat(12, 0, to_public(FEW, 17, 9000, 9000), target=B)
    policy.nat = {"own": own, **policy.nat, "again": again}
    policy.groups = [r.Groups(7, 0, "friends")]
    policy.members = [r.Members(0, 7, ip(at), 32) for at in (OTHER_NET, PLAIN.address)]
    policy.firewall = [
        r.Firewall(4, 0, 0, 3, 1, r.Match(), "friends", 7, 0, 1),
        r.Firewall(5, 0, 0, 3, 1, r.Match(), "to-friends", 0, 7, 1),
        *ports_of_many_rules(),
        *policy.firewall,
    ]
    tables = {**single, **policy.tables()}
    tables["vrfs"][1] = r.Vrfs(1, 1, 2, "red", 1, 1)
    whole = b""
    for table, rows in tables.items():
        head = struct.pack("=III", table_number(table), len(rows), pack.size(table))
        whole += head + pack.pack(table, rows)
    return whole


def step(role: str, frame: bytes, op: int = 0, hold: bool = False, lane: int = 0) -> bytes:
    op |= UPLINK if role == "uplink" else 0
    return struct.pack("!BBH", op, lane | (HOLD if hold else FRAME), len(frame)) + frame


def follows(kind: int, *data: int, op: int = MEND) -> bytes:
    """A step that is made from those before it (harness.h)."""
    return struct.pack("!BBH", op, kind, len(data)) + bytes(data)
