"""Where the cycles of a packet go, as the path itself counts them: docs/profile.md.

What a live gateway says by `pcgctl show performance`, here of the path by itself, and of every
round instead of a sample. A turn is a few passes; of several turns the one with the fewest cycles
is shown: what disturbs one only ever makes it slower. Parts and whole are of that same turn.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean

from bench import path
from bench.path import ENCAP, FLOOR_OF, Shape
from bench.rows import Row
from bench.world import World
from pcg.datapath import spent
from pcg.datapath.frames import Pass
from pcg.datapath.lib import Datapath

TURNS, TURN_PASSES = 8, 5
FILLS = 4  # of an empty table
TIMED = {"time_parts": 1}
SHARED_MEMORY = "/dev/shm"


def measure(sessions: int) -> Iterator[Row]:
    for workload in ("north", "south"):
        yield known(workload, sessions)
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        yield known("north", sessions, str(Path(folder) / "arena"))
    yield first_packets(sessions)


def known(workload: str, sessions: int, arena: str = "") -> Row:
    """Packets of sessions that there are."""
    place, shape = World(), Shape(passes=TURN_PASSES, more=TIMED)
    with path.opened(place, sessions, arena=arena) as dp:
        array, _ = path.flows(place, workload, sessions)
        path.make_sessions(dp, array, shape)
        turns = [turn(dp, lambda: dp.bench(shape.fields(), array)[0]) for _ in range(TURNS)]
        path.quiet(dp, workload)
        under = floor(dp, array, FLOOR_OF[workload])
        where = f"arena on a file, {share(dp)}" if arena else "anonymous arena"
    return row(f"profile {workload}", sessions, turns, under, where)


def first_packets(sessions: int) -> Row:
    """Of sessions that are decided and made, north and south in turn; without rules."""
    array, turns = path.shuffled(path.flows(World(), "mixed", sessions)[0]), []
    with path.opened(World(), sessions) as dp:
        for _ in range(FILLS):
            turns.append(turn(dp, lambda: path.make_sessions(dp, array, Shape(more=TIMED))))
            path.quiet(dp, "profile")
            path.forget(dp)
        under = floor(dp, array, ENCAP)
    return row("profile first packets", sessions, turns, under, "the whole decision, no rules")


def share(dp: Datapath) -> str:
    seen = dp.arena_pages()
    return f"{100 * seen['huge'] // max(1, seen['resident'])} % of it on huge pages"


def turn(dp: Datapath, run) -> tuple[list[Pass], spent.Reading]:
    """The passes of `run`, and what the worker says of them."""
    before = dp.performance()
    passes = run()
    return passes, spent.between(before, dp.performance())[0]


def floor(dp: Datapath, array: bytes, work: int) -> float:
    fields = replace(Shape(), passes=TURNS).fields() | {"work": work, "keeper": 0}
    return min(one.cycles for one in dp.bench(fields, array)[0])


def row(
    name: str, sessions: int, turns: list[tuple[list[Pass], spent.Reading]], under: float, note: str
) -> Row:
    """Pure. The least disturbed turn, part by part."""
    passes, reading = min(turns, key=lambda one: mean(p.cycles for p in one[0]))
    whole, seen = mean(p.cycles for p in passes), spent.parts(reading)
    adds = {part.part: part.adds if part.packets else None for part in seen}
    adds["between them"] = whole - sum(part.adds or 0 for part in seen)
    return Row(
        *(name,),
        sessions=sessions,
        value=whole,
        unit="cycles/packet",
        floor=under,
        note=f"{note}; {reading['packets']:,} packets",
        more={"parts": adds},
    )
