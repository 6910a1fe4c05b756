"""A session whose translation is still yielded lives on; one whose rule is gone ends, is counted,
and, where the rule said so, is reset at both ends with the numbers that they wait for."""

from scapy.layers.inet import TCP

from tests.c.packets import answer, flow, one, prohibited, tcp, udp
from tests.c.places import NET, POOL_B, SERVER, TWIN, A, B, C, R
from tests.c.world import nat, over, source, to_public


def talk(w, vm=A, **given):
    """An established connection: what left, and the answer as the workload got it."""
    out = one(w.down(vm, tcp("S", vm.address, **given)))
    w.up(answer(out, "SA", b""))
    w.down(vm, tcp("A", vm.address, **given))
    return out


def cut(w) -> int:
    return w.dp.totals()["sessions_cut"]


def without(w, name: str, **given) -> None:
    """A first commit says what the rule wants, a second one takes it away."""
    w.policy.nat[name] = w.policy.nat[name]._replace(**given)
    w.commit()
    del w.policy.nat[name]
    w.commit()
    w.inject("uplink")  # what its ends are asked: test_silent.py


def test_it_lives_on_while_its_translation_is_yielded(world):
    out = talk(world)
    world.policy.nat["other"] = nat(20, 1, source("192.168.77.0", 24), POOL_B)
    world.policy.nat["snat"] = world.policy.nat["snat"]._replace(log=1)
    world.commit()
    assert flow(one(world.down(A, tcp("PA")))) == flow(out)
    assert (cut(world), world.dp.totals()["made"]) == (0, 0)


def test_it_stays_with_its_target_while_that_is_one_of_the_rules(world):
    policy, callers = world.policy, [f"198.51.100.{100 + i}" for i in range(20)]
    policy.nat["web"] = nat(4, 0, to_public(SERVER, 6, 80, 80), target=C)
    world.commit()
    for src in callers:
        assert one(world.up(tcp("S", src, SERVER.secondary))).ip.dst == C.address
    policy.nat["web"] = nat(4, 0, to_public(SERVER, 6, 80, 80), target=C, targets=2)
    world.commit()
    for src in callers:
        assert one(world.up(tcp("A", src, SERVER.secondary))).ip.dst == C.address
    assert (cut(world), world.dp.totals()["sessions"]) == (0, 20)
    new = {one(world.up(tcp("S", src, SERVER.secondary, 7))).ip.dst for src in callers}
    assert new == {C.address, A.address}
    policy.nat["web"] = nat(4, 0, to_public(SERVER, 6, 80, 80), target=A)
    world.commit()
    assert 20 < cut(world) < 40
    assert not any(world.up(tcp("A", src, SERVER.secondary)) for src in callers)


def test_it_ends_in_silence_unless_the_rule_says_otherwise(world):
    out = talk(world)
    without(world, "snat")
    assert (cut(world), world.dp.totals()["sessions"]) == (1, 0)
    assert not world.up(answer(out, "A"))
    assert world.dp.totals()["made"] == 0
    assert prohibited(world.down(A, tcp("A")))  # no RST: that there is no rule for it


def ends(sent):
    (inside,) = [seen for seen in sent if seen.role == "downlink"]
    (outside,) = [seen for seen in sent if seen.role == "uplink"]
    return inside, outside


def numbers(seen) -> tuple[int, int, str]:
    return seen.ip[TCP].seq, seen.ip[TCP].ack, str(seen.ip[TCP].flags)


class TestReset:
    """RFC 9293 section 3.5.2: a RST counts when its sequence number is the one expected. So what
    the one end says serves the other, and what it acknowledges serves itself."""

    def test_the_workload_speaks(self, world):
        out = talk(world)
        without(world, "snat", reset=1)
        inside, outside = ends(world.down(A, tcp("A", seq=500, ack=900)))
        assert (flow(inside), flow(outside)) == ((NET, A.address, 80, 1000), flow(out))
        assert numbers(inside) == (900, 0, "R")
        assert numbers(outside) == (500, 900, "RA")
        assert (cut(world), world.dp.totals()["made"]) == (1, 2 + 2)
        assert not world.down(A, tcp("R"))

    def test_the_other_side_speaks(self, world):
        out = talk(world)
        without(world, "snat", reset=1)
        packet = answer(out, "PA")
        packet[TCP].seq, packet[TCP].ack = 70, 80
        inside, outside = ends(world.up(packet))
        assert (flow(inside), flow(outside)) == ((NET, A.address, 80, 1000), flow(out))
        assert numbers(inside) == (70, 80, "RA")
        assert numbers(outside) == (80, 0, "R")

    def test_of_a_door(self, world):
        got = one(world.up(tcp("S", NET, SERVER.secondary, dport=80)))
        world.down(B, answer(got, "SA", b""))
        world.up(tcp("A", NET, SERVER.secondary, dport=80))
        without(world, "web", reset=1)
        inside, outside = ends(world.down(B, answer(got, "A", b"")))
        assert flow(inside) == (NET, B.address, 1000, 8080)
        assert flow(outside) == (SERVER.secondary, NET, 80, 1000)

    def test_of_a_translation_that_becomes_another(self, world):
        """The workload is told once: its packet may open nothing under the new rule either."""
        out = talk(world, R)
        without(world, "reflexive", reset=1)
        inside, outside = ends(world.down(R, tcp("A", R.address, seq=5, ack=9)))
        assert flow(inside) == (NET, R.address, 80, 1000)
        assert (flow(outside), out.ip.src) == (flow(out), TWIN.secondary)
        assert world.drops() == {"TCP_NO_SESSION": 1}

    def test_of_a_hairpin_both_ends_are_workloads(self, world):
        there = one(world.down(A, tcp("S", dst=SERVER.elastic, dport=80)))
        world.down(B, answer(there, "SA", b""))
        world.down(A, tcp("A", dst=SERVER.elastic, dport=80))
        without(world, "web", reset=1)
        sent = world.down(B, answer(there, "A", b""))
        assert {seen.ip.dst for seen in sent} == {A.address, B.address}
        assert {str(seen.ip[TCP].flags) for seen in sent} == {"R", "RA"}

    def test_nothing_to_say(self, world):
        talk(world)
        without(world, "snat", reset=1)
        asked = world.dp.totals()["made"]
        assert not world.down(A, tcp("R"))
        assert world.dp.totals()["made"] == asked

    def test_what_is_not_tcp_hears_no_more_than_that_there_is_no_rule(self, world):
        talk(world)
        world.down(A, udp())
        without(world, "snat", reset=1)
        assert prohibited(world.down(A, udp()))

    def test_at_no_rate_since_each_session_is_reset_once(self, world):
        for sport in range(1, 61):
            talk(world, sport=sport)
        without(world, "snat", reset=1)
        frames = [over(A, tcp("A", sport=sport)) for sport in range(1, 61)]
        assert len(world.inject("downlink", *frames)) == 120
        assert world.dp.totals()["unmade"] == 0
