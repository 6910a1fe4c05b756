"""egress.c: no overlay source leaves by the uplink but by a NO_SNAT rule or from a routed segment.

Packets of known sessions pass the stages by and are not asked (plain.c); that each session's source
was asked before, is judged again after every change that concerns it, and asked packet by packet
until then, is what is shown here. Once decided again, its workload is told (3/13; prohibited() says
that nothing else was sent).
"""

import pytest

from pcg.reconcile import records as r
from tests.c.packets import answer, gre, ping, prohibited, tcp, udp
from tests.c.places import (
    NET,
    PLAIN,
    POOL_A,
    POOL_B,
    PUBLICS,
    RED,
    RED_POOL,
    ROUTED,
    SERVER,
    WEB,
    A,
    B,
    C,
    R,
)
from tests.c.world import NO_SNAT, SNAT, ip, nat, over, source

NOWHERE = ip("10.99.1.3")
DATA = bytes(40)  # shorter ones are not plain
OURS = {public.secondary for public in PUBLICS}


def plain_packets(w) -> int:
    return sum(one["plain"] for one in w.dp.performance())


def entered(w) -> int:
    return w.dp.stages()["egress"]


def test_who_is_in_a_routed_segment_leaves_by_its_own_addresses_only(world):
    """No gateway is told such a port, but a subnet may change before its ports do. A second packet
    is plain: it would pass the last stage by, so there must be no session for it."""
    world.policy.nat = {}
    world.commit()
    world.dp.put("ports", [A.record._replace(vni=ROUTED)])
    world.sweep()
    for _ in range(2):
        sent = world.dp.inject("downlink", [over(A, udp(data=DATA))], world.now_ns)
        assert [one.role for one in sent] == ["downlink"]  # its sender is told
    assert world.drops() == {"NO_NAT": 2}
    assert world.dp.sessions() == []


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
    assert prohibited(world.down(A, packet))  # that, and nothing by the uplink
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
    assert prohibited(world.down(PLAIN, packet))
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
        assert prohibited(world.inject("downlink", frame))
    assert world.drops() == {"NO_NAT": 3}


def published(w) -> None:
    """In force, and no session has been judged by it."""
    w.dp.commit(w.policy.tables(), 1)


def without_address(w) -> None:
    del w.policy.nat["snat"]
    w.policy.publics = tuple(p for p in w.policy.publics if p not in (POOL_A, POOL_B))


def without_exemption(w) -> None:
    del w.policy.nat["no_snat"]


def without_routed(w) -> None:
    flags = [s._replace(flags=0) if s.vni == ROUTED else s for s in w.policy.segments]
    w.policy.segments = flags


TAKEN = {"translated": without_address, "exempt": without_exemption, "routed": without_routed}


class TestBetweenCommitAndJudgement:
    """Housekeeping may be 250 ms late: the plain way asks by itself until then."""

    @pytest.mark.parametrize("name", TAKEN)
    def test_what_was_taken_away_leaves_no_more(self, world, name):
        vm, packet = FLOWS[name]
        for _ in range(3):
            assert world.down(vm, packet)
        assert plain_packets(world) == 2
        TAKEN[name](world)
        published(world)
        for _ in range(3):
            assert not world.down(vm, packet)  # nor is it told yet: no packet is left as it came
        assert (plain_packets(world), world.drops()) == (2, {"EGRESS_SOURCE": 3})

    @pytest.mark.parametrize("name", TAKEN)
    def test_the_others_go_the_plain_way_on(self, world, name):
        others = [flow for other, flow in FLOWS.items() if other != name]
        for vm, packet in others:
            world.down(vm, packet)
        TAKEN[name](world)
        published(world)
        before = plain_packets(world)
        for vm, packet in others:
            assert world.down(vm, packet)
        assert plain_packets(world) == before + 2

    def test_answers_to_the_workload_are_not_asked(self, world):
        (seen,) = world.down(A, udp(data=DATA))
        world.up(answer(seen, data=DATA))
        published(world)
        before = plain_packets(world)
        assert world.up(answer(seen, data=DATA))
        assert plain_packets(world) == before + 1

    def test_a_commit_that_concerns_nobody_is_judged_too(self, world):
        """Its touches name no session; until housekeeping has seen that, packets are asked."""
        world.down(A, udp(data=DATA))
        world.dp.commit(world.policy.tables(), 1, [r.Touch(2**32 - 1, bytes(4), bytes(4), 0, 0)])
        assert world.down(A, udp(data=DATA))
        without_address(world)
        published(world)
        world.sweep()
        published(world)
        assert prohibited(world.down(A, udp(data=DATA)))
        assert world.drops() == {"NO_NAT": 1}


class TestTheSamePrefixInTwoVrfs:
    """192.168.99.9 is A's in the blue VRF, and another workload's in the red one."""

    PACKET = udp(data=DATA)

    def exempt(self, world, id_: int) -> None:
        """The red one is, by a rule of that number; the blue one is translated."""
        red = nat(id_, NO_SNAT, source("192.168.99.0", 24), vrf=1)
        world.policy.nat = {"red": red, "snat": world.policy.nat["snat"]}
        world.commit()

    def sources(self, world, vm) -> set[str]:
        return {seen.ip.src for _ in range(2) for seen in world.down(vm, self.PACKET)}

    def test_what_exempts_one_does_not_exempt_the_other(self, world):
        self.exempt(world, 30)
        assert self.sources(world, RED) == {RED.address}
        assert self.sources(world, A) <= {POOL_A.secondary, POOL_B.secondary}

    @pytest.mark.parametrize("plain", [False, True])
    def test_a_rule_of_the_same_number_in_the_other(self, world, plain):
        """The red VRF's session carries the number of a rule that is the blue one's by now."""
        self.exempt(world, 30)
        assert self.sources(world, RED) == {RED.address}
        world.policy.nat = {"blue": nat(30, NO_SNAT, source("192.168.99.0", 24))}
        published(world)
        packet = self.PACKET if plain else udp(data=b"short")
        assert not world.down(RED, packet)
        assert world.drops() == {"EGRESS_SOURCE": 1}
        assert world.down(A, self.PACKET)

    def test_routed_in_the_other(self, world):
        self.exempt(world, 30)
        assert self.sources(world, RED) == {RED.address}
        flags = [s._replace(flags=1) if s.vni == WEB else s for s in world.policy.segments]
        world.policy.segments = flags
        world.policy.nat = {"red": nat(10, SNAT, source("0.0.0.0", 0), RED_POOL, vrf=1)}
        published(world)
        assert not world.down(RED, self.PACKET)
        assert world.drops() == {"EGRESS_SOURCE": 1}
        assert self.sources(world, A) == {A.address}

    def test_of_another_protocol_only(self, world):
        """The rule that let it out now says another protocol: the number alone does not speak."""
        self.exempt(world, 30)
        assert self.sources(world, RED) == {RED.address}
        red = world.policy.nat["red"]
        match = red.match._replace(protocol=6)
        world.policy.nat["red"] = red._replace(match=match)
        published(world)
        assert not world.down(RED, self.PACKET)
        assert world.drops() == {"EGRESS_SOURCE": 1}
