"""bench.c: what it makes is what the path takes; the report has its shape. No time is asserted."""

import json
import subprocess
import sys

import pytest

from bench import path, world
from bench.path import Shape
from bench.world import FLOW, World
from pcg.datapath.lib import Datapath
from pcg.model.errors import BackendError
from tests.c.conftest import assert_accounted

pytestmark = pytest.mark.usefixtures("built")
FEW = Shape(passes=2, more={"frames": 256, "realtime": 0})
PLACE = World(64)


def few(shape: Shape = FEW, **more) -> dict:
    return shape.fields() | {"frames": 256, "realtime": 0} | more


@pytest.mark.parametrize("workload", ["north", "south", "east", "mixed"])
@pytest.mark.parametrize("size", [64, "IMIX", 1500, 8943])
def test_every_frame_goes_through(workload, size):
    with path.opened(PLACE, 512, workers=2) as dp:
        array, split = path.flows(PLACE, workload, 512)
        if workload != "east":
            path.make_sessions(dp, array, FEW)
            assert dp.totals()["sessions"] == len(array) // FLOW.size
        before = dp.totals()["tx"]
        lanes = dp.bench(few(Shape(2, size, workers=2), split=split), array)
        assert [len(lane) for lane in lanes] == [2, 2]
        assert all(one.cycles > 0 and one.ns > 0 for lane in lanes for one in lane)
        assert dp.drops() == {}
        assert dp.totals()["tx"] == before + 2 * 2 * 256
        assert_accounted(dp)


@pytest.mark.parametrize("work", [path.TOUCH, path.ENCAP, path.TABLE])
@pytest.mark.parametrize("workload", ["north", "south"])
def test_the_floor_sends_nothing(work, workload):
    with path.opened(PLACE, 512) as dp:
        array, _ = path.flows(PLACE, workload, 512)
        dp.bench(few(work=work), array)
        assert dp.totals()["rx"] == 0


def test_slowest_burst_is_noted_when_asked_for():
    with path.opened(PLACE, 512) as dp:
        array, _ = path.flows(PLACE, "east", 512)
        assert dp.bench(few(), array)[0][0].worst == 0
        assert dp.bench(few(time_bursts=1), array)[0][0].worst > 0


# fmt: off
WRONG = [
    ("no worker",          {"workers": 0}),
    ("more than there are", {"workers": 2}),
    ("no burst",           {"burst": 0}),
    ("burst too long",     {"burst": 1000}),
    ("no frames",          {"frames": 0}),
    ("split past the end", {"split": 512}),
    ("no size",            {"n_sizes": 0}),
    ("too many sizes",     {"n_sizes": 13}),
    ("size too small",     {"sizes": [39]}),
    ("size too large",     {"sizes": [9200]}),
]
# fmt: on


@pytest.mark.parametrize("what, given", WRONG, ids=[w[0] for w in WRONG])
def test_what_makes_no_sense_is_refused(what, given):
    with path.opened(PLACE, 512) as dp, pytest.raises(BackendError, match="bench"):
        dp.bench(few(**{"passes": 1, **given}), path.flows(PLACE, "east", 512)[0])


def test_only_tcp_and_udp():
    flow = FLOW.pack(world.workload(0), world.workload(1), world.tep(0), 1, 1, 1)
    with path.opened(PLACE, 512) as dp, pytest.raises(BackendError, match="bench"):
        dp.bench(few(), flow)


def test_only_on_mem_ports_and_without_workers():
    array = path.flows(PLACE, "east", 512)[0]
    with Datapath(4096, 1024) as dp, pytest.raises(BackendError, match="bench"):
        dp.bench(few(), array)
    with path.opened(PLACE, 512) as dp:
        dp.start()
        with pytest.raises(BackendError, match="bench"):
            dp.bench(few(), array)


def test_report_has_its_shape(tmp_path):
    report = tmp_path / "report.json"
    parts = ("north", "south", "east", "mixed", "setup", "memory", "workers", "control")
    few_of_it = ("--sessions", "1000", "--passes", "3", "--json", str(report))
    argv = (sys.executable, "-m", "bench.run", "--quick", *few_of_it, "--only", *parts)
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = json.loads(report.read_text())
    assert {"cpu", "kernel", "revision", "load_before", "permitted"} <= set(written["machine"])
    rows = {row["workload"]: row for row in written["rows"]}
    for name in ("north", "south", "east", "mixed", "setup", "setup rules"):
        row = rows[name]
        assert row["note"] == "" or name.startswith("setup"), row
        assert (row["system"], row["driver"], row["packet_size"]) == ("PCG", "mem", 64)
        assert row["mpps"] > 0
        assert row["cycles_min"] <= row["cycles_per_packet"] <= row["cycles_median"]
    for name in ("memory hot", "memory cold", "two workers", "program", "one change"):
        assert name in rows, written["rows"]
        assert rows[name]["value"] > 0, rows[name]
        judged = name != "two workers"  # whose bar is of a million sessions
        assert (rows[name]["met"] is not None) is judged
    assert rows["north"]["more"]["floor_table"] > rows["north"]["floor"] / 2 > 0
