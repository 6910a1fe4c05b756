"""What each habit of the path is worth: the same workload without it, in turns with all of them.

Some can be left out at run time, some need a build of their own (build/<name>), which a process of
its own loads. A figure is per cent slower than the path as it is; below zero: it would be faster.

Three habits are how the code is written and cannot be left out: bursts of one port's frames,
headers copied from a right-aligned template, and no line of metadata beside each packet.
"""

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench import machine, path
from bench.path import Shape
from bench.rows import Row
from bench.world import World
from pcg.datapath import build

ROUNDS = 2
WAYS = ("north", "south")
PR_SET_THP_DISABLE = 41  # linux/prctl.h
AS_IT_IS = "as it is"
SHAPES = {
    AS_IT_IS: Shape(),
    "frames come 4 at a time": Shape(burst=4),
    "frames come 8 at a time": Shape(burst=8),
    "frames come 32 at a time": Shape(burst=32),
    "buffers 2048 bytes apart": Shape(more={"stride": 2048}),
    "buffers 4096 bytes apart": Shape(more={"stride": 4096}),
    "buffers that fit the L2 cache": Shape(more={"frames": 8192}),
    "buffers on 4 KiB pages": Shape(more={"small_pages": 1}),
}
BUILDS = {
    AS_IT_IS: (),
    "no prefetch": ("-DPCG_NO_PREFETCH",),
    "headers are not asked for": ("-DPCG_UNASKED=ASK_HEADERS",),
    "the headroom is not asked for": ("-DPCG_UNASKED=ASK_HEADROOM",),
    "the bucket is not asked for": ("-DPCG_UNASKED=ASK_BUCKET",),
    "the session is not asked for": ("-DPCG_UNASKED=ASK_ENTRY",),
    "every packet through the stages": ("-DPCG_NO_PLAIN",),
    "through the stages one by one": ("-DPCG_NO_PLAIN", "-DPCG_BURST=1"),
    "-O2": ("-O2",),
    "-march=native": ("-march=native",),
    "tables and buffers on 4 KiB pages": (),
}
SMALL_PAGES = list(BUILDS)[-1]


def measure(sessions: int, passes: int) -> Iterator[Row]:
    built = _by_build(sessions, passes)
    for workload in WAYS:
        yield from _compared(workload, sessions, _at_run_time(workload, sessions, passes))
        yield from _compared(workload, sessions, built[workload])


def _compared(workload: str, sessions: int, cycles: dict[str, list[float]]) -> Iterator[Row]:
    low = {name: min(values) for name, values in cycles.items()}
    base = low.pop(AS_IT_IS)
    for name, value in low.items():
        note = f"{workload}, {name}: {value:.0f} cycles, {base:.0f} as it is"
        yield Row(
            *("ablation",),
            sessions=sessions,
            value=100 * (value / base - 1),
            unit="% slower",
            note=note,
            more={"what": name, "workload": workload, "cycles": value, "base": base},
        )


def _at_run_time(workload: str, sessions: int, passes: int) -> dict[str, list[float]]:
    cycles: dict[str, list[float]] = {name: [] for name in SHAPES}
    with path.opened(World(), sessions) as dp:
        array, _ = path.flows(World(), workload, sessions)
        path.make_sessions(dp, array, Shape())
        for _ in range(ROUNDS):
            for name, shape in SHAPES.items():
                fields = replace(shape, passes=passes).fields()
                cycles[name] += [one.cycles for one in dp.bench(fields, array)[0]]
    return cycles


def _by_build(sessions: int, passes: int) -> dict[str, dict[str, list[float]]]:
    """Of each way, of each build."""
    cycles: dict[str, dict[str, list[float]]] = {way: {name: [] for name in BUILDS} for way in WAYS}
    for name, flags in BUILDS.items():
        build.build(_flavour(name, flags))
    for _ in range(ROUNDS):
        for name, flags in BUILDS.items():
            found = _elsewhere(_flavour(name, flags).out, name, sessions, passes)
            for way in WAYS:
                cycles[way][name].append(found[way])
    return cycles


def _flavour(name: str, flags: tuple[str, ...]) -> build.Flavour:
    folder = "ablation-" + "".join(c if c.isalnum() else "-" for c in name)
    flags = (*build.FAST.cflags, *flags)
    return build.Flavour(folder, build.BUILD / folder, flags)


def _elsewhere(folder: Path, name: str, sessions: int, passes: int) -> dict[str, float]:
    """Cycles per packet with the module in `folder`, each way, by a process of its own."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        options = ("--sessions", str(sessions), "--passes", str(passes))
        argv = (sys.executable, "-m", "bench.run", "--only", *WAYS, *options, "--json")
        done = subprocess.run(
            (*argv, report.name),
            cwd=machine.ROOT,
            env={**os.environ, "PCGDP_DIR": str(folder)},
            preexec_fn=_without_huge_pages if name == SMALL_PAGES else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.strip().rpartition("\n")[2] or f"it ended with {done.returncode}"
            raise RuntimeError(f"{name}: {said}")
        rows = json.loads(Path(report.name).read_text())["rows"]
        return {row["workload"]: row["cycles_min"] for row in rows}


def _without_huge_pages() -> None:
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
