"""Stateless firewall rules: no session, each packet asked about, each direction by a rule."""

import pytest
from scapy.layers.inet import TCP

from pcg.reconcile import records as r
from tests.c.packets import answer, complaint, ping, tcp, udp
from tests.c.places import NET, PLAIN, POOL_A, SERVER, A, ip
from tests.c.test_policy import one
from tests.c.world import NO_SNAT, nat, over, source

ALLOW, DROP, REJECT = range(3)
IN, OUT = 1, 2
TO_NET = r.Match(src_be=ip(PLAIN.address), src_len=32, dst_be=ip(NET), dst_len=32)
FROM_NET = r.Match(src_be=ip(NET), src_len=32, dst_be=ip(PLAIN.address), dst_len=32)


def rule(id_, match, direction, action=ALLOW, stateless=1, log=0):
    return r.Firewall(id_, 0, action, direction, log, match, f"r{id_}", 0, 0, stateless)


@pytest.fixture
def walled(world):
    """Nothing crosses the uplink but what a stateless rule lets out."""
    world.policy.defaults = (DROP, DROP)
    world.policy.firewall = [rule(1, TO_NET, OUT)]
    world.commit()
    return world


def out(w, packet):
    return w.down(PLAIN, packet)


def test_out_it_goes_without_a_session_at_any_point_of_its_life(walled):
    for packet in (
        udp(PLAIN.address),
        tcp("S", PLAIN.address),
        tcp("A", PLAIN.address),
        ping(PLAIN.address),
    ):
        seen = one(out(walled, packet))
        assert (seen.role, seen.ip.src, seen.ip.ttl) == ("uplink", PLAIN.address, 63)
    totals = walled.dp.totals()
    assert (totals["sessions"], totals["sessions_made"]) == (0, 0)


def test_the_reply_needs_a_rule_of_its_own(walled):
    seen = one(out(walled, udp(PLAIN.address)))
    assert not walled.up(answer(seen))
    assert walled.drops() == {"FIREWALL_DENIED": 1}
    walled.policy.firewall.append(rule(2, FROM_NET, IN))
    walled.commit()
    back = one(walled.up(answer(seen)))
    assert (back.role, back.ip.dst, back.ip.ttl) == ("downlink", PLAIN.address, 63)
    assert walled.dp.totals()["sessions_made"] == 0


@pytest.mark.parametrize("direction", [OUT, IN])
def test_a_rule_that_becomes_stateless_ends_its_sessions_unnoticed(walled, direction):
    """Also where a NAT rule says `reset`: each packet goes on by the rule, nobody is cut off."""
    w = walled
    free = {"snat": nat(30, NO_SNAT, source(PLAIN.address, 32))._replace(reset=1)}
    w.policy.nat = {**free, **w.policy.nat}
    both = [rule(1, TO_NET, OUT, stateless=0), rule(2, FROM_NET, IN, stateless=0)]
    w.policy.firewall = both
    w.commit()
    if direction == OUT:
        there = one(out(w, tcp("S", PLAIN.address)))
        assert w.up(answer(there, "SA", b""))
        go_on = [("down", tcp("A", PLAIN.address)), ("up", answer(there, "A"))]
    else:
        there = one(w.up(tcp("S", NET, PLAIN.address)))
        assert out(w, answer(there, "SA", b""))
        go_on = [("up", tcp("A", NET, PLAIN.address)), ("down", answer(there, "A"))]
    w.policy.firewall = [row._replace(stateless=1) for row in both]
    w.commit()
    w.inject("uplink")
    totals = w.dp.totals()
    assert (totals["sessions"], totals["sessions_cut"], totals["made"]) == (0, 0, 0)
    for way, packet in go_on:
        assert len(w.up(packet) if way == "up" else out(w, packet)) == 1
    assert (w.dp.totals()["made"], w.drops()) == (0, {})


def test_every_packet_is_a_hit(walled):
    for _ in range(3):
        out(walled, udp(PLAIN.address))
    (row,) = walled.dp.counters("firewall")
    assert (row["id"], row["hits"], row["sessions"]) == (1, 3, 0)


