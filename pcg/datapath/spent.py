"""Where workers' time went between two readings of struct pcgdp_performance. Pure.

A reading is what `performance()` of the datapath or its client gives: a dict for each worker, and
as the last one that of injected frames, which no worker served. Parts are what a round is made of;
one round in `timed_every()` is timed, so their packets are a sample of all.
"""

from typing import Any, NamedTuple

from pcg.datapath import border

Reading = dict[str, Any]
LISTS = ("sizes", "part_packets", "part_cycles")
SIZES = ("1", "2-3", "4-7", "8-15", "16-31", "32-63", "64-127", "128+")  # frames of a round


class Part(NamedTuple):
    """One part of the rounds that were timed."""

    part: str
    packets: int  # that it took
    share: float | None  # of the packets received; None: none were
    cycles: float | None  # per packet that it took; None: it took none
    adds: float | None  # cycles per packet received


def timed_every() -> int:
    """Of so many rounds one is timed."""
    return border.lib().PCGDP_TIMED_EVERY


def names() -> list[str]:
    """Of the parts, as they stand in a reading: behind the stages what is none."""
    return [*border.stage_names(), "rx", "plain", "tx"]


def between(before: list[Reading], after: list[Reading]) -> list[Reading]:
    """What each worker did from one reading to the other; a new process began with nothing."""
    if len(before) != len(after) or any(map(_went_back, before, after)):
        return [dict(one) for one in after[:-1]]
    return [_less(one, old) for old, one in zip(before[:-1], after[:-1], strict=True)]


def _went_back(old: Reading, new: Reading) -> bool:
    return any(new[key] < old[key] for key in ("packets", "busy_ns", "idle_ns"))


def _less(new: Reading, old: Reading) -> Reading:
    counted = {key: new[key] - old[key] for key in new if key not in (*LISTS, "tsc_hz")}
    lists = {key: [a - b for a, b in zip(new[key], old[key], strict=True)] for key in LISTS}
    return {**counted, **lists, "tsc_hz": new["tsc_hz"]}


def together(workers: list[Reading]) -> Reading:
    """All workers as one."""
    first, *_ = workers
    counted = {key: sum(w[key] for w in workers) for key in first if key not in (*LISTS, "tsc_hz")}
    lists = {key: [sum(c) for c in zip(*(w[key] for w in workers), strict=True)] for key in LISTS}
    return {**counted, **lists, "tsc_hz": first["tsc_hz"]}


def parts(worker: Reading) -> list[Part]:
    """In the order in which a packet meets them."""
    took = dict(zip(names(), worker["part_packets"], strict=True))
    spent = dict(zip(names(), worker["part_cycles"], strict=True))
    received = timed_packets(worker)
    order = ["rx", "plain", *border.stage_names(), "tx"]
    return [
        Part(
            *(name, took[name]),
            _ratio(took[name], received),
            _ratio(spent[name], took[name]),
            _ratio(spent[name], received),
        )
        for name in order
    ]


def timed_packets(worker: Reading) -> int:
    """Received in the rounds that were timed. The bench has no rx, and a trace nothing plain."""
    took = dict(zip(names(), worker["part_packets"], strict=True))
    return took["rx"] or took["plain"] or max(took.values())


def _ratio(a: float, b: float) -> float | None:
    return a / b if b else None


def summary(worker: Reading, seconds: float) -> dict[str, Any]:
    """One worker's interval, as programs read it. Cycles are of the TSC, `tsc_hz` a second."""
    all_ns, seen = worker["busy_ns"] + worker["idle_ns"], parts(worker)
    busy_cycles = worker["busy_ns"] * worker["tsc_hz"] // 10**9
    timed = timed_packets(worker)
    return {
        "packets": worker["packets"],
        "packets_per_s": worker["packets"] / seconds,
        "plain_share": _ratio(worker["plain"], worker["packets"]),
        "busy_share": _ratio(worker["busy_ns"], all_ns),
        "sleeps_per_s": worker["slept"] / seconds,
        "naps_per_s": worker["napped"] / seconds,
        "bursts": dict(zip(SIZES, worker["sizes"], strict=True)),
        "timed_packets": timed,
        "parts": [part._asdict() for part in seen],
        "cycles": sum(part.adds for part in seen) if timed else None,
        "busy_cycles": _ratio(busy_cycles, worker["packets"]) if busy_cycles else None,
    }
