"""plain.c hands first packets over as the parsing stages would have left them.

As test_plain.py: every burst goes twice, handed over and, traced, through all stages; before each
time its sessions are made to end. One port is there to draw, so that both times draw the same.
"""

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import UDP

from tests.c import wire, wrong
from tests.c.packets import ping, tcp, udp
from tests.c.places import GATEWAY, NET, PLAIN, SERVER, TEP3, WEB, A, B, C, R
from tests.c.test_plain import ROLES, SHARED, Went, goes
from tests.c.world import World, over

AGE_S = 10_000  # older than any session becomes


@pytest.fixture
def world(world) -> World:
    world.policy.ports = (40_000, 40_000)
    world.commit()
    return world


def from_nothing(world: World, role: str, frames: list[bytes]) -> Went:
    world.sweep(after_s=AGE_S)
    world.sweep(after_s=1)
    assert world.dp.totals()["sessions"] == 0
    went = goes(world, role, frames)
    return replace(went, counted=nameless(went.counted))


def nameless(counted: dict) -> dict:
    """Sessions by what was counted of them: which record each has is another thing each time."""
    sessions = defaultdict(list)
    rest = {}
    for name, value in counted.items():
        if name[0] == "session":
            sessions[name[1]].append((name[2], value))
        else:
            rest[name] = value
    return rest | {"of sessions": sorted(sessions.values())}


def same_both_ways(world: World, role: str, frames: list[bytes]) -> Went:
    handed = from_nothing(world, role, frames)
    world.dp.trace_start(10_000_000)
    through = from_nothing(world, role, frames)
    world.dp.trace_start(0)
    assert sorted(handed.out) == sorted(through.out)
    assert handed.counted == through.counted
    return handed


FIRST = {
    "downlink": [
        over(A, udp(data=b"x" * 30)),
        over(A, tcp("S")),
        over(R, tcp("S", src=R.address), vni=9100),
        over(A, udp(dst=B.address, data=b"east" * 5)),
        over(PLAIN, tcp("S", src=PLAIN.address)),
    ],
    "uplink": [
        wire.plain(udp(NET, SERVER.secondary, dport=7000, data=b"y" * 30)),
        wire.plain(tcp("S", NET, SERVER.secondary)),
        wire.plain(tcp("S", NET, PLAIN.address)),
    ],
}


@pytest.mark.parametrize("role", ROLES)
def test_each_opens_a_session(world, role):
    for frame in FIRST[role]:
        went = same_both_ways(world, role, [frame])
        assert len(went.out) == 1
    assert world.drops() == {}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("flags", ["F", "R", "SA", "FA", "RA", "SF", "A", "", "SEC", "SFRPAU"])
def test_whatever_the_flags_say(world, role, flags):
    source = (A.address, NET) if role == "downlink" else (NET, SERVER.secondary)
    packet = tcp(flags, *source)
    same_both_ways(world, role, [over(A, packet) if role == "downlink" else wire.plain(packet)])


@pytest.mark.parametrize("role", ROLES)
def test_every_bit_of_the_headers(world, role):
    for frame in FIRST[role][:2]:
        for one in wrong.by_one_bit(frame):
            same_both_ways(world, role, [one])


@pytest.mark.parametrize("role", ROLES)
def test_cut_and_padded_anywhere(world, role):
    for frame in FIRST[role][:2]:
        for one in wrong.by_their_end(frame):
            same_both_ways(world, role, [one])


def without_sum(packet):
    packet[UDP].chksum = 0
    return packet


def on_its_last_hop(packet):
    packet.ttl = 1
    return packet


ODD = {  # whom only the stages refuse, each for its own reason
    "a request for an address, to the gateway": over(
        A, udp(dst=GATEWAY[WEB][0], dport=67), vni=WEB
    ),
    "the same from a port of the server": over(A, udp(dst=NET, dport=67, data=b"d" * 20)),
    "to itself": over(A, udp(dst=A.address, data=b"m" * 20)),
    "to the loopback": over(A, tcp("S", dst="127.0.0.1")),
    "another's source": over(A, tcp("S", src=C.address)),
    "behind a TEP that it is not behind": over(A, tcp("S"), tep=TEP3),
    "no sum": over(A, without_sum(udp(data=b"n" * 20))),
    "its last hop": over(A, on_its_last_hop(udp(data=b"t" * 20))),
    "a SYN on its last hop": over(A, on_its_last_hop(tcp("S"))),
    "a ping": over(A, ping()),
    "to the gateway's own address": over(A, tcp("S", dst=GATEWAY[WEB][0])),
    "on another's segment": over(A, tcp("S"), vni=9100),
    "denied": over(A, tcp("S", dst="198.51.100.66")),
    "denied, and said so": over(A, tcp("S", dst="198.51.100.67")),
    "to an Elastic IP, turned round inside": over(
        A, udp(dst=SERVER.elastic, dport=7000, data=b"h" * 20)
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_what_the_stages_refuse(world, what):
    same_both_ways(world, "downlink", [ODD[what]])


def test_a_syn_changed_under_way_opens_nothing(world):
    """Of a known session it would go on to who can tell; but here a session would be made."""
    frame = bytearray(over(A, tcp("S")))
    frame[-3] ^= 1
    went = same_both_ways(world, "downlink", [bytes(frame)])
    assert world.drops() == {"OUTER_UDP_CHECKSUM": 2}
    assert went.out == []
    assert world.dp.totals()["sessions"] == 0


@pytest.mark.parametrize("role", ROLES)
@given(picks=st.lists(wrong.PICK, min_size=1, max_size=70))
@SHARED
def test_any_bytes_wrong_in_any_burst(world, role, picks):
    """One mapping can be made, so the first of a burst has it, and the others find it taken."""
    same_both_ways(world, role, wrong.burst(FIRST[role], picks))


def test_of_one_flow_order_is_kept(world):
    """A packet that is handed over, and one that is parsed by the stages, in turns."""
    frames = [
        over(A, udp(data=bytes([i]) * 20), **({"options": b""} if i % 2 else {})) for i in range(40)
    ]
    went = same_both_ways(world, "downlink", frames)
    assert [frame[-1] for _, frame in went.out] == list(range(40))
