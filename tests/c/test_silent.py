"""cuts.c, marks.c: sessions end without a packet of theirs, and, where the rule says so, their ends
are told with the numbers that they wait for."""

import pytest
from scapy.layers.inet import TCP

from pcg.reconcile import records as r
from tests.c.packets import answer, flow, ping, tcp, udp
from tests.c.places import NET, PLAIN, POOL_A, POOL_B, SERVER, A, B, ip
from tests.c.test_rule_change import ends, numbers, one, talk
from tests.c.world import NO_SNAT, nat, source

ESTABLISHED_S = 7440
CHANGE, IDLE = 1, 2  # enum pcgdp_reset


def lives(w) -> int:
    return w.dp.totals()["sessions"]


def said(w):
    """What the gateway has to say by itself."""
    return w.inject("uplink")


def by_rule(w, reset: int, name: str = "snat") -> None:
    w.policy.nat[name] = w.policy.nat[name]._replace(reset=reset)
    w.commit()


def fall_idle(w, reset: int = IDLE):
    """An established connection of a rule that says so; nobody speaks for too long."""
    out = talk(w)
    by_rule(w, reset)
    w.sweep(after_s=ESTABLISHED_S + 2)
    return out


class TestPolicy:
    """A session that is no longer allowed ends within a second though nobody speaks."""

    @pytest.mark.parametrize("packet", [udp(), ping(), tcp("S")], ids=["udp", "icmp", "tcp"])
    def test_it_ends_without_a_packet(self, world, packet):
        world.down(A, packet)
        del world.policy.nat["snat"]
        world.commit()
        totals = world.dp.totals()
        assert (totals["sessions"], totals["mappings"], totals["sessions_cut"]) == (0, 0, 1)
        assert not said(world)

    def test_the_firewall_denies_one_side_of_many(self, world):
        for host in range(100):
            world.down(A, udp(dst=f"198.51.100.{host + 100}"))
        half = r.Match(dst_be=ip("198.51.100.128"), dst_len=25)
        world.policy.firewall.insert(0, r.Firewall(5, 0, 1, 2, 0, half, "half"))
        world.commit()
        assert {int(s["fwd_dst"].split(".")[3]) for s in world.dp.sessions()} == set(
            range(100, 128)
        )

    def test_what_the_change_does_not_name_is_not_asked(self, world):
        world.down(A, udp())
        del world.policy.nat["snat"]
        world.commit([r.Touch(0, ip(B.address), bytes(4), 32, 0)])
        assert lives(world) == 1

    def test_of_one_that_a_packet_may_still_come_from_elsewhere_the_source_is_kept(self, world):
        """What is judged again without a packet goes on past the stages."""
        out = talk(world)
        world.commit()
        before = sum(one["plain"] for one in world.dp.performance())
        assert world.down(A, tcp("A") / bytes(40))
        assert world.up(answer(out, "A", bytes(40)))
        assert sum(one["plain"] for one in world.dp.performance()) == before + 2


class TestReset:
    """RFC 9293 section 3.10.7.4: "If an incoming segment is not acceptable, an acknowledgment
    should be sent in reply (unless the RST bit is set)": so a silent end says its numbers.
    """

    def changed(self, world):
        out = talk(world)
        by_rule(world, CHANGE)
        del world.policy.nat["snat"]
        world.commit()
        return out

    @pytest.mark.parametrize("how", ["changed", "idle"])
    def test_both_ends_are_asked_and_then_reset(self, world, how):
        out = self.changed(world) if how == "changed" else fall_idle(world)
        inside, outside = ends(said(world))
        assert (flow(inside), flow(outside)) == ((NET, A.address, 80, 1000), flow(out))
        assert {str(seen.ip[TCP].flags) for seen in (inside, outside)} == {"A"}
        inside, outside = ends(world.down(A, tcp("A", seq=500, ack=900)))
        assert (numbers(inside), numbers(outside)) == ((900, 0, "R"), (500, 900, "RA"))
        assert (flow(inside), flow(outside)) == ((NET, A.address, 80, 1000), flow(out))
        world.sweep()
        assert lives(world) == 0

    def test_the_other_side_answers(self, world):
        out = fall_idle(world)
        said(world)
        packet = answer(out, "A", b"")
        packet[TCP].seq, packet[TCP].ack = 70, 80
        inside, outside = ends(world.up(packet))
        assert (numbers(inside), numbers(outside)) == ((70, 80, "RA"), (80, 0, "R"))

    def test_nobody_answers(self, world):
        fall_idle(world)
        assert len(said(world)) == 2
        assert not said(world)
        world.sweep(after_s=0.4)
        assert lives(world) == 1
        world.sweep(after_s=0.2)
        assert lives(world) == 0
        assert not said(world)

    def test_one_end_is_gone_and_says_so(self, world):
        """Its RST has none of the other's numbers; the other is reset by what it says itself."""
        out = fall_idle(world)
        said(world)
        assert not world.up(answer(out, "R", b""))
        assert lives(world) == 1
        inside, _ = ends(world.down(A, tcp("A", seq=500, ack=900)))
        assert numbers(inside) == (900, 0, "R")

    def test_before_it_was_asked_it_speaks(self, world):
        """Nothing of an idle session goes on, data no more than an answer."""
        out = fall_idle(world)
        sent = world.up(answer(out, "PA"))
        assert {str(seen.ip[TCP].flags) for seen in sent if seen.role == "downlink"} == {"A", "RA"}
        assert all(not seen.ip[TCP].payload for seen in sent)

    def test_a_new_connection_of_the_same_ports(self, world):
        fall_idle(world)
        said(world)
        assert one(world.down(A, tcp("S"))).role == "uplink"
        world.sweep(after_s=1)
        assert [s["state"] for s in world.dp.sessions()] == ["opening"]

    def test_from_outside_through_a_door(self, world):
        got = one(world.up(tcp("S", NET, SERVER.secondary, dport=80)))
        world.down(B, answer(got, "SA", b""))
        world.up(tcp("A", NET, SERVER.secondary, dport=80))
        by_rule(world, IDLE, "web")
        world.sweep(after_s=ESTABLISHED_S + 2)
        inside, outside = ends(said(world))
        assert flow(inside) == (NET, B.address, 1000, 8080)
        assert flow(outside) == (SERVER.secondary, NET, 80, 1000)

    def test_a_hairpin_s_other_half_is_asked_too(self, world):
        there = one(world.down(A, tcp("S", dst=SERVER.elastic, dport=80)))
        world.down(B, answer(there, "SA", b""))
        world.down(A, tcp("A", dst=SERVER.elastic, dport=80))
        by_rule(world, CHANGE, "web")
        del world.policy.nat["web"]
        world.commit()
        assert B.address in {seen.ip.dst for seen in said(world)}


