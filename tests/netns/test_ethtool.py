"""ethtool.py on a real driver: its statistics by name, as the driver counts them."""

import json

import pytest
from pyroute2 import IPRoute

from pcg.drivers.counters import read_links
from pcg.drivers.ethtool import tool
from pcg.model.errors import BackendError


def link(space, name: str) -> dict:
    (found,) = json.loads(space.run(f"ip -json link show {name}"))
    return found


def test_statistics_of_a_driver(inside):
    """veth tells its peer's number, which `ip link` knows too, and counts by queue."""
    with tool("up0") as it:
        found = it.statistics()
    assert found["peer_ifindex"] == link(inside.peer, "u1")["ifindex"]
    assert any(name.startswith("rx_queue_0_") for name in found)


def test_the_ledger_reads_them_and_does_without(inside):
    """`lo` has none; it is still read."""
    with IPRoute() as ip:
        sources = {(c.where, c.source) for c in read_links(ip, ["lo", "up0"])}
    assert sources == {("lo", "interface"), ("up0", "interface"), ("up0", "driver")}


def test_an_interface_that_is_not_there(inside):
    with tool("none0") as it, pytest.raises(BackendError, match="interface none0"):
        it.statistics()
