"""The packet path by itself: north, south, east, mixed and setup, and the floor under each.

Before a workload is measured its sessions are made, in order, each by a first packet; then every
packet of a pass is of any of them. The lower quartile of the passes is the figure: what disturbs a
pass only ever makes it slower.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from statistics import mean

from bench import machine, world
from bench.rows import BURST, Row, quartiles, sizes_of
from bench.world import World
from pcg.datapath.frames import Pass
from pcg.datapath.lib import Datapath

FRAMES = 65_536
FRAMES_JUMBO = 16_384
PATH, TOUCH, ENCAP, TABLE = 0, 1, 2, 3  # enum pcgdp_bench_work
FLOOR_OF = {"north": TOUCH, "south": ENCAP, "east": ENCAP, "mixed": ENCAP}
SYN, ACK = 2, 16
EAST_WORKLOADS = 131_072
WARM_PASSES = 2
BYTES_A_SESSION = 700  # with its mapping, indices and flow, and some room
SESSIONS_MAX = 16_777_216  # of the datapath's settings; world.py has no more flows
SIZE_LIMITS = (40, 8943)  # headers only; what fits an underlay of 9001 bytes
AGES_S = 100_000  # longer than any session's timeout


@dataclass(frozen=True)
class Shape:
    """How a pass is run; `more` are fields of struct pcgdp_bench."""

    passes: int = 25
    size: int | str = 64
    workers: int = 1
    burst: int = BURST
    more: dict = field(default_factory=dict)

    def fields(self) -> dict:
        sizes = sizes_of(self.size)
        return {
            "frames": FRAMES if max(sizes) <= 1500 else FRAMES_JUMBO,
            "passes": self.passes,
            "workers": self.workers,
            "cpus": cpus(self.workers),
            "burst": self.burst,
            "vni": world.TRANSIT,
            "gateway_mac": world.GATEWAY_MAC,
            "tcp_flags": ACK,
            "keeper": 1,
            "realtime": 1,
            "n_sizes": len(sizes),
            "sizes": sizes,
            **self.more,
        }


def cpus(workers: int) -> list[int]:
    mine = machine.cores()
    return [mine[i % len(mine)] for i in range(workers)]


@contextlib.contextmanager
def opened(place: World, sessions: int, workers: int = 1, **given) -> Iterator[Datapath]:
    """A datapath in this world, with room for the sessions."""
    room = max(4096, sessions * 5 // 4)
    with Datapath(room, place.workloads + 1024, workers, **given) as dp:
        dp.nic_add("up0", "uplink")
        dp.nic_add("down0", "downlink")
        place.program(dp)
        yield dp


@lru_cache(maxsize=2)  # a workload's and the one that setup and workers share, a second each
def flows(place: World, workload: str, n: int) -> tuple[bytes, int]:
    """The array and, for mixed, where its second part begins: no burst lies across."""
    if workload == "mixed":
        half = max(BURST, n // 2 // BURST * BURST)
        return world.array(place.north(half)) + world.array(place.south(half)), half
    return world.array(getattr(place, workload)(n)), 0


def make_sessions(dp: Datapath, array: bytes, shape: Shape) -> list[Pass]:
    """One for each flow, by a first packet each."""
    n = len(array) // world.FLOW.size
    # whole bursts, and no flow twice, where the number allows it
    fitting = (d for d in range(BURST, FRAMES + 1, BURST) if n % d == 0)
    frames = max(fitting, default=min(n, FRAMES))
    fields = replace(shape, size=64, workers=1).fields()
    fields |= {"in_order": 1, "tcp_flags": SYN, "frames": frames, "passes": -(-n // frames)}
    return dp.bench(fields, array)[0]


def quiet(dp: Datapath, workload: str) -> None:
    """Raises RuntimeError when packets were dropped: then something else was measured."""
    if dp.drops():
        raise RuntimeError(f"{workload}: packets were dropped: {dp.drops()}")


def row(workload: str, sessions: int, shape: Shape, lanes: list[list[Pass]], **more) -> Row:
    """One row of all workers' passes; the first ones are warm-up."""
    warm = WARM_PASSES if shape.passes > 2 * WARM_PASSES else 0
    cycles = [one.cycles for lane in lanes for one in lane[warm:]]
    least, low, middle, high = quartiles(cycles)
    ns = quartiles([one.ns for lane in lanes for one in lane[warm:]])[1]
    return Row(
        *(workload,),
        packet_size=shape.size,
        sessions=sessions,
        workers=shape.workers,
        burst=shape.burst,
        mpps=1e3 / ns * shape.workers,
        cycles_per_packet=low,
        cycles_min=least,
        cycles_median=middle,
        cycles_p75=high,
        passes=len(cycles),
        **more,
    )


