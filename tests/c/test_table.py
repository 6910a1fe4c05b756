"""The session table itself, filled, emptied and overfilled at random, against a dict of times."""

import random

import pytest

from pcg.datapath.lib import Datapath
from tests.c.conftest import assert_accounted
from tests.c.packets import udp
from tests.c.places import NET, A
from tests.c.world import World, numbered

IDLE_S, ROOM, FLOWS = 300, 1024, 2500


class Twin:
    """Flow -> when it was last seen; what the table must hold."""

    def __init__(self) -> None:
        self.seen: dict[int, float] = {}

    def send(self, flow: int, now_s: float) -> bool:
        if flow not in self.seen and len(self.seen) == ROOM:
            return False
        self.seen[flow] = now_s
        return True

    def sweep(self, now_s: float) -> None:
        self.seen = {f: at for f, at in self.seen.items() if int(now_s) - int(at) <= IDLE_S}


@pytest.mark.parametrize("seed", range(3))
def test_random_insert_lookup_expire(built, seed):
    rnd, twin = random.Random(seed), Twin()
    frames = numbered((1000 + i, 1 + i % 3) for i in range(FLOWS))
    outside: dict[int, int] = {}  # flow -> its port on the uplink, while its session lives
    with Datapath(sessions=ROOM, workload_addresses=1024, fresh=True) as dp:
        dp.nic_add("up0", "uplink")
        dp.nic_add("down0", "downlink")
        w = World(dp)
        w.now_s = 1.0
        for _ in range(60):
            w.now_s += rnd.choice((0, 1, 20, 90))
            flows = rnd.choices(range(FLOWS), k=rnd.choice((1, 50, 400)))
            passed = [flow for flow in flows if twin.send(flow, w.now_s)]
            out = dp.inject("downlink", [frames[flow] for flow in flows], w.now_ns)
            sent = [one for one in out if one.role == "uplink"]  # not what refusals say
            assert len(sent) == len(passed)
            for flow, one in zip(passed, sent, strict=True):
                port = int.from_bytes(one.frame[34:36])
                assert outside.setdefault(flow, port) == port  # found again, not made anew
            if rnd.random() < 0.5:
                twin.sweep(w.now_s)
                w.sweep()
                outside = {flow: port for flow, port in outside.items() if flow in twin.seen}
            assert dp.totals()["sessions"] == dp.totals()["mappings"] == len(twin.seen)
        rows = {s["fwd_sport"] - 1000: s["rev_dport"] for s in dp.sessions()}
        assert rows == {flow: outside[flow] for flow in twin.seen}
        assert len(set(rows.values())) == len(rows)
        assert dp.drops().keys() <= {"SESSIONS_FULL"}
        assert_accounted(dp)


def test_a_full_table_is_as_good_after_many_lives(built):
    """Each bucket of the index overflows at some time; none may keep what it took for ever."""
    half, steps = ROOM // 2, 64
    frames = numbered((1000 + i % 60_000, 1 + i // 60_000) for i in range(half * steps))
    with Datapath(sessions=ROOM, workload_addresses=1024, fresh=True) as dp:
        dp.nic_add("up0", "uplink")
        dp.nic_add("down0", "downlink")
        w = World(dp)
        for step in range(steps):
            w.now_s = 1.0 + step * (IDLE_S * 2 // 3)  # all but the latest half have aged
            w.sweep()
            batch = frames[step * half : (step + 1) * half]
            assert len(dp.inject("downlink", batch, w.now_ns)) == half
        assert dp.totals()["sessions"] == ROOM
        assert dp.drops() == {}


def test_the_rows_name_both_ends(world):
    world.down(A, udp(sport=5))
    (row,) = world.dp.sessions()
    assert (row["fwd_src"], row["fwd_dst"], row["rev_src"]) == (A.address, NET, NET)
