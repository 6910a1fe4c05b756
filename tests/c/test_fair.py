"""fair.c: what one workload may hold of what all share, and what it is told when it may not.

RFC 6888 REQ-4: "A CGN MUST support limiting the number of external ports (or, equivalently,
'identifiers' for ICMP) that are assigned per subscriber." REQ-5: "A CGN SHOULD support limiting
the amount of state memory allocated per mapping and per subscriber."
"""

from socket import inet_aton as ip

import pytest
from scapy.layers.inet import ICMP

from pcg.datapath import views
from pcg.datapath.lib import Datapath
from pcg.gateway.facts import Facts
from pcg.gateway.fair_use import FairUse
from pcg.reconcile import records as r
from tests.c.conftest import assert_accounted
from tests.c.packets import answer, inside, ping, ports, prohibited, tcp, udp
from tests.c.places import GATEWAY, HOP_MAC, NET, OTHER_NET, SERVER, TINY, WEB, A, B, C, mac
from tests.c.world import World, over

HOP_2 = ip("10.99.1.4")
NEXTHOP_2 = r.Nexthops(HOP_2, mac(HOP_MAC), 1)


def usage(w: World, vm=A) -> dict:
    rows = [views.view("usage", row) for row in w.dp.read("usage")]
    (row,) = [u for u in rows if (u["vrf"], u["address"]) == (vm.vrf, vm.address)]
    return row


def limit(w: World, rule: str | None = None, **given) -> None:
    """`rule` None: the gateway's own, for every address."""
    if rule is None:
        w.policy.quota = given
    else:
        w.policy.nat[rule] = w.policy.nat[rule]._replace(**given)
    w.commit()


class TestSessions:
    def test_one_too_many(self, world):
        """RFC 6888 REQ-5."""
        limit(world, sessions_each=3)
        for dport in (1, 2, 3):
            assert world.down(A, udp(dport=dport))
        assert prohibited(world.down(A, udp(dport=4)))
        assert world.drops() == {"QUOTA_SESSIONS": 1}
        assert world.down(A, udp(dport=3))  # what it has goes on
        assert world.down(C, udp(C.address))  # and so do others

    def test_what_ends_makes_room(self, world):
        limit(world, sessions_each=1)
        for sport in (1, 2, 3):
            assert world.down(A, udp(sport=sport))[0].role == "uplink"
            assert prohibited(world.down(A, udp(sport=9)))
            world.sweep(after_s=301)
            assert usage(world)["sessions"] == 0

    def test_those_from_outside_count_too(self, world):
        limit(world, sessions_each=2)
        for sport in (1, 2):
            assert world.up(udp(NET, SERVER.secondary, sport=sport, dport=7000))
        assert not world.up(udp(NET, SERVER.secondary, sport=3, dport=7000))
        assert world.dp.totals()["made"] == 0  # a stranger is told nothing
        assert prohibited(world.down(B, udp(B.address)))
        assert world.drops() == {"QUOTA_SESSIONS": 2}

    def test_strangers_leave_a_quarter_for_its_own(self, world):
        """Whoever sends SYNs to its public port does not keep it from working."""
        limit(world, sessions_each=8)
        sent = [world.up(tcp("S", NET, SERVER.secondary, sport=n, dport=80)) for n in range(1, 9)]
        assert [len(seen) for seen in sent] == [1] * 6 + [0] * 2
        own = [world.down(B, udp(B.address, sport=n))[0].role for n in range(1, 4)]
        assert own == ["uplink", "uplink", "downlink"]
        assert world.drops() == {"QUOTA_SESSIONS": 3}

    @pytest.mark.parametrize("of_rule, of_all, most", [(2, 5, 2), (5, 2, 5), (0, 4, 4)])
    def test_the_rule_s_word_is_the_last(self, world, of_rule, of_all, most):
        limit(world, sessions_each=of_all)
        limit(world, "snat", sessions_each=of_rule)
        sent = world.inject("downlink", *[over(A, udp(dport=1 + i)) for i in range(7)])
        assert sum(seen.role == "uplink" for seen in sent) == most

    def test_by_whatever_rule_it_came_to_them(self, world):
        """A has two by another rule; the one that allows two lets it have none."""
        limit(world, "snat", sessions_each=2)
        for dport in (1, 2):
            assert world.down(A, udp(dst="172.16.5.5", dport=dport))[0].ip.src == A.address
        assert prohibited(world.down(A, udp()))

    def test_those_that_come_in_by_a_mapping_are_of_its_rule(self, world):
        limit(world, "snat", sessions_each=2, filtering=1)
        (out,) = world.down(A, udp())
        assert world.up(udp(OTHER_NET, out.ip.src, 1, out.ip.sport))
        assert not world.up(udp(OTHER_NET, out.ip.src, 2, out.ip.sport))
        assert world.drops() == {"QUOTA_SESSIONS": 1}

    def test_a_session_that_is_decided_again_is_not_new(self, world):
        limit(world, sessions_each=1)
        assert world.down(A, udp())
        world.policy.routes["default"] = world.policy.routes["default"]._replace(next_hop_be=HOP_2)
        world.dp.put("nexthops", [NEXTHOP_2])
        world.commit()
        assert world.dp.inject("downlink", [over(A, udp())], world.now_ns)
        world.sweep()
        assert usage(world)["sessions"] == 1

    def test_those_that_go_on_by_another_rule_count_once(self, world):
        """At its quota a workload keeps all it has; and what ends makes room at once, though the
        records that gave their places away are not taken apart yet."""
        limit(world, "snat", sessions_each=4)
        sent = [over(A, udp(dport=n)) for n in (1, 2, 3, 4)]
        assert [seen.role for seen in world.inject("downlink", *sent)] == ["uplink"] * 4
        for i in (1, 2, 3):
            world.policy.firewall = [r.Firewall(90 + i, 0, 0, 3, 0, r.Match(), "all")]
            world.commit()
            assert [seen.role for seen in world.inject("downlink", *sent)] == ["uplink"] * 4
            assert {s["fw_id"] for s in world.dp.sessions()} == {90 + i}
            assert usage(world)["sessions"] == 4
        assert prohibited(world.down(A, udp(dport=5)))
        limit(world, "snat", sessions_each=5)
        assert world.down(A, udp(dport=5))[0].role == "uplink"
        world.sweep()
        assert usage(world)["sessions"] == 5
        world.sweep(after_s=301)
        assert (usage(world)["sessions"], world.drops()) == (0, {"QUOTA_SESSIONS": 1})

    def test_lost_races_and_conflicts_leave_nothing(self, world):
        """Two SYNs of one flow in a burst make one session."""
        world.inject("downlink", *[over(A, tcp("S"))] * 5)
        assert usage(world)["sessions"] == usage(world)["ports"] == 1


