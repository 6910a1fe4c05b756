"""ledger.c, counters.c: every drop is in a line of its kind, with times and an example.

That the lines add up to the counters of drops is asserted after every test of this folder.
"""

import threading
from socket import inet_aton as ip

import pytest
from scapy.layers.inet import IP, UDP

from pcg.datapath import ledger, pack
from pcg.datapath.lib import Datapath
from pcg.reconcile import records as r
from tests.c.conftest import assert_accounted
from tests.c.packets import udp
from tests.c.places import FEW, NET, OTHER_NET, RED, RED_WEB, SERVER, TINY, TRANSIT, WEB, A, B
from tests.c.world import NO_DNAT, World, nat, numbered, over, to_public

DENIED, DENIED_IN = "198.51.100.66", "198.51.100.68"
KINDS = 1536  # lines before the rest shares one a reason


def denied(sport=1000):
    return udp(dst=DENIED, sport=sport)


def test_a_line_names_rule_segment_and_vrf(world):
    world.down(A, denied())
    world.down(A, denied(), vni=WEB)
    world.up(IP(src=DENIED_IN, dst=SERVER.secondary) / UDP(sport=1, dport=7000))
    kinds = {(d["reason"], d["role"], d["vni"], d["fw_id"], d["vrf"]) for d in world.dp.ledger()}
    assert kinds == {
        ("FIREWALL_DENIED", "downlink", TRANSIT, 1, 0),
        ("FIREWALL_DENIED", "downlink", WEB, 1, 0),
        ("FIREWALL_DENIED", "uplink", 0, 3, 0),
    }


def test_they_add_up_by_side(world):
    world.down(A, denied())
    world.down(A, denied(), vni=WEB)
    world.up(IP(src=DENIED_IN, dst=SERVER.secondary) / UDP(sport=1, dport=7000))
    lines = pack.unpack("drop", world.dp.ledger_raw())
    sides = {("FIREWALL_DENIED", "downlink"): 2, ("FIREWALL_DENIED", "uplink"): 1}
    assert ledger.by_side(lines) == sides


def test_twins_in_two_vrfs_have_lines_of_their_own(world):
    world.down(A, udp(dst="192.168.100.99"), vni=WEB)
    world.down(RED, udp(RED.address, dst="192.0.2.1"), vni=RED_WEB)
    lines = {(d["reason"], d["vni"], d["vrf"], d["src"]) for d in world.dp.ledger()}
    assert lines == {
        ("PORT_UNKNOWN", WEB, 0, A.address),
        ("NO_ROUTE", RED_WEB, 1, A.address),
    }


def test_the_default_action_is_no_rule(world):
    world.policy.defaults = (1, 1)
    world.commit()
    world.down(A, udp())
    (line,) = world.dp.ledger()
    assert (line["reason"], line["fw_id"], line["nat_id"]) == ("FIREWALL_DENIED", 0, 0)


def test_the_nat_rule_that_ran_out_of_ports(world):
    for sport in range(5):
        world.down(TINY, udp(TINY.address, sport=1 + sport))
    (line,) = world.dp.ledger()
    assert (line["reason"], line["nat_id"], line["fw_id"]) == ("NAT_PORTS_EXHAUSTED", 7, 0)


def test_the_example_is_the_frame_as_it_came(world):
    frame = over(A, denied() / bytes(1000))
    world.inject("downlink", frame)
    (line,) = world.dp.ledger()
    assert line["frame"] == frame[:192].hex()
    assert line["length"] == len(frame)
    assert IP(bytes.fromhex(line["frame"])[line["l3"] :]).dst == DENIED
    seen = (line["src"], line["sport"], line["dst"], line["dport"], line["protocol"])
    assert seen == (A.address, 1000, DENIED, 53, "udp")
    assert line["outer_src"] == A.tep


def test_a_short_frame_is_kept_whole(world):
    world.inject("uplink", bytes(5))
    (line,) = world.dp.ledger()
    assert (line["reason"], line["role"], line["frame"]) == ("FRAME_SHORT", "uplink", "00" * 5)
    assert (line["vrf"], line["src"]) == (None, "0.0.0.0")


def test_times_are_of_all_and_the_example_is_renewed_at_intervals(world):
    for number, now_s in enumerate((1.0, 1.05, 1.099, 1.1, 1.15)):
        world.now_s = now_s
        world.down(A, denied(sport=number))
    (line,) = world.dp.ledger()
    assert line["packets"] == 5
    assert line["first_ns"] == world.zero_ns + 1_000_000_000
    assert line["last_ns"] == world.now_ns
    assert line["sport"] == 3  # the first was kept for 100 ms, the fourth is kept now
    assert line["at_ns"] == world.zero_ns + 1_100_000_000


