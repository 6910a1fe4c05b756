"""Ageing: by protocol, TCP by what was seen; RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508 REQ-1.

No test waits: `world.now_s` is the clock.
"""

import pytest

from tests.c.packets import answer, flow, gre, one, ping, tcp, udp
from tests.c.places import NET, PLAIN, SERVER, A, B, R
from tests.c.world import NO_SNAT, nat, over, source

UDP_S, ICMP_S, OTHER_S, OPENING_S, ESTABLISHED_S, CLOSING_S = 300, 60, 300, 240, 7440, 240


def lives(w) -> int:
    return w.dp.totals()["sessions"]


def assert_ends_after(w, idle_s: float) -> None:
    """Idle for exactly that long it still lives; a second more and it is gone."""
    w.sweep(after_s=idle_s)
    assert lives(w) == 1
    w.sweep(after_s=1.001)
    assert lives(w) == 0
    assert w.dp.totals()["mappings"] == 0


def handshake(w, vm=A):
    out = one(w.down(vm, tcp("S", vm.address)))
    w.up(answer(out, "SA", b""))
    w.down(vm, tcp("A", vm.address))
    return out


@pytest.mark.parametrize(
    "packet, idle_s",
    [(udp(), UDP_S), (ping(), ICMP_S), (tcp("S"), OPENING_S)],
    ids=["udp", "icmp", "tcp opening"],
)
def test_by_protocol(world, packet, idle_s):
    """RFC 4787 REQ-5, RFC 5508 REQ-2."""
    world.down(A, packet)
    assert_ends_after(world, idle_s)


def test_other_protocols(world):
    world.down(R, gre(R.address))
    assert_ends_after(world, OTHER_S)


@pytest.mark.parametrize("packet", [udp(), ping(), tcp("S")], ids=["udp", "icmp", "tcp"])
def test_either_direction_refreshes(world, packet):
    """RFC 4787 REQ-6 asks it of the outbound one; we let the answer do it, too."""
    out = one(world.down(A, packet))
    world.sweep(after_s=50)
    assert world.up(answer(out))
    world.sweep(after_s=50)
    assert world.down(A, packet)
    world.sweep(after_s=50)
    assert lives(world) == 1


WHOSE = ("SNAT", "NO_SNAT of a routed segment")


class TestByRule:
    """RFC 4787 REQ-5b: "The value of the NAT UDP mapping timer MAY be configurable." RFC 5382
    REQ-5a: "The value of the NAT idle-timeouts MAY be configurable."
    """

    TIMERS = (250, 8000, 260, 125, 65, 305)  # as enum pcgdp_timer has them

    @pytest.fixture(autouse=True)
    def timers(self, world):
        world.policy.nat["as it is"] = nat(21, NO_SNAT, source(PLAIN.address, 32))
        for rule in ("snat", "reflexive", "as it is"):
            world.policy.nat[rule] = world.policy.nat[rule]._replace(timeouts=self.TIMERS)
        world.commit()

    @pytest.mark.parametrize("vm", [A, PLAIN], ids=WHOSE)
    @pytest.mark.parametrize(
        "packet, idle_s",
        [(udp, 125), (ping, 65), (lambda src: tcp("S", src), 250)],
        ids=["udp", "icmp", "tcp opening"],
    )
    def test_by_protocol(self, world, vm, packet, idle_s):
        """RFC 5508 REQ-2."""
        world.down(vm, packet(vm.address))
        assert world.dp.sessions()[0]["timeout_s"] == idle_s
        assert_ends_after(world, idle_s)

    @pytest.mark.parametrize("vm", [R, PLAIN], ids=["REFLEXIVE", WHOSE[1]])
    def test_other_protocols(self, world, vm):
        world.down(vm, gre(vm.address))
        assert_ends_after(world, 305)

    @pytest.mark.parametrize("vm", [A, PLAIN], ids=WHOSE)
    def test_established_and_closing(self, world, vm):
        """RFC 5382 REQ-5, RFC 7857 section 2.1."""
        out = handshake(world, vm)
        world.sweep(after_s=8000)
        assert lives(world) == 1
        world.down(vm, tcp("FA", vm.address))
        world.up(answer(out, "FA", b""))
        assert_ends_after(world, 260)

    def test_of_other_rules_they_are_not(self, world):
        world.up(udp(NET, SERVER.secondary, dport=7000))
        assert_ends_after(world, UDP_S)

    @pytest.mark.parametrize("vm", [A, PLAIN], ids=WHOSE)
    def test_a_change_is_for_sessions_that_live(self, world, vm):
        world.down(vm, udp(vm.address))
        for rule in ("snat", "as it is"):
            world.policy.nat[rule] = world.policy.nat[rule]._replace(timeouts=(0,) * 6)
        world.commit()
        assert_ends_after(world, UDP_S)

    def test_a_routed_segment_s_session_goes_on_without_the_rule(self, world):
        """In its name until the next packet, by the gateway's timers from then on."""
        world.down(PLAIN, udp(PLAIN.address))
        del world.policy.nat["as it is"]
        world.commit()
        assert [s["timeout_s"] for s in world.dp.sessions()] == [125]
        world.down(PLAIN, udp(PLAIN.address))
        world.sweep()
        assert_ends_after(world, UDP_S)


