"""busy.py, churn.py, idle.py: what they bring about really happens. No time is asserted."""

import time

import pytest

from bench import busy, churn, idle, path
from bench.path import Shape
from bench.world import FLOW, World
from tests.c.conftest import assert_accounted

pytestmark = pytest.mark.usefixtures("built")
FEW = Shape(passes=2, more={"frames": 256, "realtime": 0})


@pytest.fixture
def short(monkeypatch):
    """Turns of two small passes."""
    small = {"FRAMES": 256, "cpus": lambda workers: [path.machine.cores()[0]] * workers}
    for name, value in small.items():
        monkeypatch.setattr(path, name, value)
    monkeypatch.setattr(churn, "SHAPE", FEW)
    for name, value in {"ROUNDS": 1, "WARM": 0, "PROBES": 3}.items():
        monkeypatch.setattr(churn, name, value)
    for name, value in {"TURNS": 1, "ENDING_PASSES": 1, "TURN_PASSES": 2}.items():
        monkeypatch.setattr(busy, name, value)


def test_changes_are_made_while_it_forwards(short):
    rows = {row.workload: row for row in churn.churn(2048)}
    assert set(rows) == {"churn rules", "marked", "churn ports"}
    assert all(row.note and row.value is not None for row in rows.values())
    assert rows["churn rules"].more["per_s"] > 0
    assert len(rows["churn ports"].more["lost"]) == 1
    assert rows["marked"].value > 0


def test_half_of_the_sessions_end_beside_the_others(short):
    rows = {row.workload: row for row in busy.stall(2048)}
    assert set(rows) == {"stall", "stall ending"}
    assert rows["stall ending"].more["ended"] % 1024 == 0 < rows["stall ending"].more["ended"]
    assert min(rows["stall"].more["busy"]) > 0


def test_of_a_commits_touches_some_hit():
    hits = [touch.src_be[1] == 16 for touch in churn.touches(2, 30)]
    assert hits == [True] * 30 + [False] * 70


def test_a_clock_that_is_ahead_leaves_behind_what_is_not_met():
    place = World(64)
    with path.opened(place, 512) as dp:
        array, _ = path.flows(place, "north", 512)
        path.make_sessions(dp, array, FEW)
        half = array[: 256 * FLOW.size]
        path.make_sessions(dp, half, Shape(passes=1, more={"realtime": 0, "ahead_s": 1000}))
        assert dp.totals()["sessions"] == 512
        dp.sweep(time.monotonic_ns() + 1000 * 10**9)
        assert dp.totals()["sessions"] == 256
        assert_accounted(dp)


def test_slowest_burst_on_the_cpu_when_asked_for():
    place = World(64)
    with path.opened(place, 512) as dp:
        array, _ = path.flows(place, "east", 512)
        fields = FEW.fields() | {"frames": 256}
        one = dp.bench(fields, array)[0][0]
        assert (one.worst, one.worst_on_ns) == (0, 0)
        assert one.on_ns > 0
        one = dp.bench(fields | {"time_bursts": 1}, array)[0][0]
        assert 0 < one.worst_on_ns <= one.on_ns * 256


def test_idle_counts_what_housekeeping_uses(monkeypatch):
    monkeypatch.setattr(idle, "SETTLE_S", 0)
    monkeypatch.setattr(idle, "MEASURE_S", 0.2)
    row = idle.alone(2048)
    assert (row.workload, row.sessions) == ("idle", 2048)
    assert row.value > 0