class TestAsItIs:
    """The terms of a NO_SNAT rule, of the session of a routed segment: its ends are told in the
    addresses that they know, which are the same on both sides (RFC 9293 section 3.10.7.4)."""

    @pytest.fixture
    def free(self, world):
        world.policy.nat["free"] = nat(30, NO_SNAT, source(PLAIN.address, 32))
        world.commit()
        return world

    def denied(self, world) -> None:
        by_rule(world, CHANGE, "free")
        match = r.Match(dst_be=ip(NET), dst_len=32)
        world.policy.firewall.insert(0, r.Firewall(5, 0, 1, 2, 0, match, "closed"))
        world.commit()

    def silent(self, world) -> None:
        by_rule(world, IDLE, "free")
        world.sweep(after_s=ESTABLISHED_S + 2)

    @pytest.mark.parametrize("how", [denied, silent])
    @pytest.mark.parametrize("speaks", ["workload", "other side"])
    def test_both_ends_are_asked_and_then_reset(self, free, how, speaks):
        out = talk(free, PLAIN)
        how(self, free)
        flows = (NET, PLAIN.address, 80, 1000), (PLAIN.address, NET, 1000, 80)
        asked = ends(said(free))
        assert tuple(map(flow, asked)) == flows
        if speaks == "workload":
            told = ends(free.down(PLAIN, tcp("A", PLAIN.address, seq=500, ack=900)))
            assert tuple(map(numbers, told)) == ((900, 0, "R"), (500, 900, "RA"))
        else:
            packet = answer(out, "A", b"")
            packet[TCP].seq, packet[TCP].ack = 70, 80
            told = ends(free.up(packet))
            assert tuple(map(numbers, told)) == ((70, 80, "RA"), (80, 0, "R"))
        assert tuple(map(flow, told)) == flows
        free.sweep()
        assert lives(free) == 0

    @pytest.mark.parametrize("how", [denied, silent])
    def test_without_the_rule_in_silence(self, world, how):
        world.policy.nat["free"] = nat(30, NO_SNAT, source(A.address, 32))
        world.commit()
        talk(world, PLAIN)
        how(self, world)
        assert (lives(world), said(world)) == (0, [])

    def test_the_rule_s_own_end_is_not_the_session_s(self, free):
        """The segment is routed: nothing else is needed."""
        talk(free, PLAIN)
        by_rule(free, CHANGE, "free")
        del free.policy.nat["free"]
        free.commit()
        assert (lives(free), said(free)) == (1, [])
        assert one(free.down(PLAIN, tcp("PA", PLAIN.address))).role == "uplink"
        assert [s["nat_id"] for s in free.dp.sessions()] == [0]


SILENT = {
    "the rule says nothing": (0, talk),
    "the rule says it of a change": (CHANGE, talk),
    "not established": (IDLE, lambda w: w.down(A, tcp("S"))),
    "not TCP": (IDLE, lambda w: w.down(A, udp())),
}


@pytest.mark.parametrize("reset, begin", SILENT.values(), ids=SILENT)
def test_it_ends_in_silence(world, reset, begin):
    begin(world)
    by_rule(world, reset)
    world.sweep(after_s=ESTABLISHED_S + 2)
    assert lives(world) == 0
    assert not said(world)


def test_closed_by_both_in_silence(world):
    out = talk(world)
    by_rule(world, IDLE)
    world.down(A, tcp("FA"))
    world.up(answer(out, "FA", b""))
    world.sweep(after_s=ESTABLISHED_S + 2)
    assert not said(world)


def test_the_log_says_why(world):
    world.dp.events(64)
    fall_idle(world)
    said(world)
    world.down(A, tcp("A", seq=500, ack=900))
    world.sweep()
    told = world.dp.events(64)
    assert [event["end"] for event in told if event["kind"] == "ended"] == ["idle"]


def test_the_port_of_one_that_is_being_told_goes(world):
    fall_idle(world)
    world.dp.delete("ports", [A.record])
    world.sweep()
    assert lives(world) == 0


def test_no_source_leaves_for_it_that_may_not(world):
    """With the rule went the public address: it may be somebody else's by now."""
    talk(world)
    by_rule(world, CHANGE)
    del world.policy.nat["snat"]
    world.policy.publics = tuple(p for p in world.policy.publics if p not in (POOL_A, POOL_B))
    world.commit()
    assert [seen.role for seen in said(world)] == ["downlink"]
    assert world.drops() == {}