def test_what_a_stranger_writes_makes_no_lines(world):
    for vni in range(1, 300):
        world.down(A, udp(), vni=1_000_000 + vni)
    (line,) = world.dp.ledger()
    assert (line["reason"], line["vni"], line["packets"]) == ("VNI_UNKNOWN", 0, 299)


def test_more_kinds_than_fit_share_a_line(world):
    world.policy.firewall = [
        r.Firewall(10 + i, 0, 1, 2, 0, r.Match(dst_be=ip(NET), dst_len=32, dport_first=i,
                                                 dport_last=i), f"deny-{i}")
        for i in range(1, KINDS + 51)
    ]  # fmt: skip
    world.commit()
    frames = numbered((1024, i) for i in range(1, KINDS + 51))
    world.inject("downlink", *frames, *frames)
    lines = world.dp.ledger()
    assert len(lines) == KINDS + 1
    others, *single = lines
    assert (others["vni"], others["fw_id"], others["packets"]) == (None, 0, 100)
    assert others["role"] == "several"  # it has frames of both sides
    assert {line["fw_id"] for line in single} == set(range(11, KINDS + 11))
    assert {line["packets"] for line in single} == {2}


def test_explain_leaves_no_line(world):
    world.dp.explain("downlink", over(A, denied()))
    assert world.dp.ledger() == []
    assert world.dp.counters("firewall") == []


def test_what_has_no_port_to_leave_by_has_a_line(built):
    with Datapath(sessions=1024, workload_addresses=1024, fresh=True) as dp:
        dp.nic_add("down0", "downlink")
        World(dp).down(A, udp())
        (line,) = dp.ledger()
        assert line["reason"] == "EGRESS_NO_PORT"
        assert_accounted(dp)


def test_examples_are_never_torn(world):
    """Read while they are written: the tuple and the bytes are of one packet."""
    frames = {sport: over(A, denied(sport)) for sport in range(1, 200)}
    end, read = threading.Event(), []

    def look() -> None:
        while not end.is_set():
            read.extend(world.dp.ledger())

    reader = threading.Thread(target=look)
    reader.start()
    while len(read) < 300:
        for frame in frames.values():
            world.now_s += 0.1  # each is a new example
            world.inject("downlink", frame)
    end.set()
    reader.join()
    assert {frames[d["sport"]][:192].hex() == d["frame"] for d in read} == {True}


# ---- counters by firewall rule and public address ----


@pytest.fixture
def allowing(world):
    """Rule 9 lets UDP to NET out, behind those of the world."""
    match = r.Match(dst_be=ip(NET), dst_len=32, protocol=17)
    world.policy.firewall.append(r.Firewall(9, 0, 0, 2, 0, match, "out"))
    world.commit()
    return world


def rules(world) -> dict[int, dict]:
    return {row["id"]: row for row in world.dp.counters("firewall")}


def test_decisions_are_counted_not_packets(allowing):
    for _ in range(3):
        allowing.down(A, udp())
        allowing.down(A, denied())
    seen = rules(allowing)
    assert {i: (row["hits"], row["sessions"]) for i, row in seen.items()} == {1: (3, 0), 9: (1, 1)}
    assert (seen[9]["out_packets"], seen[9]["out_bytes"]) == (3, 3 * len(udp()))
    assert seen[1]["out_packets"] == 0


def test_the_defaults_decisions_are_counted_by_vrf_and_direction(allowing):
    """Not what a rule decided, nor what the firewall is not asked about."""
    allowing.down(A, udp(dst=B.address))
    allowing.down(A, udp())
    allowing.down(A, udp(dst=OTHER_NET))
    allowing.down(A, udp(dst=OTHER_NET, sport=2))
    allowing.up(udp(NET, SERVER.secondary, dport=7000))
    seen = {row["id"]: row["hits"] for row in allowing.dp.counters("vrfs")}
    assert seen == {0: 2, 1: 1, 2: 0, 3: 0}


def test_what_ended_stays_counted(allowing):
    (sent,) = allowing.down(A, udp())
    allowing.up(IP(src=NET, dst=sent.ip.src) / UDP(sport=53, dport=sent.ip.sport))
    before = rules(allowing)
    allowing.sweep(after_s=301)
    assert allowing.dp.totals()["sessions"] == 0
    assert rules(allowing) == before
    assert (before[9]["in_packets"], before[9]["out_packets"]) == (1, 1)


