"""egress.c: no overlay source leaves by the uplink but by a NO_SNAT rule or from a routed segment.

Packets of known sessions pass the stages by and are not asked (plain.c); that each session's source
was asked before, and is judged again after every change that concerns it, is what is shown here.
"""

import pytest

from tests.c.packets import answer, gre, ping, tcp, udp
from tests.c.places import NET, PLAIN, PUBLICS, ROUTED, SERVER, A, B, C, R
from tests.c.world import NO_SNAT, ip, nat, over, source

NOWHERE = ip("10.99.1.3")
DATA = bytes(40)  # shorter ones are not plain
OURS = {public.secondary for public in PUBLICS}


def plain_packets(w) -> int:
    return sum(one["plain"] for one in w.dp.performance())


def entered(w) -> int:
    return w.dp.stages()["egress"]


def test_what_leaves_is_ours_or_allowed(world):
    packets = [
        *[(vm, udp(vm.address, dport=d)) for vm in (A, B, C, R) for d in (53, 99)],
        *[(vm, ping(vm.address)) for vm in (A, B, C, R, PLAIN)],
        *[(vm, tcp("S", vm.address)) for vm in (A, B, C, R, PLAIN)],
        (R, gre(R.address)),
        (A, udp(dst="172.16.5.5")),
    ]
    for _ in range(3):
        for vm, packet in packets:
            for seen in world.down(vm, packet):
                allowed = OURS | ({PLAIN.address} if vm is PLAIN else set())
                allowed |= {A.address} if packet.dst == "172.16.5.5" else set()
                assert seen.ip.src in allowed
    assert world.drops() == {}


FLOWS = {
    "translated": (A, udp(data=DATA)),
    "routed": (PLAIN, udp(PLAIN.address, data=DATA)),
    "exempt": (A, udp(dst="172.16.5.5", data=DATA)),
}


@pytest.mark.parametrize("vm, packet", FLOWS.values(), ids=FLOWS)
def test_a_session_s_first_packet_is_asked_the_next_pass_by(world, vm, packet):
    world.down(vm, packet)
    asked, plain = entered(world), plain_packets(world)
    assert asked == 1
    assert world.down(vm, packet)
    assert (entered(world) - asked, plain_packets(world) - plain) == (1, 1)  # counted, not run
    judged = world.dp.totals()["decisions"]
    world.commit()  # whatever it may have changed
    assert world.dp.totals()["decisions"] == judged + 1
    assert world.down(vm, packet)
    assert plain_packets(world) - plain == 2


@pytest.mark.parametrize(
    "vm, packet",
    [
        (PLAIN, udp(NET, PLAIN.address, dport=9)),
        (B, udp(NET, SERVER.secondary, dport=7000)),
    ],
    ids=["routed", "door"],
)
def test_so_is_the_first_answer_of_what_began_outside(world, vm, packet):
    (seen,) = world.up(packet)
    frame = over(vm, answer(seen, data=DATA))
    before = plain_packets(world)
    world.inject("downlink", frame)
    assert plain_packets(world) == before
    world.inject("downlink", frame)
    assert plain_packets(world) == before + 1


def test_one_that_keeps_its_way_leaves_in_the_new_rules_name(world):
    """Its NO_SNAT rule is gone, another one yields the same; the new next hop is not known yet."""
    packet = udp(dst="172.16.5.5", data=DATA)
    assert world.down(A, packet)
    world.policy.nat = {"other": nat(21, NO_SNAT, source("192.168.0.0", 16))}
    world.policy.routes["default"] = world.policy.routes["default"]._replace(next_hop_be=NOWHERE)
    world.commit()
    assert world.down(A, packet)
    world.policy.nat = {}
    world.commit()
    assert not world.down(A, packet)
    assert world.drops() == {"NO_NAT": 1}


def test_a_segment_that_is_routed_no_more(world):
    """Its sessions pass the stages by until the commit, and not one packet leaves after it."""
    packet = udp(PLAIN.address, data=DATA)
    for _ in range(3):
        assert world.down(PLAIN, packet)
    world.policy.segments = [
        s._replace(flags=0) if s.vni == ROUTED else s for s in world.policy.segments
    ]
    world.commit()
    assert not world.down(PLAIN, packet)
    assert world.drops() == {"NO_NAT": 1}


def test_answers_to_who_was_let_into_it(world):
    """A session that began outside: neither the first nor the second answer leaves any more."""
    (seen,) = world.up(udp(NET, PLAIN.address, dport=9))
    frame = over(PLAIN, answer(seen, data=DATA))
    for _ in range(2):
        assert world.inject("downlink", frame)
    world.policy.segments = [
        s._replace(flags=0) if s.vni == ROUTED else s for s in world.policy.segments
    ]
    world.commit()
    for _ in range(3):
        assert not world.inject("downlink", frame)
    assert world.drops() == {"NO_NAT": 3}
