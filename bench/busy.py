"""Forwarding while something else goes on: a second worker, ageing, an attacker.

Each is measured in turns with the same path left alone, so that a noisy machine harms both alike.
"""

import contextlib
import random
import threading
import time
import zlib
from collections.abc import Iterator
from itertools import chain
from statistics import median

from bench import churn, machine, path, world
from bench.path import Shape
from bench.rows import Row
from bench.world import World
from pcg.datapath.frames import Pass
from pcg.datapath.lib import Datapath

ROUNDS = 3
TURNS, TURN_PASSES, ENDING_PASSES = 15, 8, 40
LOOK_S, NEIGHBOUR_BYTES = 0.001, 1 << 26
AHEAD_S = 1000  # longer than a session of the bench lives without a packet
FLOODED = 100_000


def best(passes: list[Pass]) -> float:
    """What to compare: a neighbour on the machine may disturb a whole turn."""
    return min(one.ns for one in passes)


def two_workers(sessions: int, passes: int) -> Iterator[Row]:
    """Two on one table, against one."""
    if len(machine.cores()) < 2:
        yield Row("two workers", sessions=sessions, note="this machine has one core")
        return
    one, two = Shape(passes), Shape(passes, workers=2)
    with path.opened(World(), sessions, 2) as dp:
        array, split = path.flows(World(), "mixed", sessions)
        path.make_sessions(dp, array, one)
        alone, both = [], []
        for _ in range(ROUNDS):
            alone += dp.bench(one.fields() | {"split": split}, array)[0]
            both += chain(*dp.bench(two.fields() | {"split": split}, array))
        path.quiet(dp, "two workers")
    row = path.row("mixed", sessions, two, [both])
    yield row
    times = 2 * best(alone) / best(both)
    yield Row("two workers", sessions=sessions, value=times, unit="x one worker")


# ---- ageing ----