class TestPorts:
    @pytest.mark.parametrize("packet", [udp, ping], ids=["udp", "icmp"])
    def test_one_too_many(self, world, packet):
        """RFC 6888 REQ-4."""
        limit(world, "snat", ports_each=2)
        key = "id_" if packet is ping else "sport"
        for n in (1, 2):
            assert world.down(A, packet(**{key: n}))[0].role == "uplink"
        assert prohibited(world.down(A, packet(**{key: 3})))
        assert world.drops() == {"QUOTA_PORTS": 1}
        assert world.down(A, packet(dst=OTHER_NET, **{key: 2}))[0].role == "uplink"  # the same port
        assert usage(world) == {
            "vrf": 0,
            "address": A.address,
            "sessions": 3,
            "ports": 2,
            "refused": 1,
            "nat_id": 9,
            "public_index": usage(world)["public_index"],
            "reason": "QUOTA_PORTS",
        }
        assert usage(world)["public_index"] in (0, 1)

    def test_explained(self, world):
        limit(world, "snat", ports_each=1)
        world.down(A, udp(sport=1))
        told, _ = world.dp.explain("downlink", over(A, udp(sport=2)))
        assert told[-1]["reason"] == "QUOTA_PORTS"
        told, _ = world.dp.explain("downlink", over(A, udp(sport=1, dst=OTHER_NET)))
        assert told[-1]["verdict"] == "sent"

    def test_given_back(self, world):
        limit(world, ports_each=1)
        for sport in (1, 2):
            assert world.down(A, udp(sport=sport))[0].role == "uplink"
            world.sweep(after_s=301)
        assert usage(world)["ports"] == 0


