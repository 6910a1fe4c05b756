"""Seeds of the fuzzer: sequences of steps (harness.h), plain ones here, odd ones in odd.py."""

from scapy.utils import rdpcap

from pcg.datapath import build
from pcg.datapath.parcels import joined
from tests.c import dhcp, wire
from tests.c.packets import gre, ping, tcp, udp
from tests.c.places import (
    NET,
    NEWCOMER,
    OTHER_NET,
    PLAIN,
    RED,
    SERVER,
    TINY,
    UP_MAC,
    A,
    B,
    C,
    R,
)
from tests.c.world import over
from tests.fuzz import frames, odd
from tests.fuzz.steps import (
    AGAIN,
    ANSWER,
    ERROR,
    EXPLAIN,
    HOLD,
    MEND,
    PIECES,
    POLICY,
    PUT,
    RELAY,
    WATCH,
    follows,
    step,
)

GOLDEN = build.ROOT / "tests" / "golden"


def conversations() -> list[bytes]:
    """Sessions: an opening, its answers, errors about both sides, pieces, changes of policy."""
    openings = [
        step("downlink", over(vm, make(vm.address, dst)))
        for vm in (A, B, C, R, PLAIN, RED)
        for make in (udp, ping, gre)
        for dst in (NET, SERVER.elastic, "203.0.113.15")
    ]
    openings += [
        b"".join(step("downlink", over(TINY, udp(TINY.address, dst, sport=n))) for n in range(4))
        for dst in (NET, OTHER_NET)
    ]
    openings += [
        b"".join(step("downlink", over(A, udp(sport=n, dport=d))) for n, d in ((1, 1), (2, 2))) * 6
    ]
    openings += [step("uplink", wire.plain(udp(OTHER_NET, PLAIN.address)))]
    openings += [
        step("downlink", over(A, tcp("S", A.address, dst, dport=80)))
        for dst in (NET, SERVER.elastic)
    ]
    openings += [
        step("uplink", wire.plain(p))
        for p in (
            tcp("S", NET, SERVER.secondary),
            udp(NET, SERVER.secondary, dport=7003),
            ping(NET, "10.99.1.15"),
            udp(NET, PLAIN.address),
            udp(NET, "10.99.1.13"),
        )
    ]
    back = follows(ANSWER, 0, 0xFF)
    thens = [back, back * 4, follows(ANSWER, 0, 0x12) + follows(ANSWER, 0, 0x10)]
    thens += [
        follows(ERROR, 0, kind | who << 3, quote)
        for kind in range(8)
        for who, quote in ((3, 0), (1, 8))
    ]
    thens += [back + follows(ERROR, 0, who << 3, quote) for who in (0, 2, 3) for quote in (8, 0)]
    thens += [follows(PIECES, 0, 0, order) for order in (0, 1, 2, 4, 9, 16)]
    thens += [
        back + follows(POLICY, table, row) + back + follows(AGAIN, 1)
        for table, rows in ((0, 1), (4, 8), (5, 11), (6, 16))
        for row in range(rows)
    ]
    thens += [follows(PUT, table, 0) + follows(AGAIN, 0) + back for table in range(3)]
    thens += [follows(WATCH, on) + back * 2 + follows(WATCH, on) for on in range(4)]
    thens += [follows(AGAIN | HOLD, 0, 21, port) * 8 + back for port in (7, 8)]
    return [begun + then for begun in openings for then in thens]


def golden_frames() -> list[list[tuple[str, bytes]]]:
    """Each golden scenario: its frames with the role they came by, in order."""
    ours = frames.mac(UP_MAC)
    scenarios = []
    for file in sorted(GOLDEN.glob("*.in.pcap")):
        packets = [bytes(packet) for packet in rdpcap(str(file))]
        roles = ["uplink" if packet[:6] == ours else "downlink" for packet in packets]
        scenarios.append(list(zip(roles, packets, strict=True)))
    return scenarios


def of_the_relay() -> list[bytes]:
    """What clients ask, whole and in pieces, and what they are told."""
    asks = [dhcp.ask(vm, what) for vm in (NEWCOMER, A, B) for what in ("discover", "request")]
    made = [step("downlink", dhcp.asked(vm, ask)) for vm in (NEWCOMER, A) for ask in asks]
    made += [step("downlink", dhcp.asked(NEWCOMER)) + follows(PIECES, 128, 8, order)
             for order in (0, 1, 4)]  # fmt: skip
    told = follows(RELAY, *joined([dhcp.answer(), dhcp.answer(A, dst=A.address)]))
    return [*made, told, *[one + told + one for one in made], follows(RELAY) + made[0]]


def seeds() -> list[bytes]:
    """Every frame of every kind by itself, each golden scenario as a whole, and some mixed."""
    valid = [("downlink", f) for f in [*frames.of_the_overlay(), *frames.captured()]]
    valid += [("uplink", f) for f in frames.of_the_uplink()]
    short = [one for one in valid if len(one[1]) < 2000]
    made = [step(role, frame, op) for role, frame in valid for op in (0, MEND | EXPLAIN)]
    made += [b"".join(step(*one) for one in scenario) for scenario in golden_frames()]
    for i in range(0, len(short), 4):
        for hold in (False, True):
            made.append(b"".join(step(*one, hold=hold) for one in short[i : i + 8]))
    return made + conversations() + of_the_relay() + odd.seeds()
