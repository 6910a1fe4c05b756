"""install.c: two workers open the same sessions at the same time, each by its own first packet.

Both take the same packets in the same order, so now and then both find no session, both decide, and
one of them comes second. What it has made must be gone, and its packet goes by the other's session.
"""

import time

import pytest

from bench import path
from bench.path import SYN, Shape
from bench.world import FLOW, REMOTES, World, tep, workload
from pcg.datapath.lib import Datapath
from tests.c.conftest import assert_accounted
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("built")
FLOWS = 8192  # whole bursts
ROOM = 4 * FLOWS  # whoever came second has its record until housekeeping comes
PLACE = World(64)
SHAPE = Shape(passes=1, workers=2, more={"realtime": 0, "in_order": 1, "tcp_flags": SYN})


def opened_twice(dp: Datapath, array: bytes, held=None) -> int:
    """All sessions from nothing, by two workers at once. How many were decided by both.

    held: mappings and further peers of them that there must be then"""
    before = dp.totals()
    dp.bench(SHAPE.fields() | {"frames": FLOWS}, array)
    assert dp.drops() == {}
    for _ in range(2):  # what came second is unlinked, and given back
        dp.sweep(time.monotonic_ns())
    after, sessions = dp.totals(), list(dp.sessions())
    assert after["tx"] - before["tx"] == 2 * FLOWS
    assert after["sessions"] == len(sessions) == FLOWS
    assert held in (None, (after["mappings"], after["peers"]))
    # a direction's counters are its own worker's: of two at once one may be lost
    assert {one["fwd_packets"] for one in sessions} <= {1, 2}
    assert_accounted(dp)
    path.forget(dp)
    left = dp.totals()
    assert (left["sessions"], left["mappings"], left["peers"]) == (0, 0, 0)
    return after["decisions"] - before["decisions"] - FLOWS


@pytest.mark.parametrize("workload", ["north", "south"])
def test_one_session_comes_of_it_and_both_packets_go_by_it(workload):
    with path.opened(PLACE, ROOM, workers=2) as dp:
        array, _ = path.flows(PLACE, workload, FLOWS)
        wait_until(lambda: opened_twice(dp, array), "two workers that decide the same packet", 60)


def test_of_a_further_peer_one_record_comes(built):
    """Sixteen inside endpoints, each with many peers and two sessions with each of them."""
    ends = [
        (REMOTES + i // 2 % (FLOWS // 32), 8053 + i % 2, 1024 + i // (FLOWS // 16))
        for i in range(FLOWS)
    ]
    flows = b"".join(
        FLOW.pack(workload(0), remote.to_bytes(4), tep(0), sport, dport, 17)
        for remote, dport, sport in ends
    )
    with path.opened(PLACE, ROOM, workers=2) as dp:
        held = 16, FLOWS // 2 - 16
        wait_until(lambda: opened_twice(dp, flows, held), "two workers that decide the same", 60)
