"""The bench's world: every session another tuple, every rule set of the size it says."""

import ipaddress
from collections import Counter

import pytest

from bench import busy, path, world
from bench.world import FLOW, World

SMALL = World(64)


@pytest.mark.parametrize("workload", ["north", "south", "east"])
def test_no_flow_comes_twice(workload):
    flows = list(getattr(World(), workload)(50_000))
    assert len(set(flows)) == len(flows)


def test_north_is_even_over_workloads_and_protocols():
    flows = [FLOW.unpack(flow) for flow in SMALL.north(6400)]
    assert set(Counter(flow[0] for flow in flows).values()) == {100}
    assert Counter(flow[5] for flow in flows) == {world.TCP: 3200, world.UDP: 3200}


def test_a_workload_and_its_flow_agree_about_the_tep():
    behind = {port.address_be: port.tep_be for port in (SMALL.port(w) for w in range(64))}
    for flow in [*SMALL.north(200), *SMALL.east(200)]:
        source, destination, tep, *_ = FLOW.unpack(flow)
        assert behind[source] == tep
        assert source != destination


def test_south_has_no_tunnel():
    assert {FLOW.unpack(flow)[2] for flow in SMALL.south(100)} == {bytes(4)}


@pytest.mark.parametrize(
    "rules, nat, firewall, routes", [(False, 96, 0, 2), (True, 1000, 1000, 10_000)]
)
def test_policy_sizes(rules, nat, firewall, routes):
    policy = World(rules=rules).policy()
    assert [len(policy[t]) for t in ("nat", "firewall", "routes")] == [nat, firewall, routes]


def test_no_route_takes_a_workload_away():
    workloads = ipaddress.ip_network("10.16.0.0/12")
    routes = world.routes_north(2000)
    nets = [ipaddress.ip_network((r.prefix_be, r.prefix_len)) for r in routes]
    assert len(set(nets)) == len(nets)
    assert not [net for net in nets if net.overlaps(workloads)]


@pytest.mark.parametrize("workloads", [0, 63, 100])
def test_only_powers_of_two(workloads):
    with pytest.raises(ValueError, match="power of two"):
        World(workloads)


def test_mixed_is_one_half_each_and_whole_bursts():
    array, split = path.flows(SMALL, "mixed", 1000)
    flows = [FLOW.unpack(flow) for flow in split_up(array)]
    assert split % path.BURST == 0
    assert {flow[2] == bytes(4) for flow in flows[:split]} == {False}
    assert {flow[2] == bytes(4) for flow in flows[split:]} == {True}


def test_shuffled_alternates_by_bursts():
    flows = split_up(path.shuffled(path.flows(SMALL, "mixed", 1000)[0]))
    kinds = [FLOW.unpack(flow)[2] == bytes(4) for flow in flows]
    whole = path.BURST
    assert kinds[: 3 * whole] == [False] * whole + [True] * whole + [False] * whole


def test_colliding_flows_collide_and_differ():
    flows = split_up(busy.colliding(2000, bits=16))
    assert len(set(flows)) == 2000
    assert {busy.crc(flow) & 0xFFFF for flow in flows} == {busy.crc(flows[0]) & 0xFFFF}


def split_up(array: bytes) -> list[bytes]:
    return [array[i : i + FLOW.size] for i in range(0, len(array), FLOW.size)]