def stall(sessions: int) -> Iterator[Row]:
    """What ageing adds to the slowest burst: sweeps that end nothing, and ones that end half of all
    sessions while the other half forwards.

    A guest stands still for milliseconds, with sweeps and without, and not all of it is said to be
    another guest's; so it is the time on the CPU that counts, and turns without sweeps are taken
    twice: what the two differ by is the machine's. A turn is long enough for several slices of a
    sweep. What they did to a worker would show in most turns; what the machine does, in some. Every
    pass is one of the sweep's while sessions end; these are held against passes in which the other
    core is as busy with something else.
    """
    shape = Shape(passes=TURN_PASSES, more={"time_bursts": 1, "ahead_s": AHEAD_S})
    turns: dict[str, list[Pass]] = {"alone": [], "again": [], "busy": []}
    with path.opened(World(), sessions) as dp:
        array, _ = path.flows(World(), "mixed", sessions)
        path.make_sessions(dp, array, Shape())
        array, others = array[: len(array) // 2], array[len(array) // 2 :]
        for _ in range(TURNS):
            for kind in random.sample(list(turns), len(turns)):
                fields = shape.fields() | {"keeper": kind == "busy"}
                turns[kind].append(slowest(dp.bench(fields, array)[0]))
        ending, otherwise, ended = [], [], 0
        while len(ending) < ENDING_PASSES:
            path.make_sessions(dp, others, Shape())  # whose time is over, AHEAD_S on
            path.make_sessions(dp, array, shape)
            before = dp.totals()["sessions"]
            ending += while_ending(dp, shape.fields() | {"keeper": 0}, array)
            ended += before - dp.totals()["sessions"]
            with busy_neighbour():
                otherwise += chain(*(dp.bench(shape.fields(), array)[0] for _ in range(2)))
        path.quiet(dp, "stall")
    yield stalled("stall", sessions, **turns)
    row = stalled("stall ending", sessions, ending, other=otherwise)
    row.note, row.more["ended"] = f"{ended:,} sessions ended; {row.note}", ended
    yield row


@contextlib.contextmanager
def busy_neighbour() -> Iterator[None]:
    """The other core reads memory as fast as it can, and has nothing to do with sessions."""
    done, data = threading.Event(), bytes(NEIGHBOUR_BYTES)

    def work() -> None:
        churn.apart()
        while not done.is_set():
            zlib.crc32(data)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def while_ending(dp: Datapath, fields: dict, array: bytes) -> Iterator[Pass]:
    """Passes while one sweep, of a clock so far ahead, takes apart what was not met since."""
    before = dp.totals()["rx"]

    def end() -> None:
        churn.apart()
        while dp.totals()["rx"] == before:  # until frames are made
            time.sleep(LOOK_S)
        dp.sweep(time.monotonic_ns() + AHEAD_S * 10**9)

    sweeping = threading.Thread(target=end)
    sweeping.start()
    while sweeping.is_alive():
        yield from dp.bench(fields, array)[0]
    sweeping.join()


def slowest(passes: list[Pass]) -> Pass:
    """The pass of a turn whose slowest burst was longest on the CPU."""
    return max(passes, key=lambda one: one.worst_on_ns)


def stalled(what: str, sessions: int, busy: list[Pass], **alone) -> Row:
    """By the median turns or passes; each kind's and the worst are told beside it."""
    on = {
        kind: [one.worst_on_ns / 1e3 for one in turns]
        for kind, turns in {"busy": busy, **alone}.items()
    }
    value = median(on["busy"]) - median(chain(*(on[kind] for kind in alone)))
    told = [f"{kind}: {median(us):.0f} (worst {max(us):,.0f})" for kind, us in on.items()]
    wall = max(one.worst * one.ns / one.cycles / 1e3 for one in busy)
    note = f"slowest burst, us on the CPU, median: {', '.join(told)}; by the wall clock: "
    note += f"worst {wall:,.0f}; {', '.join(str(len(us)) for us in on.values())} samples"
    more = {"value": max(0.0, value), "unit": "us more", "note": note, "more": on}
    return Row(what, sessions=sessions, **more)


# ---- an attacker ----


def flood() -> Iterator[Row]:
    """Tuples that all fall into few buckets of a table hashed by CRC-32, against any others."""
    shape, took, made = Shape(), {0: [], 16: []}, {}
    with path.opened(World(), FLOODED) as calm, path.opened(World(), FLOODED) as flooded:
        tables = {0: (calm, colliding(FLOODED, 0)), 16: (flooded, colliding(FLOODED, 16))}
        for bits, (dp, array) in tables.items():
            made[bits] = path.whole(path.make_sessions(dp, array, shape)).ns
        for _ in range(ROUNDS):
            for bits, (dp, array) in tables.items():
                took[bits] += dp.bench(shape.fields(), array)[0]
        path.quiet(calm, "flood")
        path.quiet(flooded, "flood")
    percent = 100 * (best(took[16]) / best(took[0]) - 1)
    note = f"to make the sessions: {100 * (made[16] / made[0] - 1):+.0f} %"
    yield Row("hash flood", sessions=FLOODED, value=percent, unit="% slower", note=note)


def colliding(n: int, bits: int) -> bytes:
    """Flows of one workload whose CRC-32 has the same low `bits`.

    A CRC is linear: flipping a bit of the tuple flips always the same bits of the sum. So the
    flips that leave the low bits alone are found by elimination, and their combinations are free.
    """
    base = world.FLOW.pack(
        world.workload(0), world.address(world.REMOTES), world.tep(0), 0x8000, 0x8000, world.UDP
    )
    free = [*range(5 * 8, 8 * 8), *range(12 * 8, 14 * 8 - 1), *range(14 * 8, 16 * 8 - 1)]
    random.Random(1).shuffle(free)
    start, mask, pivots, kernel = crc(base), (1 << bits) - 1, {}, []
    for bit in free:
        flip = 1 << bit
        change = (crc(flipped(base, flip)) ^ start) & mask
        for top in sorted(pivots, reverse=True):
            if change >> top & 1:
                change, flip = change ^ pivots[top][0], flip ^ pivots[top][1]
        if change:
            pivots[change.bit_length() - 1] = change, flip
        else:
            kernel.append(flip)
    out, at = bytearray(), 0
    for i in range(n):
        out += flipped(base, at)
        at ^= kernel[((i + 1) & -(i + 1)).bit_length() - 1]  # Gray code: each combination once
    return bytes(out)


def crc(flow: bytes) -> int:
    return zlib.crc32(flow[:8] + flow[12:17])


def flipped(flow: bytes, bits: int) -> bytes:
    return (int.from_bytes(flow, "little") ^ bits).to_bytes(len(flow), "little")
