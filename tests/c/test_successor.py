"""successor.c: sessions that go on by another rule or next hop, while both directions use them.

Each worker has one direction of every session, so its counters are one worker's and the sums are
exact. Whatever the workers do at the same time, a session that is still allowed loses no packet.
"""

import socket
import threading
import time

import pytest

from bench import path, world
from bench.path import ACK, Shape
from bench.world import World
from pcg.datapath.lib import Datapath
from pcg.reconcile import records as r
from tests.c.conftest import assert_accounted
from tests.c.test_drops import small
from tests.c.world import World as Places
from tests.c.world import numbered
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("built")
FLOWS = 2048  # whole bursts
ROOM = 4 * FLOWS
ROUNDS = 4
KEEP = 1 << 15  # events
PLACE = World(64)
OTHER_HOP = bytes([10, 99, 1, 2])
SHAPE = Shape(passes=1, workers=2, more={"realtime": 0, "in_order": 1, "tcp_flags": ACK})


def by_log(policy: dict[str, list], i: int) -> None:
    policy["nat"] = [rule._replace(log=i % 2) for rule in policy["nat"]]


def by_rule(policy: dict[str, list], i: int) -> None:
    policy["firewall"] = [r.Firewall(i, 0, 0, 3, 0, r.Match(), "allow all")]


def by_next_hop(policy: dict[str, list], i: int) -> None:
    hop = OTHER_HOP if i % 2 else world.HOP
    policy["routes"] = [
        route._replace(next_hop_be=hop) if route.prefix_len == 0 else route
        for route in policy["routes"]
    ]


TRIGGERS = pytest.mark.parametrize("change", [by_log, by_rule, by_next_hop])
WAYS = pytest.mark.parametrize("workload", ["north", "south"])


def commit(dp: Datapath, change, i: int) -> None:
    """And housekeeping decides at once: every session is to be made anew."""
    policy = PLACE.policy()
    change(policy, i)
    dp.commit(policy, 1 + i)
    dp.sweep(time.monotonic_ns())


def replies(dp: Datapath) -> dict[tuple, bytes]:
    """By the initiator's tuple: the flow that answers it."""
    found = {}
    for s in dp.sessions():
        src, dst = (socket.inet_aton(s[end]) for end in ("rev_src", "rev_dst"))
        proto = socket.getprotobyname(s["protocol"])
        w = int.from_bytes(src) - world.WORKLOADS
        tep = world.tep(w) if 0 <= w < PLACE.workloads else bytes(4)
        flow = world.FLOW.pack(src, dst, tep, s["rev_sport"], s["rev_dport"], proto)
        found[s["fwd_src"], s["fwd_dst"], s["fwd_sport"], s["fwd_dport"], proto] = flow
    return found


def both_ways(dp: Datapath, workload: str) -> bytes:
    """FLOWS sessions, made; as flows: all from their initiators, then the answers in that order."""
    array, _ = path.flows(PLACE, workload, FLOWS)
    path.make_sessions(dp, array, Shape(passes=1))
    found, back = replies(dp), b""
    for src, dst, _, sport, dport, proto in world.FLOW.iter_unpack(array):
        back += found[socket.inet_ntoa(src), socket.inet_ntoa(dst), sport, dport, proto]
    return array + back


def run(dp: Datapath, flows: bytes, **more) -> None:
    dp.bench(SHAPE.fields() | {"frames": FLOWS, "keeper": 0} | more, flows)


def swept(dp: Datapath) -> None:
    for _ in range(2):  # what has given its place away is given back
        dp.sweep(time.monotonic_ns())


def assert_nothing_lost(dp: Datapath, passes: int) -> None:
    """After a SYN or its like of each session, and so many packets of both directions."""
    swept(dp)
    totals = dp.totals()
    assert dp.drops() == {}
    assert (totals["made"], totals["sessions_cut"]) == (0, 0)
    assert totals["tx"] == totals["rx"] == FLOWS + passes * 2 * FLOWS
    assert totals["sessions"] == FLOWS
    rules = dp.counters("nat")
    assert sum(rule["in_packets"] + rule["out_packets"] for rule in rules) == totals["tx"]
    assert sum(row.sessions for row in dp.read("usage")) == FLOWS
    assert_accounted(dp)


