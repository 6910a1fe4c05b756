"""By the uplink nobody speaks in our name: not to a rule that would take it, not by a session."""

from socket import inet_aton

import pytest
from scapy.packet import Raw

from tests.c import wire
from tests.c.packets import complaint, flow, one, ping, tcp, udp
from tests.c.places import (
    NET,
    PLAIN,
    POOL_A,
    RED_POOL,
    SERVER,
    WHOLE,
    A,
    C,
    Public,
    R,
)

LONG = b"x" * 40  # so that a packet of a known session may go past the stages
OURS = {
    "an Elastic IP": POOL_A.elastic,
    "its own Elastic IP": WHOLE.elastic,
    "an Elastic IP of another VRF": RED_POOL.elastic,
    "a secondary address": POOL_A.secondary,
    "a secondary address of another VRF": RED_POOL.secondary,
    "a workload": A.address,
    "nobody, on a segment": "192.168.100.99",
    "a routed segment": PLAIN.address,
    "a segment's gateway": "192.168.99.1",
}


def datagram(*ends, **given):
    return udp(*ends, data=LONG, **given)


def segment(*ends, **given):
    return tcp("A", *ends, **given) / Raw(LONG)


FIRST = {
    "udp": lambda src, dst: udp(src, dst, data=LONG),
    "tcp": lambda src, dst: tcp("S", src, dst),
    "tcp, in the middle": segment,
    "ping": ping,
    "a fragment": lambda src, dst: udp(src, dst, flags="MF", data=LONG),
    "the last fragment": lambda src, dst: udp(src, dst, frag=9, data=LONG),
}


def plain(world) -> int:
    return sum(worker["plain"] for worker in world.dp.performance())


@pytest.mark.parametrize("make", FIRST.values(), ids=FIRST)
@pytest.mark.parametrize("src", OURS.values(), ids=OURS)
def test_rfc2827_4_in_the_name_of_ours(world, src, make):
    """RFC 2827 section 4; to an address that takes everything. Nobody is told."""
    assert not world.up(make(src, WHOLE.secondary))
    assert world.drops() == {"UPLINK_SPOOFED": 1}
    totals = world.dp.totals()
    assert (totals["sessions"], totals["held"], totals["made"]) == (0, 0, 0)


def test_to_a_routed_segment(world):
    for src in (PLAIN.address, A.address, POOL_A.elastic):
        assert not world.up(udp(src, "198.18.7.7" if src != PLAIN.address else "198.18.7.8"))
    assert world.drops() == {"UPLINK_SPOOFED": 3}


def test_whom_it_does_not_mean(world):
    """A neighbour in the VPC; an address that is another VRF's inside, or a narrower route's."""
    world.policy.routes["narrow"] = world.policy.routes["default"]._replace(
        prefix_be=inet_aton("192.168.100.128"), prefix_len=25
    )
    world.policy.routes["red-lone"] = world.policy.routes["red-web"]._replace(
        prefix_be=inet_aton("10.77.0.0"), prefix_len=24
    )
    world.commit()
    for src in ("10.99.1.50", "192.168.100.130", "10.77.0.5"):
        for dst, to in ((PLAIN.address, PLAIN), (WHOLE.secondary, C)):
            seen = one(world.up(udp(src, dst, data=LONG)))
            assert (seen.tep, seen.ip.src, seen.ip.dst) == (to.tep, src, to.address)
    assert world.drops() == {}


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_rfc2827_4_by_no_session_that_was_turned_round_inside(world, kind):
    """RFC 2827 section 4. Both ends of a hairpin are known by addresses of ours; who names them
    from outside reaches neither, whether its packet would take the stages or go past them."""
    make, dport = (datagram, 7003) if kind == "udp" else (segment, 80)
    first = udp(dst=SERVER.elastic, dport=7003) if kind == "udp" else tcp("S", dst=SERVER.elastic)
    there = one(world.down(A, first))
    pool = next(p for p in world.policy.publics if p.elastic == there.ip.src)
    to_callee = make(pool.elastic, SERVER.secondary, sport=there.ip.sport, dport=dport)
    to_caller = make(SERVER.elastic, pool.secondary, sport=dport, dport=there.ip.sport)
    before, went = world.dp.sessions(), plain(world)
    frames = [wire.plain(to_callee), wire.plain(to_caller)] * 8
    assert not world.inject("uplink", *frames)
    assert world.drops() == {"UPLINK_SPOOFED": 16}
    assert plain(world) == went
    assert world.dp.sessions() == before  # neither refreshed nor counted
    again = one(world.down(A, make(dst=SERVER.elastic, dport=dport)))
    assert flow(again) == flow(there)


@pytest.mark.parametrize("src", OURS.values(), ids=OURS)
def test_no_error_about_what_left(world, src):
    out = one(world.down(R, udp(R.address, data=LONG)))
    assert not world.up(complaint(out, src))
    assert world.drops() == {"UPLINK_SPOOFED": 1}
    assert len(world.up(complaint(out, "198.51.100.254"))) == 1  # a router's is passed on


LATER = {
    "an Elastic IP": Public(9, NET, "10.99.1.19"),
    "a secondary address": Public(9, "203.0.113.19", NET),
}


@pytest.mark.parametrize("public", LATER.values(), ids=LATER)
def test_what_becomes_ours_while_it_speaks(world, public):
    """A peer's address is given to us: from then on its packets are not the peer's any more."""
    out = one(world.down(A, udp(data=LONG)))
    answer = wire.plain(udp(NET, out.ip.src, sport=53, dport=out.ip.sport, data=LONG))
    came = wire.plain(udp(NET, WHOLE.secondary, sport=9, data=LONG))
    assert len(world.inject("uplink", answer, came)) == 2
    assert len(world.inject("uplink", answer, came)) == 2
    world.policy.publics = (*world.policy.publics, public)
    world.commit()
    world.sweep(after_s=1)
    world.down(A, udp(data=LONG))
    world.down(C, udp(C.address, NET, sport=53, dport=9, data=LONG))
    before, went = world.drops().get("UPLINK_SPOOFED", 0), plain(world)
    assert not world.inject("uplink", answer, came)
    assert world.drops()["UPLINK_SPOOFED"] == before + 2
    assert plain(world) == went


def test_known_sessions_still_go_past_the_stages(world):
    out = one(world.down(A, udp(data=LONG)))
    answer = wire.plain(udp(NET, out.ip.src, sport=53, dport=out.ip.sport, data=LONG))
    came = wire.plain(udp(NET, WHOLE.secondary, sport=9, data=LONG))
    world.inject("uplink", answer, came)
    went = plain(world)
    assert len(world.inject("uplink", *[answer, came] * 4)) == 8
    assert plain(world) == went + 8
