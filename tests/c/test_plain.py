"""plain.c: what goes past the stages is what the stages would have sent, byte for byte.

Traced packets take the stages, so here every burst goes twice: past them, and through them. What
came out and what was counted must be the same.
"""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from pcg.datapath import pack
from tests.c import wire, wrong
from tests.c.packets import answer, ping, tcp, udp
from tests.c.places import NET, A, B, C
from tests.c.world import World, over

SHARED = settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ROLES = ("downlink", "uplink")


@dataclass
class Went:
    out: list[bytes]
    counted: dict
    plain: int  # packets that went past the stages


MOVING = ("packets", "bytes", "state")
SESSION_MOVING = [f.name for f in pack.layout("session").fields if f.name.endswith(MOVING)]


def sessions(world: World) -> list:
    """Their records, not in words: they are asked for some 10,000 times."""
    found, cursor = [], 0
    while True:
        data, cursor = world.dp.sessions_raw(cursor, 256)
        if not data:
            return found
        found += pack.unpack("session", data)


def counts(world: World) -> dict:
    """Every counter that a forwarded or a dropped packet moves, of all objects."""
    dp = world.dp
    rows = {
        **{("segment", row["id"]): row for row in dp.counters("segments")},
        **{("nic", row["name"]): row for row in dp.nics()},
    }
    of_objects = {
        (*where, key): value
        for where, row in rows.items()
        for key, value in row.items()
        if key.endswith(MOVING)
    }
    of_objects |= {
        ("session", one.index, key): getattr(one, key)
        for one in sessions(world)
        for key in SESSION_MOVING
    }
    totals = dp.totals()
    kept = ("rx", "tx", "made", "punt", "held", "joined", "sessions", "mappings")
    return {k: totals[k] for k in kept} | dp.stages() | dp.drops() | of_objects


def goes(world: World, role: str, frames: list[bytes]) -> Went:
    before, plain = counts(world), plain_packets(world)
    out = world.dp.inject(role, frames, world.now_ns)
    after = counts(world)
    moved = {
        name: after[name] - before.get(name, 0) if isinstance(after[name], int) else after[name]
        for name in after
        if after[name] != before.get(name, 0)
    }
    return Went(out, moved, plain_packets(world) - plain)


def plain_packets(world: World) -> int:
    return sum(one["plain"] for one in world.dp.performance())


def same_both_ways(world: World, role: str, frames: list[bytes], in_order: bool = True) -> Went:
    """Past the stages as through them. Returns how it went past."""
    world.dp.inject(role, frames, world.now_ns)  # what they are the first of is made here
    world.now_s += 1  # each time the same allowance of ICMP errors
    past = goes(world, role, frames)
    world.now_s += 1
    world.dp.trace_start(10_000_000)
    through = goes(world, role, frames)
    world.dp.trace_start(0)
    assert through.plain == 0
    order = list if in_order else sorted
    assert order(past.out) == order(through.out)
    assert past.counted == through.counted
    return past


@pytest.fixture
def known(world) -> dict[str, list[bytes]]:
    """Role -> frames of known sessions, and of workloads among each other."""
    down, up = [], []
    for sport in (1111, 2222):
        (out,) = world.down(A, udp(sport=sport, data=b"x" * 30))
        up.append(wire.plain(answer(out, data=b"y" * 40)))
        down.append(over(A, udp(sport=sport, data=b"z" * 50)))
        (out,) = world.down(A, tcp("S", sport=sport))
        world.up(answer(out, flags="SA"))
        up.append(wire.plain(answer(out, flags="A")))
        down.append(over(A, tcp("A", sport=sport)))
        down += [over(A, udp(dst=to.address, sport=sport, data=b"e" * 20)) for to in (B, C)]
    frames = {"downlink": down, "uplink": up}
    for role in ROLES:  # the first ACK is news to a session: from here on none is
        world.dp.inject(role, frames[role], world.now_ns)
    return frames


@pytest.mark.parametrize("role", ROLES)
def test_known_sessions_go_past_the_stages(world, known, role):
    went = same_both_ways(world, role, known[role])
    assert went.plain == len(went.out) == len(known[role])


@pytest.mark.parametrize("n", [1, 3, 4, 5, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200])
@pytest.mark.parametrize("role", ROLES)
def test_any_number_at_once(world, known, role, n):
    frames = (known[role] * n)[:n]
    went = same_both_ways(world, role, frames)
    assert went.plain == len(went.out) == n