def assert_nothing_stays(dp: Datapath) -> None:
    path.forget(dp)
    totals = dp.totals()
    assert (totals["sessions"], totals["mappings"]) == (0, 0)
    assert {(row.sessions, row.ports) for row in dp.read("usage")} <= {(0, 0)}


@TRIGGERS
@WAYS
def test_no_packet_of_either_direction_is_lost(workload, change):
    with path.opened(PLACE, ROOM, workers=2) as dp:
        dp.put("nexthops", [r.Nexthops(OTHER_HOP, world.MAC, 1)])
        dp.events(KEEP)
        flows = both_ways(dp, workload)
        before = dp.totals()
        for i in range(1, ROUNDS + 1):
            commit(dp, change, i)
            run(dp, flows)
            assert dp.totals()["sessions_made"] == FLOWS + i * FLOWS  # each once, whoever was first
            swept(dp)
        assert dp.totals()["mappings"] == before["mappings"]
        assert_nothing_lost(dp, ROUNDS)
        told = []
        while page := dp.events(KEEP):
            told += [(event["kind"], event["continued"], event["end"]) for event in page]
        assert told.count(("began", False, "none")) == FLOWS
        assert told.count(("began", True, "none")) == ROUNDS * FLOWS
        assert told.count(("ended", False, "decided_again")) == ROUNDS * FLOWS
        assert len(told) == FLOWS + 2 * ROUNDS * FLOWS
        assert_nothing_stays(dp)


@WAYS
def test_nor_while_rules_change_and_housekeeping_runs_beside(workload):
    passes, i, runs = 24, 0, 0

    def met(dp: Datapath, flows: bytes) -> bool:
        """Whether a commit came between; on a busy machine a run may be over before."""
        nonlocal i, runs
        more = {"passes": passes, "keeper": 1}
        forward = threading.Thread(target=run, args=(dp, flows), kwargs=more)
        forward.start()
        while forward.is_alive():
            i += 1
            commit(dp, by_rule if i % 2 else by_log, i)
        forward.join()
        runs += 1
        return dp.totals()["sessions_made"] > FLOWS

    with path.opened(PLACE, ROOM, workers=2) as dp:
        flows = both_ways(dp, workload)
        wait_until(lambda: met(dp, flows), "sessions made anew beside", 60)
        assert_nothing_lost(dp, runs * passes)
        assert_nothing_stays(dp)


@WAYS
def test_two_workers_decide_the_same_session(workload):
    """The one that comes second goes by what the first has made, or is making."""
    i = 0

    def met(dp: Datapath, flows: bytes) -> int:
        nonlocal i
        i += 1
        commit(dp, by_rule, i)
        before = dp.totals()
        run(dp, flows, frames=2 * FLOWS)  # each takes all flows, in the same order
        after = dp.totals()
        assert after["tx"] - before["tx"] == 4 * FLOWS
        assert after["sessions_made"] - before["sessions_made"] == FLOWS
        swept(dp)
        assert (dp.totals()["sessions"], dp.totals()["made"], dp.drops()) == (FLOWS, 0, {})
        return after["decisions"] - before["decisions"] - FLOWS

    with path.opened(PLACE, ROOM, workers=2) as dp:
        flows = both_ways(dp, workload)
        wait_until(lambda: met(dp, flows), "two workers that decide the same session", 60)
        assert_accounted(dp)
        assert_nothing_stays(dp)


def test_in_a_full_table_the_old_one_goes_on():
    """To go on by another rule needs a free record for a moment; for want of one nothing ends."""
    with small() as dp:
        dp.nic_add("up0", "uplink")
        dp.nic_add("down0", "downlink")
        places, n = Places(dp), dp.totals()["sessions_max"]
        silent, *others = numbered((1 + i, 53) for i in range(n))
        assert len(dp.inject("downlink", [silent, *others], places.now_ns)) == n
        places.policy.firewall = [r.Firewall(7, 0, 0, 3, 0, r.Match(), "allow all")]
        places.commit()
        places.now_s += 200
        assert len(dp.inject("downlink", others, places.now_ns)) == n - 1
        assert {s["fw_id"] for s in dp.sessions()} == {0}
        places.sweep(after_s=101)
        assert dp.totals()["sessions"] == n - 1  # one place is free now
        assert len(dp.inject("downlink", others, places.now_ns)) == n - 1
        assert sum(s["fw_id"] == 7 for s in dp.sessions()) == 1
        assert (dp.totals()["made"], places.drops()) == (0, {})
        assert_accounted(dp)
