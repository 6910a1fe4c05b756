"""first.c: what the packets of one burst, none of which has a session, make of each other."""

import pytest

from pcg.datapath.lib import Datapath
from tests.c.conftest import assert_accounted
from tests.c.packets import tcp, udp
from tests.c.places import FEW, NET, OTHER_NET, SERVER, TEP2, TINY, A, B
from tests.c.wire import plain
from tests.c.world import World, over

BURST = 32


def down(world, *packets, vm=A, **given):
    """All in one burst."""
    return world.inject("downlink", *[over(vm, one, **given) for one in packets])


def out(world, *packets, **given):
    """Likewise; what leaves by the uplink, not what is said to the sender."""
    return [one for one in down(world, *packets, **given) if one.role == "uplink"]


def made(world) -> tuple[int, int, int]:
    t = world.dp.totals()
    return t["sessions_made"], t["sessions"], t["mappings"]


def test_second_packet_of_a_flow_is_of_the_first_ones_session(world):
    sent = down(world, *[udp(data=bytes([i])) for i in range(BURST)])
    assert len(sent) == BURST
    assert len({one.ip.sport for one in sent}) == 1
    assert made(world) == (1, 1, 1)
    (row,) = world.dp.sessions()
    assert row["fwd_packets"] == BURST


def test_flows_in_turns(world):
    sent = down(world, *[udp(sport=1 + i % 3) for i in range(BURST)])
    assert [one.ip.sport for one in sent] == [sent[i % 3].ip.sport for i in range(BURST)]
    assert made(world) == (3, 3, 3)


def test_from_outside_too(world):
    packet = udp(NET, SERVER.secondary, dport=7000)
    sent = world.inject("uplink", *[plain(packet) for _ in range(BURST)])
    assert [one.ip.dst for one in sent] == [B.address] * BURST
    assert made(world) == (1, 1, 0)


def test_one_inside_endpoint_has_one_mapping(world):
    sent = down(world, *[udp(dst=f"9.9.0.{i}") for i in range(BURST)])
    assert len({(one.ip.src, one.ip.sport) for one in sent}) == 1
    assert made(world) == (BURST, BURST, 1)


@pytest.mark.parametrize("then", ["R", "A", "FA"])
def test_what_opens_nothing_follows_what_does(world, then):
    first, second = down(world, tcp("S"), tcp(then))
    assert (second.ip.src, second.ip.sport) == (first.ip.src, first.ip.sport)
    assert world.drops() == {}
    assert made(world) == (1, 1, 1)


def test_what_opens_nothing_alone_is_refused(world):
    refused = down(world, tcp("A"), tcp("A", sport=2), tcp("S", sport=3))
    assert len(refused) == 3  # two resets, one sent on
    assert world.drops() == {"TCP_NO_SESSION": 2}


def test_each_is_decided_by_itself(world):
    """Refused, unknown and passing ones side by side; a stranger may not use its neighbour's."""
    denied = [udp(dst="198.51.100.66", sport=1 + i) for i in range(5)]
    down(world, udp(), *denied, udp(dst="100.127.0.1"), udp(sport=9))
    assert world.drops() == {"FIREWALL_DENIED": 5, "NEIGHBOUR_UNRESOLVED": 1}
    world.inject("downlink", over(A, udp(sport=77)), over(A, udp(sport=77), tep=TEP2))
    assert world.drops() == {"SOURCE_SPOOFED": 1}
    assert made(world) == (3, 3, 3)


def test_ports_run_out_in_the_middle(world):
    """TINY's rule has four; the rest leave nothing behind, and what was held is free again."""
    few = [udp(TINY.address, sport=1 + i) for i in range(7)]
    sent = out(world, *few, vm=TINY)
    assert {one.ip.sport for one in sent} == {2000, 2001, 2002, 2003}
    assert {one.ip.src for one in sent} == {FEW.secondary}
    assert world.drops() == {"NAT_PORTS_EXHAUSTED": 3}
    assert made(world) == (4, 4, 4)
    assert down(world, udp(TINY.address, OTHER_NET, sport=few[0].sport), vm=TINY)


@pytest.fixture
def small(built):
    """Room for 1,024 sessions and 40 mappings; each test fills the place and empties it again."""
    with Datapath(sessions=1024, workload_addresses=1024, fresh=True, mappings=40) as dp:
        dp.nic_add("up0", "uplink")
        dp.nic_add("down0", "downlink")
        w = World(dp)
        yield w
        w.sweep(after_s=301)
        totals = dp.totals()
        assert totals["sessions"] == totals["mappings"] == 0
        w.drops()
        assert len(down(w, *[udp(sport=5000 + i) for i in range(40)])) == 40
        assert_accounted(dp)


def test_full_at_the_limit_and_not_before(small):
    """A flow's second packets take no place, whatever was set aside for them."""
    assert len(down(small, *[udp(sport=1 + i) for i in range(38)])) == 38
    tail = [udp(sport=s) for s in (100, 100, 100, 200, 300, 100, 200)]
    assert len(out(small, *tail)) == 6
    assert small.drops() == {"NAT_MAPPINGS_FULL": 1}
    assert made(small) == (40, 40, 40)


def test_further_peers_of_a_mapping_take_its_places(small):
    """RFC 4787 REQ-11: each but the first, as long as a session with it lives. Explain says so."""
    peers = [udp(dst=f"9.9.0.{i}") for i in range(45)]
    assert len(out(small, *peers[:40], peers[3])) == 41
    told, _ = small.dp.explain("downlink", over(A, peers[40]))
    assert told[-1]["reason"] == "NAT_MAPPINGS_FULL"
    assert len(out(small, *peers[40:])) == 0  # nor does it keep a place among the sessions
    assert small.drops() == {"NAT_MAPPINGS_FULL": 5}
    assert len(out(small, *[udp(dst=f"9.9.0.{i}", dport=54) for i in range(40)])) == 40
    totals = small.dp.totals()
    assert (totals["sessions"], totals["mappings"], totals["peers"]) == (80, 1, 39)
    assert not out(small, udp(sport=1001))
    assert small.drops() == {"NAT_MAPPINGS_FULL": 1}


def test_sessions_full_at_the_limit(small):
    one = [udp(dport=1 + i) for i in range(1022)]  # all by one mapping, with one peer
    assert len(down(small, *one)) == 1022
    tail = [udp(sport=s) for s in (100, 100, 200, 300, 100)]
    assert len(out(small, *tail)) == 4
    assert small.drops() == {"SESSIONS_FULL": 1}
    assert made(small) == (1024, 1024, 3)
