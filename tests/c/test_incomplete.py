"""RFC 792: "If a host reassembling a fragmented datagram cannot complete the reassembly due to
missing fragments within its time limit it discards the datagram and it may send a time exceeded
message. If fragment zero is not available then no time exceeded need be sent at all." RFC 1122
section 3.3.2: it must.
"""

import pytest
from scapy.layers.inet import ICMP, IP, UDP

from tests.c import wire
from tests.c.packets import complaint, inside, ping, tcp, udp
from tests.c.places import GATEWAY, NET, SERVER, WEB, A
from tests.c.test_rule_change import one
from tests.c.world import over
from tests.oracle.fragments import cut

BIG = bytes(4000)


def pieces(packet, role: str, longest: int = 1500) -> list[bytes]:
    make = wire.plain if role == "uplink" else lambda p, **_: over(A, p, inner={"type": 0x0800})
    return [make(piece, type=0x0800) for piece in cut(bytes(packet), longest)]


def late(world, role: str, *frames: bytes):
    """What is said when the rest has not come."""
    assert not world.inject(role, *frames)
    world.now_s += 15
    return world.inject(role)


OUT = udp(dst=NET, data=BIG)
IN = udp(NET, SERVER.secondary, dport=7000, data=BIG)


def test_a_workload_is_told_by_its_gateway(world):
    """RFC 1122 section 3.3.2."""
    frames = pieces(OUT, "downlink")
    told = one(late(world, "downlink", *frames[:2]))
    assert (told.tep, told.ip.src, told.ip.dst) == (A.tep, GATEWAY[WEB][0], A.address)
    assert (told.ip[ICMP].type, told.ip[ICMP].code) == (11, 1)
    assert (inside(told).src, inside(told).dst, inside(told).flags) == (A.address, NET, "MF")
    assert world.drops() == {"FRAGMENT_TIMEOUT": 2}


def test_whoever_a_rule_lets_in_is_told_by_the_address_it_knows(world):
    told = one(late(world, "uplink", *pieces(IN, "uplink")[:1]))
    assert (told.role, told.ip.src, told.ip.dst) == ("uplink", SERVER.secondary, NET)
    assert (told.ip[ICMP].type, told.ip[ICMP].code) == (11, 1)


def test_so_is_the_peer_of_a_session(world):
    out = one(world.down(A, udp()))
    back = IP(src=NET, dst=out.ip.src) / UDP(sport=53, dport=out.ip.sport) / BIG
    told = one(late(world, "uplink", *pieces(back, "uplink")[:1]))
    assert (told.ip[ICMP].code, told.ip.dst) == (1, NET)


def test_so_it_is_where_a_rule_lets_nobody_in(world):
    """The workload dialled it: a session answers for its replies, no rule does."""
    world.policy.defaults = (1, 0)
    world.commit()
    out = one(world.down(A, udp()))
    back = IP(src=NET, dst=out.ip.src) / UDP(sport=53, dport=out.ip.sport) / BIG
    told = one(late(world, "uplink", *pieces(back, "uplink")[:1]))
    assert (told.ip[ICMP].type, told.ip[ICMP].code, told.ip.dst) == (11, 1, NET)
    back[UDP].sport = 54
    assert not late(world, "uplink", *pieces(back, "uplink")[:1])


@pytest.mark.parametrize("left", [True, False], ids=["goes on", "is over"])
def test_so_it_is_while_its_session_goes_on(world, left):
    """After a commit, too, that no session has been judged by yet."""
    out = one(world.down(A, udp()))
    back = IP(src=NET, dst=out.ip.src) / UDP(sport=53, dport=out.ip.sport) / BIG
    assert not world.inject("uplink", *pieces(back, "uplink")[:1])
    if not left:
        del world.policy.nat["snat"]
    world.dp.commit(world.policy.tables(), 2)
    world.now_s += 15
    assert len(world.inject("uplink")) == left


NOBODY = {
    "no first piece": ("downlink", pieces(OUT, "downlink")[1:]),
    "no first piece, uplink": ("uplink", pieces(IN, "uplink")[1:]),
    "a stranger": ("uplink", pieces(udp(NET, SERVER.secondary, dport=99, data=BIG), "uplink")[:1]),
    "TCP of a stranger": (
        "uplink",
        pieces(tcp("A", NET, SERVER.secondary, dport=99) / BIG, "uplink")[:1],
    ),
}


@pytest.mark.parametrize("role, frames", NOBODY.values(), ids=NOBODY)
def test_nobody_is_told(world, role, frames):
    """RFC 1122 section 3.3.2."""
    assert not late(world, role, *frames)
    assert world.dp.totals()["made"] == 0


def test_never_about_an_icmp_error(world):
    """RFC 1812 section 4.3.2.7."""
    out = one(world.down(A, udp()))
    error = complaint(out, A.address)
    error[IP].dst = NET
    assert not late(world, "downlink", *pieces(bytes(error / BIG), "downlink")[:1])


def test_about_a_ping(world):
    told = one(late(world, "downlink", *pieces(ping() / BIG, "downlink")[:1]))
    assert (told.ip[ICMP].type, told.ip[ICMP].code) == (11, 1)


def test_what_an_overlap_ended_is_not_told_of(world):
    whole = pieces(OUT, "downlink")
    other = pieces(udp(dst=NET, data=b"x" * 4000), "downlink")
    assert not late(world, "downlink", whole[0], other[0])


def test_at_the_rate_of_all_that_we_make(world):
    """RFC 1812 section 4.3.2.8."""
    frames = [pieces(udp(dst=NET, data=BIG, id=i), "downlink")[0] for i in range(100)]
    assert len(late(world, "downlink", *frames)) == 50
    assert world.dp.totals()["unmade"] == 50


def test_housekeeping_counts_it_too(world):
    world.inject("downlink", pieces(OUT, "downlink")[0])
    world.sweep(after_s=15)
    assert world.dp.totals()["made"] == 1
