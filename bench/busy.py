"""Forwarding while something else goes on: a second worker, ageing, changes, an attacker.

Each is measured in turns with the same path left alone, so that a noisy machine harms both alike.
"""

import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, islice
from statistics import median, quantiles

from bench import machine, path, world
from bench.path import Shape
from bench.rows import Row
from bench.world import World
from pcg.datapath import pack
from pcg.datapath.frames import Pass
from pcg.datapath.lib import Datapath, pack_touches
from pcg.reconcile import records as r

ROUNDS = 3
COMMITS_S, CHANGES = 10, 100  # a second; changes in each
MOVES_S, MOVES_AT_ONCE = 10_000, 100
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
    yield Row("two workers", sessions=sessions, workers=2, value=times, unit="x one worker")


def stall(sessions: int) -> Iterator[Row]:
    """What housekeeping's sweeps add to the slowest burst of a pass.

    The slowest of all is the machine's own doing (a guest stands still for milliseconds), with
    sweeps and without; what sweeps do shows in most passes or in none.
    """
    shape = Shape(passes=40, more={"time_bursts": 1})
    worst: dict[int, list[float]] = {0: [], 1: []}
    with path.opened(World(), sessions) as dp:
        array, split = path.flows(World(), "mixed", sessions)
        path.make_sessions(dp, array, shape)
        for turn in range(2 * ROUNDS):
            fields = shape.fields() | {"split": split, "keeper": turn % 2}
            passes = dp.bench(fields, array)[0][path.WARM_PASSES :]
            worst[turn % 2] += [one.worst * one.ns / one.cycles / 1e3 for one in passes]
    high = [quantiles(worst[k], n=10)[-1] for k in (0, 1)]
    yield Row(
        *("stall",),
        sessions=sessions,
        value=max(0.0, high[1] - high[0]),
        unit="us more",
        note=f"slowest burst of a pass, 90 %: {high[1]:.0f}, without ageing {high[0]:.0f}; "
        f"of all: {max(worst[1]):.0f}, {max(worst[0]):.0f}",
    )


# ---- changes ----


class Changing:
    """Calls `change(i)` so many times a second in a thread of its own; `done` counts."""

    def __init__(self, change: Callable[[int], None], per_s: float) -> None:
        self.change, self.per_s, self.done = change, per_s, 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Changing":
        self.begun = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_exc) -> None:
        self.stopped.set()
        self.thread.join()
        self.took = time.monotonic() - self.begun

    def _run(self) -> None:
        while not self.stopped.wait(max(0, self.begun + self.done / self.per_s - time.monotonic())):
            self.change(self.done)
            self.done += 1


def loss(dp: Datapath, fields: dict, array: bytes, change, per_s: float) -> tuple[float, float]:
    """Per cent of the packets a second, and how many changes a second there were."""
    calm, busy, done, took = [], [], 0, 0.0
    for _ in range(ROUNDS):
        calm += dp.bench(fields, array)[0]
        with Changing(change, per_s) as changing:
            busy += dp.bench(fields, array)[0]
        done, took = done + changing.done, took + changing.took
    middle = median(one.ns for one in busy), median(one.ns for one in calm)
    return 100 * (1 - middle[1] / middle[0]), done / took


def churn(sessions: int) -> Iterator[Row]:
    """Rules and routes in coalesced commits; ports that move. Each with all sessions forwarding."""
    shape, place = Shape(passes=40), World(rules=True)
    for workload, what in (("north", commits), ("south", moves)):
        with path.opened(place, sessions) as dp:
            array, _ = path.flows(place, workload, sessions)
            path.make_sessions(dp, array, shape)
            yield what(dp, place, array, shape, sessions)
            path.quiet(dp, "churn")


def commits(dp: Datapath, place: World, array: bytes, shape: Shape, sessions: int) -> Row:
    """Two policies in turn, each commit with touches of 100 changes."""
    policies = [place.policy(), replace(place, rules=True).policy()]
    policies[1]["firewall"].insert(0, r.Firewall(999, 0, 0, 3, 0, r.Match(src_len=32), "one more"))
    raw = [{t: pack.pack(t, p.get(t, ())) for t in r.POLICY} for p in policies]

    def change(i: int) -> None:
        dp.commit_raw(raw[i % 2], i + 2, pack_touches(list(islice(touches(i), CHANGES))))

    lost, per_s = loss(dp, shape.fields(), array, change, COMMITS_S)
    note = f"{per_s:.1f} commits/s of {CHANGES} changes (wanted {COMMITS_S})"
    return Row("churn rules", sessions=sessions, value=lost, unit="% fewer packets", note=note)


def touches(start: int) -> Iterator[r.Touch]:
    """Of one workload and a sixteenth of the remotes: some 60 of a million sessions."""
    for i in range(start * CHANGES, (start + 1) * CHANGES):
        to = world.address(world.REMOTES | (i % 16) << 20)
        yield r.Touch(0, world.workload(i * 7 % 1024), to, 32, 12)


def moves(dp: Datapath, place: World, array: bytes, shape: Shape, sessions: int) -> Row:
    """Ports go to another TEP and back, 100 in a call."""
    batches = []
    for away in (1, 0):
        ports = [place.port(w)._replace(tep_be=world.tep(w + away)) for w in range(place.workloads)]
        for at in range(0, len(ports) // MOVES_AT_ONCE * MOVES_AT_ONCE, MOVES_AT_ONCE):
            batches.append(pack.pack("ports", ports[at : at + MOVES_AT_ONCE]))

    def change(i: int) -> None:
        dp.put_raw("ports", batches[i % len(batches)])

    lost, per_s = loss(dp, shape.fields(), array, change, MOVES_S / MOVES_AT_ONCE)
    note = f"{per_s * MOVES_AT_ONCE:,.0f} moves/s (wanted {MOVES_S:,})"
    return Row("churn ports", sessions=sessions, value=lost, unit="% fewer packets", note=note)


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
