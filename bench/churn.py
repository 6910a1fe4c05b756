"""Forwarding while rules, routes and ports change, at the rate that was promised.

Quiet turns and busy ones alternate. Sessions that a commit concerns are decided again by
housekeeping, beside the worker that is timed, all the time that changes are made.

Time is the thread's own on its CPU: what a neighbour on the machine takes is no loss of ours.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from statistics import mean, median

from bench import machine, path, world
from bench.path import Shape
from bench.rows import Row
from bench.world import World
from pcg.datapath import pack
from pcg.datapath.frames import Pass
from pcg.datapath.lib import Datapath, pack_touches
from pcg.reconcile import records as r

ROUNDS, WARM = 3, 15  # passes at the start of a turn, in which the marks gather
SHAPE = Shape(passes=75)
COMMITS_S, CHANGES = 10, 100  # a second; changes in each
PARTS = 16  # of the remotes; a change concerns one workload and one of them
MOVES_S, MOVES_AT_ONCE = 10_000, 100
PROBES = 64  # sessions that are only watched
NOWHERE = 0x0AF0_0000  # 10.240.0.0: no workload's
LOOK_S = 0.002
FLOW_SIZE = world.FLOW.size


class Changing:
    """Calls `change(i)` so many times a second in a thread of its own; `done` counts."""

    def __init__(self, change: Callable[[int], None], per_s: float, first: int = 0) -> None:
        self.change, self.per_s, self.first, self.done = change, per_s, first, 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Changing":
        self.begun = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_exc) -> None:
        self.took = time.monotonic() - self.begun
        self.stopped.set()
        self.thread.join()

    def _run(self) -> None:
        apart()
        while not self.stopped.wait(max(0, self.begun + self.done / self.per_s - time.monotonic())):
            self.change(self.first + self.done)
            self.done += 1


def apart() -> None:
    """This thread on a core that no worker has, where there is one."""
    others = set(machine.cores()) - set(path.cpus(1))
    if others:
        os.sched_setaffinity(0, others)


@dataclass
class Turns:
    """What the turns of one kind of change came to."""

    lost: list[float] = field(default_factory=list)  # per cent, one for each pair of turns
    lost_wall: list[float] = field(default_factory=list)
    done: int = 0
    took_s: float = 0
    decisions: int = 0

    @property
    def per_s(self) -> float:
        return self.done / self.took_s

    def add(self, calm: list[Pass], busy: list[Pass]) -> None:
        """
        >>> turns = Turns()
        >>> turns.add([Pass(1, 90, 80, 0, 0)] * 2, [Pass(1, 100, 100, 0, 0)] * 2)
        >>> [round(x) for x in turns.lost + turns.lost_wall]
        [20, 10]
        """
        on = mean(one.on_ns for one in calm) / mean(one.on_ns for one in busy)
        wall = mean(one.ns for one in calm) / mean(one.ns for one in busy)
        self.lost.append(100 * (1 - on))
        self.lost_wall.append(100 * (1 - wall))

    def row(self, what: str, sessions: int, note: str) -> Row:
        each = ", ".join(f"{one:.1f}" for one in self.lost)
        note += f"; each turn: {each}; by the wall clock {median(self.lost_wall):.1f}"
        more = {"lost": self.lost, "lost_wall": self.lost_wall, "per_s": self.per_s}
        value = max(0.0, median(self.lost))
        return Row(
            what, sessions=sessions, value=value, unit="% fewer packets", note=note, more=more
        )


def alternate(dp: Datapath, array: bytes, change: Callable[[int], None], per_s: float) -> Turns:
    turns = Turns()
    for _ in range(ROUNDS):
        calm = dp.bench(SHAPE.fields(), array)[0]
        busy = busy_turn(dp, array, change, per_s, turns)
        turns.add(calm[WARM:], busy[WARM:])
    return turns


def busy_turn(dp: Datapath, array: bytes, change, per_s: float, turns: Turns) -> list[Pass]:
    before = dp.totals()["decisions"]
    with Changing(change, per_s, turns.done) as changing:
        passes = dp.bench(SHAPE.fields(), array)[0]
    turns.decisions += dp.totals()["decisions"] - before
    turns.done, turns.took_s = turns.done + changing.done, turns.took_s + changing.took
    path.make_sessions(dp, array, SHAPE)  # a packet of each: no mark is left for the next turn
    return passes


def churn(sessions: int) -> Iterator[Row]:
    """Rules and routes in coalesced commits; ports that move. Each with all sessions forwarding."""
    place = World(rules=True)
    for workload, what in (("north", commits), ("south", moves)):
        with path.opened(place, sessions + PROBES) as dp:
            whole, _ = path.flows(place, workload, sessions + PROBES)
            path.make_sessions(dp, whole, SHAPE)
            yield from what(dp, place, whole, sessions)
            path.quiet(dp, "churn")


# ---- rules and routes ----


class Commits:
    """Two policies in turn, each commit with the touches of so many changes."""

    def __init__(self, dp: Datapath, place: World) -> None:
        policies = [place.policy(), replace(place, rules=True).policy()]
        one_more = r.Firewall(999, 0, 0, 3, 0, r.Match(src_len=32), "one more")
        policies[1]["firewall"].insert(0, one_more)
        self.raw = [{t: pack.pack(t, p.get(t, ())) for t in r.POLICY} for p in policies]
        self.dp, self.hits = dp, CHANGES

    def __call__(self, i: int, more: tuple[r.Touch, ...] = ()) -> None:
        rows = [*touches(i, self.hits), *more]
        self.dp.commit_raw(self.raw[i % 2], i + 2, pack_touches(rows))


def touches(number: int, hits: int) -> Iterator[r.Touch]:
    """Of one workload and a part of the remotes: some 60 of a million sessions.

    Only the first `hits` of a commit's name a workload that there is.

    >>> [touch.src_be[1] for touch in touches(3, 2)][:4]
    [16, 16, 240, 240]
    """
    for i in range(CHANGES):
        at = number * CHANGES + i
        who = world.workload(at * 7 % 1024) if i < hits else world.address(NOWHERE + at % 1024)
        part = (at + at // 1024) % PARTS
        yield r.Touch(0, who, world.address(world.REMOTES | part << 20), 32, 12)


def commits(dp: Datapath, place: World, whole: bytes, sessions: int) -> Iterator[Row]:
    array, change = whole[: sessions * FLOW_SIZE], Commits(dp, place)
    wanted = COMMITS_S * CHANGES * sessions / place.workloads / PARTS
    turns = alternate(dp, array, change, COMMITS_S)
    note = f"{turns.per_s:.1f} commits/s of {CHANGES} changes (wanted {COMMITS_S}), "
    note += f"{turns.decisions / turns.took_s:,.0f} decisions a second "
    note += f"(wanted {wanted:,.0f})"
    yield turns.row("churn rules", sessions, note)
    yield marked(dp, change, whole, sessions)


class Probes:
    """Sessions without packets, one watched at a time: when is it decided again after its commit?
    Their next hop is gone, so that it keeps a mark."""

    def __init__(self, dp: Datapath, whole: bytes, sessions: int, change: Commits) -> None:
        self.dp, self.change = dp, change
        self.ends = [flow[:2] for flow in world.FLOW.iter_unpack(whole[sessions * FLOW_SIZE :])]
        data, _ = dp.sessions_raw(sessions - path.BURST, len(self.ends) + 2 * path.BURST)
        places = {(s.fwd_src_be, s.fwd_dst_be): s.index for s in pack.unpack("session", data)}
        self.places = [places[ends] for ends in self.ends]
        self.at, self.waiting = 0, threading.Event()
        self.took_ms: list[float] = []

    def __call__(self, i: int) -> None:
        if self.waiting.is_set():
            self.change(i)
            return
        if self.marked():
            raise RuntimeError("a session is marked before its commit")
        self.change(i, (r.Touch(0, *self.ends[self.at], 32, 32),))
        self.since = time.monotonic()
        self.waiting.set()

    def watch(self) -> None:
        while self.at < len(self.ends):
            if not self.waiting.wait(timeout=2):
                raise RuntimeError("no commit was made for two seconds")
            while not self.marked():
                if time.monotonic() > self.since + 10:
                    raise RuntimeError("a session was not marked within ten seconds")
                time.sleep(LOOK_S)
            self.took_ms.append(1e3 * (time.monotonic() - self.since))
            self.at += 1
            self.waiting.clear()

    def marked(self) -> bool:
        """Of the one that is watched."""
        place = self.places[self.at]
        row = pack.unpack("session", self.dp.sessions_raw(place, 1)[0])[0]
        if (row.fwd_src_be, row.fwd_dst_be) != self.ends[self.at]:
            raise RuntimeError(f"session {place} has ended")
        return bool(row.marked)


def marked(dp: Datapath, change: Commits, whole: bytes, sessions: int) -> Row:
    """How long after its commit a silent session is decided again, while ten commits a second go
    on. Their other touches name nobody: else a watched session would be marked by one of them."""
    change.hits = 0
    dp.sweep(time.monotonic_ns())
    dp.delete("nexthops", [world.NEXTHOP])
    probes = Probes(dp, whole, sessions, change)
    dp.start()
    try:
        with Changing(probes, COMMITS_S) as changing:
            probes.watch()
    finally:
        dp.stop()
        dp.put("nexthops", [world.NEXTHOP])
    note = f"the last of {PROBES}, median {median(probes.took_ms):.0f} ms, while "
    note += f"{changing.done / changing.took:.1f} commits/s of {CHANGES} changes are made"
    worst = max(probes.took_ms)
    return Row("marked", sessions=sessions, value=worst, unit="ms after a commit", note=note)


# ---- ports ----


def moves(dp: Datapath, place: World, whole: bytes, sessions: int) -> Iterator[Row]:
    """Ports go to another TEP and back, 100 in a call."""
    batches = []
    for away in (1, 0):
        ports = [place.port(w)._replace(tep_be=world.tep(w + away)) for w in range(place.workloads)]
        for at in range(0, len(ports) // MOVES_AT_ONCE * MOVES_AT_ONCE, MOVES_AT_ONCE):
            batches.append(pack.pack("ports", ports[at : at + MOVES_AT_ONCE]))

    def change(i: int) -> None:
        dp.put_raw("ports", batches[i % len(batches)])

    array = whole[: sessions * FLOW_SIZE]
    turns = alternate(dp, array, change, MOVES_S / MOVES_AT_ONCE)
    note = f"{turns.per_s * MOVES_AT_ONCE:,.0f} moves/s (wanted {MOVES_S:,})"
    yield turns.row("churn ports", sessions, note)