def forward(
    workload: str, sessions: int, shapes: list[Shape], rules: bool = False
) -> Iterator[Row]:
    """Rows of one workload, one for each shape, and the floor under each."""
    place = World(EAST_WORKLOADS if workload == "east" else 1024, rules=rules)
    name = f"{workload} rules" if rules else workload
    workers = max(shape.workers for shape in shapes)
    with opened(place, sessions, workers) as dp:
        array, split = flows(place, workload, sessions)
        if workload != "east":
            make_sessions(dp, array, shapes[0])
        for shape in shapes:
            fields = shape.fields() | {"split": split}
            more = {}
            if workload != "east" and shape.size == 64:
                more["floor_table"] = floor(dp, array, TABLE, sessions, shape)
            under = floor(dp, array, FLOOR_OF[workload], sessions, shape)
            lanes = dp.bench(fields, array)
            quiet(dp, workload)
            yield row(name, sessions, shape, lanes, floor=under, more=more)


def floor(dp: Datapath, array: bytes, work: int, sessions: int, shape: Shape) -> float:
    """Cycles for what no gateway can avoid. TABLE: also a session's two lines, any session's,
    asked for long before; the path knows them later, since the packet says whose they are.
    """
    lanes = dp.bench(shape.fields() | {"work": work, "keeper": 0}, array)
    return row("floor", sessions, shape, lanes).cycles_per_packet


def setup(sessions: int, rounds: int) -> Iterator[Row]:
    """New sessions, the whole decision, without rules and with them."""
    array = shuffled(flows(World(), "mixed", sessions)[0])
    for rules in (False, True):
        under, *seen = (whole(passes) for passes in _filled(World(rules=rules), array, rounds))
        shape, name = Shape(passes=1), "setup rules" if rules else "setup"
        row_of = row(name, sessions, shape, [seen], floor=under.cycles)
        row_of.note = "1,000 + 1,000 rules, 10,000 routes" if rules else "no rules but those in use"
        yield row_of


def _filled(place: World, array: bytes, rounds: int) -> Iterator[list[Pass]]:
    """The floor under them, then passes that fill a table, so many times; its memory has been
    used before.
    """
    made = len(array) // world.FLOW.size
    with opened(place, made) as dp:
        fields = Shape(passes=5).fields() | {"work": ENCAP, "keeper": 0}
        yield [min(dp.bench(fields, array)[0])]
        for number in range(rounds + 1):
            passes = make_sessions(dp, array, Shape())
            quiet(dp, "setup")
            if dp.totals()["sessions"] != made:
                raise RuntimeError(f"{dp.totals()['sessions']} of {made} sessions were made")
            forget(dp)
            if number:
                yield passes


def whole(passes: list[Pass]) -> Pass:
    """A round of passes as one: the table is emptier in its first ones."""
    cycles, ns, on_ns = (mean(column) for column in zip(*(one[:3] for one in passes), strict=True))
    return Pass(cycles, ns, on_ns, 0, 0)


def forget(dp: Datapath) -> None:
    """All sessions end, of old age."""
    dp.sweep(time.monotonic_ns() + AGES_S * 10**9)


def shuffled(array: bytes) -> bytes:
    """North and south in turn, burst by burst, as `mixed` has it."""
    size, half = world.FLOW.size * BURST, len(array) // 2
    pairs = ((array[i : i + size], array[half + i : half + i + size]) for i in range(0, half, size))
    return b"".join(part for pair in pairs for part in pair)


def fits(sessions: int) -> bool:
    return sessions * BYTES_A_SESSION / 2**30 < machine.free_gib() * 0.7