@pytest.mark.parametrize("goes_on", [True, False], ids=["another in its place", "at an end"])
def test_what_a_packet_ends_is_counted_before_housekeeping_comes(world, goes_on):
    """A counter that falls, and rises a second later, reads as one that began anew."""

    def counted():
        (row,) = [row for row in world.dp.counters("nat") if row["id"] == snat.id]
        return row["in_packets"], row["in_bytes"], row["out_packets"]

    snat = world.policy.nat["snat"]
    (sent,) = world.down(A, udp())
    world.up(IP(src=NET, dst=sent.ip.src) / UDP(sport=53, dport=sent.ip.sport) / b"answer")
    before = counted()
    world.policy.nat["snat"] = snat._replace(log=1)
    world.commit()
    if not goes_on:
        world.policy.nat["snat"] = snat._replace(action=NO_DNAT)
        world.dp.commit(world.policy.tables(), 2)
    (left,) = world.down(A, udp())
    assert left.role == ("uplink" if goes_on else "downlink")  # itself, or what its sender hears
    assert counted() == (*before[:2], before[2] + goes_on)
    world.sweep()
    assert counted() == (*before[:2], before[2] + goes_on)
    assert goes_on or world.drops() == {"NO_NAT": 1}


def ports_of(w, rule: str) -> tuple[int, int]:
    id_ = w.policy.nat[rule].id
    (row,) = [row for row in w.dp.counters("nat") if row["id"] == id_]
    return row["ports"], row["ports_used"]


def test_ports_in_use_of_a_rule_and_of_its_address(world):
    assert ports_of(world, "tiny") == (4, 0)
    assert ports_of(world, "snat") == (2 * (65535 - 1024 + 1), 0)
    for sport in range(3):
        world.down(TINY, udp(TINY.address, sport=1 + sport))
    assert ports_of(world, "tiny") == (4, 3)
    rows = {row["id"]: row for row in world.dp.counters("publics")}
    assert (rows[FEW.index]["ports_used"], rows[SERVER.index]["ports_used"]) == (3, 0)


def test_a_rule_with_no_port_left_is_seen_beside_one_with_many(world):
    """Rules of one address that draw from ranges of their own."""
    few = world.policy.nat["tiny"]
    world.policy.nat["low"] = few._replace(id=90, port_first=1100, port_last=1227)
    world.policy.nat["high"] = few._replace(id=91, port_first=60000, port_last=65535)
    world.commit()
    for sport in range(4):
        world.down(TINY, udp(TINY.address, sport=1 + sport))
    assert ports_of(world, "tiny") == (4, 4)
    assert [ports_of(world, rule) for rule in ("low", "high")] == [(128, 0), (5536, 0)]


def test_many_rules_of_an_address_each_see_what_is_taken_of_their_range(world):
    """Ranges of two addresses, the same ones, overlapping ones, single ports; more than have places
    of their own while they are counted, and more than a first page holds."""
    few, other, n = world.policy.nat["tiny"], world.policy.nat["snat"], 8000
    ranges = {100 + i: (2000 + i % 4, 2003 + i // 8 * 29) for i in range(n)} | {99: (2001, 2001)}
    for id_, (first, last) in ranges.items():
        match = few.match._replace(src_be=(0x0AFE0000 + id_).to_bytes(4), src_len=32)
        rule = (other if id_ & 4 else few)._replace(id=id_, match=match)
        world.policy.nat[f"rule {id_}"] = rule._replace(port_first=first, port_last=last)
    world.commit()
    for sport in range(3):
        world.down(TINY, udp(TINY.address, sport=1 + sport))
    taken = {s["rev_dport"] for s in world.dp.sessions()}
    assert len(taken) == 3
    for _ in range(2):
        rows = {row["id"]: row for row in world.dp.counters("nat")}
        assert {id_: (rows[id_]["ports"], rows[id_]["ports_used"]) for id_ in ranges} == {
            id_: (2 * (last - first + 1), 0)
            if id_ & 4
            else (last - first + 1, sum(first <= port <= last for port in taken))
            for id_, (first, last) in ranges.items()
        }


def test_ports_that_dnat_has_promised_are_not_there_to_draw(world):
    world.policy.nat["door"] = nat(12, 0, to_public(FEW, 17, 2001, 2001), target=B)
    world.commit()
    assert ports_of(world, "tiny")[0] == 3