def test_a_change_of_rules_holds_for_the_next_packet(walled):
    assert out(walled, tcp("A", PLAIN.address))
    walled.policy.firewall = [rule(1, TO_NET, OUT, REJECT)]
    walled.commit()
    said = one(out(walled, tcp("A", PLAIN.address)))
    assert said.ip.dst == PLAIN.address
    assert walled.drops() == {"FIREWALL_DENIED": 1}


def test_a_session_ends_when_its_rule_becomes_stateless(walled):
    walled.policy.firewall = [rule(1, TO_NET, OUT, stateless=0)]
    walled.commit()
    seen = one(out(walled, udp(PLAIN.address)))
    assert walled.up(answer(seen))
    walled.policy.firewall = [rule(1, TO_NET, OUT)]
    walled.commit()
    assert not walled.up(answer(seen))
    assert out(walled, udp(PLAIN.address))
    walled.sweep()
    assert walled.dp.totals()["sessions"] == 0


def test_and_begins_when_it_becomes_stateful(walled):
    seen = one(out(walled, udp(PLAIN.address)))
    walled.policy.firewall = [rule(1, TO_NET, OUT, stateless=0)]
    walled.commit()
    assert not walled.up(answer(seen))
    assert out(walled, udp(PLAIN.address))
    assert walled.up(answer(seen))
    assert walled.dp.totals()["sessions"] == 1


def test_a_segment_in_midstream_only_where_its_rule_is_stateless(walled):
    walled.policy.firewall = [rule(1, TO_NET, OUT, stateless=0)]
    walled.commit()
    assert TCP in one(out(walled, tcp("A", PLAIN.address))).ip  # a RST
    assert walled.drops() == {"TCP_NO_SESSION": 1}


def test_errors_pass_by_a_rule_as_anything_else(walled):
    """An ICMP error about what has no session is a packet like any other."""
    seen = one(out(walled, udp(PLAIN.address)))
    router = "198.51.100.1"
    assert not walled.up(complaint(seen, router))
    assert walled.drops() == {"FIREWALL_DENIED": 1}
    walled.policy.firewall.append(rule(2, FROM_NET._replace(src_len=24, protocol=1), IN))
    walled.commit()
    back = one(walled.up(complaint(seen, router)))
    assert (back.role, back.ip.src, back.ip.dst) == ("downlink", router, PLAIN.address)


def test_its_last_hop_is_told_to_the_sender(walled):
    said = one(out(walled, udp(PLAIN.address, ttl=1)))
    assert (said.role, said.ip.dst) == ("downlink", PLAIN.address)
    assert walled.drops() == {"TTL_EXPIRED": 1}


def test_the_source_is_checked_all_the_same(walled):
    assert not walled.inject("downlink", over(A, udp(PLAIN.address)))
    assert walled.drops() == {"SOURCE_SPOOFED": 1}


class TestTranslated:
    """The translation lives in a session, so there a stateless rule is as a stateful one."""

    def test_snat(self, world):
        match = r.Match(src_be=ip(POOL_A.secondary), src_len=24)
        world.policy.defaults = (DROP, DROP)
        world.policy.firewall = [rule(1, match, OUT)]
        world.commit()
        seen = one(world.down(A, udp()))
        assert one(world.up(answer(seen))).ip.dst == A.address
        assert world.dp.totals()["sessions"] == 1

    def test_dnat(self, world):
        world.policy.defaults = (DROP, DROP)
        world.policy.firewall = [rule(1, r.Match(dst_be=ip(SERVER.secondary), dst_len=32), IN)]
        world.commit()
        assert world.up(tcp("S", NET, SERVER.secondary))
        assert world.dp.totals()["sessions"] == 1

    def test_no_snat_is_no_translation(self, world):
        world.policy.nat["no_snat"] = nat(1, NO_SNAT, source(A.address, 32))
        world.policy.firewall = [rule(1, source(A.address, 32), OUT)]
        world.commit()
        assert one(world.down(A, udp())).ip.src == A.address
        assert world.dp.totals()["sessions"] == 0


def test_explain_says_so(walled):
    events, _ = walled.dp.explain("downlink", over(PLAIN, udp(PLAIN.address)))
    asked = next(event for event in events if event["stage"] == "session_lookup")
    assert (asked["note"], asked["fw_id"]) == ("by a stateless rule, no session", 1)
