"""Where the cycles of a packet go, as the path itself counts them: docs/profile.md.

What a live gateway says by `pcgctl show performance`. Of the path by itself every round is timed;
of interfaces a sample, as in a live one. A turn is a few passes, or a second; of several turns the
one with the fewest cycles is shown: what disturbs one only ever makes it slower. Parts and whole
are of that same turn.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean

from bench import path, veth
from bench.path import ENCAP, FLOOR_OF, Shape
from bench.rows import Row
from bench.world import World
from pcg.datapath import spent
from pcg.datapath.frames import Pass
from pcg.datapath.lib import Datapath
from pcg.lab import ns
from pcg.model.errors import BackendError

TURNS, TURN_PASSES = 8, 5
FILLS = 4  # of an empty table
WIRED_TURNS, WIRED_S, WIRED_SESSIONS = 3, 1.0, 1000
TIMED = {"time_parts": 1}
SHARED_MEMORY = "/dev/shm"


def measure(sessions: int) -> Iterator[Row]:
    for workload in ("north", "south"):
        yield known(workload, sessions)
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        yield known("north", sessions, str(Path(folder) / "arena"))
    yield first_packets(sessions)
    with veth.wires(), veth.ruled(veth.DEAF):
        for driver in veth.drivers():
            try:
                yield wired(driver)
            except (BackendError, ns.CommandError) as error:
                yield Row("profile north", driver=driver, note=str(error))


def known(workload: str, sessions: int, arena: str = "") -> Row:
    """Packets of sessions that there are."""
    place, shape = World(), Shape(passes=TURN_PASSES, more=TIMED)
    with path.opened(place, sessions, arena=arena) as dp:
        array, _ = path.flows(place, workload, sessions)
        path.make_sessions(dp, array, shape)
        turns = [timed(dp, lambda: dp.bench(shape.fields(), array)[0]) for _ in range(TURNS)]
        path.quiet(dp, workload)
        under = floor(dp, array, FLOOR_OF[workload])
        where = f"arena on a file, {share(dp)}" if arena else "anonymous arena"
    return row(f"profile {workload}", sessions, *least(turns), where, floor=under)


def first_packets(sessions: int) -> Row:
    """Of sessions that are decided and made, north and south in turn; without rules."""
    array, turns = path.shuffled(path.flows(World(), "mixed", sessions)[0]), []
    with path.opened(World(), sessions) as dp:
        for _ in range(FILLS):
            turns.append(timed(dp, lambda: path.make_sessions(dp, array, Shape(more=TIMED))))
            path.quiet(dp, "profile")
            path.forget(dp)
        under = floor(dp, array, ENCAP)
    what = "the whole decision, no rules"
    return row("profile first packets", sessions, *least(turns), what, floor=under)


def wired(driver: str) -> Row:
    """More frames come in by a veth than can be forwarded. The kernel's work is in rx and tx."""
    with (
        veth.gateway(driver, WIRED_SESSIONS) as dp,
        veth.crossing(veth.NORTH, WIRED_SESSIONS, 64) as traffic,
    ):
        traffic.learn()
        turns = []
        for _ in range(WIRED_TURNS):
            before = dp.performance()
            traffic.run(0, WIRED_S)
            (seen,) = spent.between(before, dp.performance())
            turns.append((spent.summary(seen, WIRED_S)["busy_cycles"], seen))
    what = f"over veths by {driver}, {spent.timed_packets(turns[0][1]):,} of them timed"
    name = f"profile north {driver}"
    return row(name, WIRED_SESSIONS, *min(turns, key=lambda one: one[0]), what, driver=driver)


def share(dp: Datapath) -> str:
    seen = dp.arena_pages()
    return f"{100 * seen['huge'] // max(1, seen['resident'])} % of it on huge pages"


def timed(dp: Datapath, run: Callable[[], list[Pass]]) -> tuple[list[Pass], spent.Reading]:
    """The passes of `run`, and what the worker says of them."""
    before = dp.performance()
    passes = run()
    return passes, spent.between(before, dp.performance())[0]


def least(turns: list[tuple[list[Pass], spent.Reading]]) -> tuple[float, spent.Reading]:
    """The least disturbed turn: its cycles per packet, and what the worker says of it."""
    passes, reading = min(turns, key=lambda one: mean(p.cycles for p in one[0]))
    return mean(p.cycles for p in passes), reading


def floor(dp: Datapath, array: bytes, work: int) -> float:
    fields = Shape(passes=TURNS).fields() | {"work": work, "keeper": 0}
    return min(one.cycles for one in dp.bench(fields, array)[0])


def row(name: str, sessions: int, whole: float, reading: spent.Reading, note: str, **more) -> Row:
    """Pure. Part by part: cycles per packet received; None: no packet came to it.

    What lies between the parts is known only where every round was timed: a sample's sum may well
    be above the whole.
    """
    seen = spent.parts(reading)
    adds = {part.part: part.adds if part.packets else None for part in seen}
    every = spent.timed_packets(reading) == reading["packets"]
    adds["between them"] = whole - sum(part.adds or 0 for part in seen) if every else None
    return Row(
        *(name,),
        sessions=sessions,
        value=whole,
        unit="cycles/packet",
        note=f"{note}; {reading['packets']:,} packets",
        **{**more, "more": {"parts": adds}},
    )
