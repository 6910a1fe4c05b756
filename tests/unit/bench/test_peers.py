"""Turns of gateways, their rows, and the packets of those that forward in memory."""

from types import SimpleNamespace

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import PcapReader

from bench import frames, memory_peers, peers, veth, world
from bench.gateways import GENEVE
from bench.memory_peers import Turn
from bench.rows import OURS
from bench.switch import SWITCH

HUGE = SimpleNamespace(system=OURS, driver="mem", huge=True)
SMALL = SimpleNamespace(system=OURS, driver="mem, 4 KiB pages", huge=False)
THEIRS = SimpleNamespace(system=SWITCH, driver="dpdk")


def test_turns_alternate_and_one_that_fails_says_why_once():
    asked = []

    def turn(gateway: str) -> int:
        asked.append(gateway)
        if gateway == "broken":
            raise RuntimeError("no such driver")
        return len(asked)

    found, failed = peers.in_turns(["ours", "broken", "theirs"], turn, 2)
    assert asked == ["ours", "broken", "theirs", "ours", "theirs"]
    assert found == {0: [1, 4], 2: [3, 5]}
    assert failed == {1: "no such driver"}
    row = peers.silent(THEIRS, "north", 1000, failed[1])
    assert (row.workload, row.system, row.note) == ("peer north", SWITCH, "no such driver")


def test_in_memory_the_peer_is_compared_on_the_same_pages_without_its_source():
    found = {
        0: [Turn([10.0] * 8, floor=4.0, ghz=2.0)],
        1: [Turn([20.0] * 8, floor=5.0, ghz=2.0)],
        2: [Turn([110.0] * 8, floor=10.0, new=500.0), Turn([110.0], floor=10.0, new=250.0)],
    }
    ours, _small, theirs, setup = peers.memory_rows([HUGE, SMALL, THEIRS], found, "north", 1000)
    assert (ours.cycles_per_packet, ours.times_floor()) == (20, 2.5)
    assert (theirs.cycles_per_packet, theirs.mpps) == (220, pytest.approx(1e3 / 110))
    assert theirs.more["times"] == (220 - 20) / 40
    assert "5.0 times PCG's" in theirs.note
    assert (setup.workload, setup.mpps, setup.cycles_per_packet) == ("peer setup north", 4, 500)


def test_a_new_session_s_time_needs_two_looks_while_they_are_made():
    assert memory_peers.of_one([(0, 0), (99, 5)], 100) == 0
    assert memory_peers.of_one([(50, 10), (100, 20), (100, 30)], 100) == 0


def test_over_veths_the_peer_is_compared_with_our_best_driver():
    found = {0: [{"north": 3e5, "south": 1e5}], 1: [{"north": 6e5, "south": 1e5}]}
    found[2] = [{"north": 2e5, "south": 0.0}]
    rows = list(peers.veth_rows([HUGE, SMALL, THEIRS], found, 1000))
    assert [row.more.get("times") for row in rows] == [None, None, 3.0, None, None, None]


def test_without_any_of_ours_nothing_is_compared():
    assert list(peers.memory_rows([THEIRS], {0: [Turn([1.0])]}, "north", 1)) == []


@pytest.mark.parametrize("way", ["north", "south"])
def test_flows_are_of_udp_and_otherwise_the_world_s(way):
    flows = list(world.FLOW.iter_unpack(memory_peers.flows(way, 100)))
    ours = [world.FLOW.unpack(flow) for flow in getattr(memory_peers.PLACE, way)(100)]
    assert {flow[-1] for flow in flows} == {world.UDP}
    assert [flow[:-1] for flow in flows] == [flow[:-1] for flow in ours]


def test_a_file_for_dpdk_is_a_pcap(tmp_path):
    sent = list(memory_peers.made(memory_peers.flows("north", 3), GENEVE))
    file = tmp_path / "frames.pcap"
    file.write_bytes(frames.as_pcap(sent))
    assert [bytes(frame) for frame in PcapReader(str(file))] == sent


def test_answers_go_to_what_open_vswitch_translated_to():
    said = "udp,orig=(src=10.16.1.70,dst=8.1.2.3,sport=1024,dport=443),"
    said += "reply=(src=8.1.2.3,dst=10.201.0.6,sport=443,dport=1024),zone=1\n"
    switch = SimpleNamespace(appctl=lambda *_argv: said)
    (answer,) = (Ether(frame) for frame in memory_peers.Switch.answers(switch))
    assert (answer[IP].src, answer[IP].dst) == ("8.1.2.3", "10.201.0.6")
    assert (answer[UDP].sport, answer[UDP].dport) == (443, 1024)


def test_a_ladder_of_rates_climbs_over_a_busy_moment_and_ends_where_less_comes():
    asked = []

    def came(rate: float) -> float:
        asked.append(rate)
        if len(asked) in (1, 4):  # the machine had something else to do
            return 0.0
        return rate if rate < 200_000 else 20_000.0

    best = veth.highest(came)
    assert 140_000 < best < 200_000
    assert asked[0] == asked[1]
    assert asked[-3:] == [asked[-1]] * 3
