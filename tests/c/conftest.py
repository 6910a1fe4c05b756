"""The C packet path in this process, without a NIC. Whatever a test does, no frame may vanish."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcg.datapath.lib import Datapath
from tests.c.world import World


def assert_accounted(dp: Datapath) -> None:
    """rx + made = tx + punt + sum(drops) + held + joined, at rest; the ledger agrees, and
    no more is said of flows."""
    t = dp.totals()
    ended = t["tx"] + t["punt"] + t["drops"] + t["held"] + t["joined"]
    assert t["rx"] + t["made"] == ended, t
    assert t["drops"] == sum(dp.drops().values())
    noted = Counter()
    for row in dp.ledger():
        noted[row["reason"]] += row["packets"]
    assert noted == dp.drops()
    listed = Counter()
    for row in dp.recent():
        listed[row["reason"]] += row["packets"]
    assert listed <= noted


@pytest.fixture
def dp(built) -> Iterator[Datapath]:
    """A fresh datapath on anonymous memory: `up0` is its uplink, `down0` its downlink.

    Its tables are empty. Use `dp.inject(role, frames)`; workers are not started.
    """
    with Datapath(sessions=4096, workload_addresses=1024, fresh=True) as path:
        path.nic_add("up0", "uplink")
        path.nic_add("down0", "downlink")
        yield path
        assert_accounted(path)


@pytest.fixture
def world(dp):
    """The datapath `dp`, holding the world of places.py; every frame it sends is checked."""
    return World(dp)


@pytest.fixture
def captures() -> Path:
    """The folder of captured frames."""
    return Path(__file__).parent / "captures"