class TestToldTo:
    """RFC 5508 REQ-8: "When a NAT device is unable to establish a NAT Session for a new
    transport-layer (TCP, UDP, ICMP, etc.) flow due to resource constraints or administrative
    restrictions, the NAT device SHOULD send an ICMP destination unreachable message, with a code
    of 13 (Communication administratively prohibited) to the sender, and drop the original packet."
    """

    @pytest.mark.parametrize("packet", [udp, ping, tcp], ids=["udp", "icmp", "tcp"])
    def test_exhausted_ports(self, world, packet):
        given = {"flags": "S"} if packet is tcp else {}
        key = "id_" if packet is ping else "sport"
        for n in range(1, 5):
            assert world.down(TINY, packet(src=TINY.address, **{key: n}, **given))
        refused = packet(src=TINY.address, **{key: 5}, **given)
        (seen,) = world.down(TINY, refused)
        assert (seen.ip.src, seen.ip.dst) == (GATEWAY[WEB][0], TINY.address)
        assert (seen.ip[ICMP].type, seen.ip[ICMP].code) == (3, 13)
        assert ports(inside(seen)) == ports(refused)
        assert (inside(seen).src, inside(seen).dst) == (TINY.address, NET)  # as it came
        assert world.drops() == {"NAT_PORTS_EXHAUSTED": 1}
        row = usage(world, TINY)
        assert (row["refused"], row["nat_id"], row["reason"]) == (1, 7, "NAT_PORTS_EXHAUSTED")

    @pytest.mark.parametrize(
        "given, n, reason",
        [({}, 1024, "SESSIONS_FULL"), ({"mappings": 8}, 8, "NAT_MAPPINGS_FULL")],
    )
    def test_full_tables(self, built, given, n, reason):
        with Datapath(sessions=1024, workload_addresses=1024, fresh=True, **given) as dp:
            dp.nic_add("up0", "uplink")
            dp.nic_add("down0", "downlink")
            w = World(dp)
            w.inject("downlink", *[over(A, udp(sport=1 + i)) for i in range(n)])
            assert prohibited(w.down(C, udp(C.address)))
            assert w.drops() == {reason: 1}
            row = usage(w, C)
            assert (row["sessions"], row["ports"], row["refused"]) == (0, 0, 1)
            assert row["reason"] == reason
            w.sweep(after_s=301)  # the one that was refused half way left nothing behind
            assert usage(w, C)["ports"] == dp.totals()["mappings"] == 0
            assert_accounted(dp)

    def test_explain_asks_too_and_counts_nothing(self, world):
        limit(world, sessions_each=1)
        world.down(A, udp(sport=1))
        events, _ = world.dp.explain("downlink", over(A, udp(sport=2)))
        assert events[-1]["reason"] == "QUOTA_SESSIONS"
        assert usage(world)["refused"] == 0


def test_an_address_that_comes_back_begins_at_nothing(world):
    limit(world, sessions_each=1)
    assert world.down(A, udp(sport=1))
    world.dp.delete("ports", [A.record])
    world.dp.put("ports", [A.record])
    assert world.down(A, udp(sport=2))[0].role == "uplink"
    for _ in range(4):  # and the old record's end takes nothing from the new one
        world.sweep()
    assert (usage(world)["sessions"], usage(world)["ports"]) == (1, 1)
    world.up(answer(world.down(A, udp(sport=2))[0]))
    world.sweep(after_s=301)
    assert (usage(world)["sessions"], usage(world)["ports"]) == (0, 0)


def test_counts_are_right_after_a_restart(built, tmp_path):
    arena = {"arena": str(tmp_path / "arena"), "sessions": 1024, "workload_addresses": 1024}
    with Datapath(**arena, fresh=True) as dp:
        dp.nic_add("down0", "downlink")
        dp.nic_add("up0", "uplink")
        w = World(dp)
        for sport, dport in ((1, 1), (1, 2), (2, 1)):
            assert w.down(A, udp(sport=sport, dport=dport))
        before = usage(w)
    with Datapath(**arena) as dp:
        after = usage(World(dp, program=False))
        assert after == before
        assert (after["sessions"], after["ports"]) == (3, 2)


def test_two_reasons_of_one_workload_are_told_with_their_rules(world):
    """pcg/gateway/fair_use.py: the table has the latest alone, the ledger the other."""
    limit(world, sessions_each=2)
    for dport in (1, 2, 3):
        world.down(A, udp(dport=dport))
    limit(world, ports_each=1)
    world.down(A, udp(sport=2))
    rows = [views.view("usage", row) for row in world.dp.read("usage") if row.refused]
    told = FairUse().look(rows, Facts(), 0.0, world.dp.ledger())
    assert [(t.address, t.reason) for t in told] == [
        (A.address, "QUOTA_PORTS"),
        (A.address, "QUOTA_SESSIONS"),
    ]