def test_a_burst_of_all_kinds(world, known):
    """Those that are not plain come out behind, in their own order; none is lost."""
    odd = [
        over(A, ping(id_=9)),
        over(A, udp(sport=3333, data=b"first of its session")),
        over(A, udp(sport=3333, data=b"second of its session")),
        over(A, udp(sport=1111, data=b"ttl" * 20, ttl=1)),
        over(A, tcp("FA", sport=1111)),
        over(A, udp(src=NET, dst=A.address, data=b"spoofed" * 5)),
        b"short",
    ]
    known_ones = known["downlink"]
    mixed = [f for pair in zip(odd, known_ones, strict=False) for f in pair]
    went = same_both_ways(world, "downlink", mixed, in_order=False)
    assert 0 < went.plain < len(mixed)
    assert {"TTL_EXPIRED", "SOURCE_SPOOFED", "FRAME_SHORT"} <= went.counted.keys()


LONG = b"x" * 40  # of a packet that no header is missing of
CE = {"outer": {"tos": 3}}
BETWEEN = IP(src=A.address, dst=B.address) / UDP(sport=1000, dport=53)
# fmt: off
ODD = [
    # what takes the stages        it, and one of the same flow behind it
    ("shorter than a TCP header",  udp(data=b"short"),         udp(data=LONG),      {}),
    ("met congestion",             udp(data=LONG, tos=2),      udp(data=LONG),      CE),
    ("the last of its side",       tcp("FA"),                  tcp("A"),            {}),
    ("longer than its way allows", BETWEEN / Raw(LONG * 224), BETWEEN / Raw(LONG), {}),
]
# fmt: on


@pytest.mark.parametrize("what, odd, behind, around", ODD, ids=[row[0] for row in ODD])
def test_order_of_a_flow_is_kept(world, known, what, odd, behind, around):
    """Though the stages come after the burst: none of its flow goes past them from there on."""
    for packet in (tcp("S"), behind):
        world.down(A, packet)
    before, after = over(A, behind), over(A, behind)
    went = same_both_ways(world, "downlink", [before, over(A, odd, **around), after])
    assert went.plain == 1


def test_other_flows_need_not_wait(world, known):
    odd = over(A, udp(sport=1111, data=b"short"))
    assert goes(world, "downlink", [odd, *known["downlink"]]).plain == len(known["downlink"]) - 1


def test_who_dials_the_address_that_it_leaves_by(world):
    """LAND: no session is made, so nobody answers by it either."""
    (out,) = world.down(A, udp(data=LONG))
    frame = over(A, udp(dst=out.ip.src, data=LONG))
    assert same_both_ways(world, "downlink", [frame, frame]).counted["LAND"] == 2
    back = wire.plain(udp(out.ip.src, out.ip.src, data=LONG))
    assert same_both_ways(world, "uplink", [back]).counted["LAND"] == 1


@pytest.mark.parametrize("role", ROLES)
def test_every_bit_of_the_headers(world, known, role):
    """One bit wrong in any header: forwarded or refused, and for which reason, as by the stages."""
    for frame in known[role][:2]:
        for one in wrong.by_one_bit(frame):
            same_both_ways(world, role, [one])


@pytest.mark.parametrize("role", ROLES)
def test_cut_and_padded_anywhere(world, known, role):
    for frame in known[role][:2]:
        for one in wrong.by_their_end(frame):
            same_both_ways(world, role, [one])


@given(role=st.sampled_from(ROLES), picks=st.lists(wrong.PICK, min_size=1, max_size=20))
@SHARED
def test_any_bytes_wrong_in_any_burst(world, known, role, picks):
    same_both_ways(world, role, wrong.burst(known[role], picks), in_order=False)


def test_a_payload_changed_under_way_goes_on_to_who_can_tell(world, known):
    """Its own checksum covers it, and still does: the receiver drops it (RFC 8926 section 4.3
    would have it dropped here, which reading every payload would cost)."""
    frame = bytearray(known["downlink"][0])
    frame[-1] ^= 1
    went = same_both_ways(world, "downlink", [bytes(frame)])
    assert went.plain == 1
    with pytest.raises(AssertionError, match="checksum"):
        wire.read(went.out[0], True)