class TestTcp:
    def test_established(self, world):
        """RFC 5382 REQ-5."""
        handshake(world)
        assert_ends_after(world, ESTABLISHED_S)

    def test_from_outside(self, world):
        got = one(world.up(tcp("S", NET, SERVER.secondary, dport=80)))
        world.down(B, answer(got, "SA", b""))
        world.up(tcp("A", NET, SERVER.secondary, dport=80))
        assert_ends_after(world, ESTABLISHED_S)

    def test_a_syn_and_its_answer_are_no_connection_yet(self, world):
        """RFC 7857 section 2.1."""
        out = one(world.down(A, tcp("S")))
        world.up(answer(out, "SA", b""))
        assert_ends_after(world, OPENING_S)

    def test_simultaneous_open(self, world):
        """RFC 5382 REQ-2."""
        out = one(world.down(A, tcp("S")))
        assert world.up(answer(out, "S", b""))
        world.down(A, tcp("SA"))
        world.up(answer(out, "SA", b""))
        assert_ends_after(world, ESTABLISHED_S)

    def test_closed_by_both(self, world):
        """RFC 5382 REQ-5."""
        out = handshake(world)
        world.down(A, tcp("FA"))
        world.up(answer(out, "FA", b""))
        assert_ends_after(world, CLOSING_S)

    def test_half_closed_is_still_established(self, world):
        handshake(world)
        world.down(A, tcp("FA"))
        assert_ends_after(world, ESTABLISHED_S)

    @pytest.mark.parametrize("way", ["out", "in"])
    def test_reset_shortens_and_does_not_refresh(self, world, way):
        """RFC 7857 section 2.2: the session stays a while, for a RST may be forged."""
        out = handshake(world)
        world.sweep(after_s=100)
        assert world.down(A, tcp("R")) if way == "out" else world.up(answer(out, "R", b""))
        assert_ends_after(world, CLOSING_S - 100)

    @pytest.mark.parametrize("traced", [False, True], ids=["plain", "stages"])
    @pytest.mark.parametrize(
        "goes_on, idle_s", [("its receiver", CLOSING_S), ("its sender", ESTABLISHED_S)]
    )
    def test_who_goes_on_has_not_reset_it(self, world, traced, goes_on, idle_s):
        """RFC 6146 section 3.5.2.2: a forged RST, or one that its receiver took for old (RFC 5961),
        does not shorten the life of a connection that goes on."""
        out = handshake(world)
        world.up(answer(out, "R", b""))
        if traced:
            world.dp.trace_start(1)
        assert world.down(A, tcp("A")) if goes_on == "its receiver" else world.up(answer(out, "A"))
        assert_ends_after(world, idle_s)

    @pytest.mark.parametrize("ending", ["R", "FA"])
    def test_a_new_connection_of_the_same_ports(self, world, ending):
        """What the old one ended by does not shorten the new one's life."""
        out = handshake(world)
        world.down(A, tcp(ending))
        world.up(answer(out, ending, b""))
        world.now_s += 10
        assert flow(handshake(world)) == flow(out)
        assert_ends_after(world, ESTABLISHED_S)


class TestWhatReturns:
    def test_mapping_lives_as_long_as_a_session_uses_it(self, world):
        """RFC 7857 section 11."""
        first = one(world.down(A, udp(dport=1)))
        world.sweep(after_s=200)
        world.down(A, udp(dport=2))
        world.sweep(after_s=200)  # the first session ends, the second keeps the mapping
        assert (lives(world), world.dp.totals()["mappings"]) == (1, 1)
        assert flow(one(world.down(A, udp(dport=3))))[::2] == flow(first)[::2]

    def test_table_empties_and_fills_again(self, world):
        for _ in range(3):
            frames = [over(A, udp(sport=1 + i)) for i in range(500)]
            assert len(world.inject("downlink", *frames)) == 500
            assert world.dp.totals()["mappings"] == lives(world) == 500
            world.sweep(after_s=UDP_S + 2)
            assert world.dp.totals()["mappings"] == lives(world) == 0
        assert world.dp.totals()["sessions_ended"] == 1500

    def test_a_session_that_ended_is_decided_anew(self, world):
        out = one(world.down(A, udp()))
        world.sweep(after_s=UDP_S + 2)
        assert not world.up(answer(out))
        assert sum(world.drops().values()) == 1


def test_the_report_says_how_long_still(world):
    world.down(A, udp())
    (row,) = world.dp.sessions()
    assert (row["timeout_s"], row["protocol"], row["nat_id"]) == (UDP_S, "udp", 9)
