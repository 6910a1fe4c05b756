"""`pcgctl show performance`: where the workers' cycles go, over an interval or live."""

import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import click
from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Table

from pcg.cli.kinds import Seconds
from pcg.cli.look import Look
from pcg.cli.tables import console
from pcg.datapath import pages, spent

Shown = dict[str, Any]
BARS = " ▁▂▃▄▅▆▇█"
LEAST_S = 0.05  # a worker asleep writes its clock that often
OCCUPIED = {  # by whom
    "sessions": ("sessions",),
    "mappings": ("mappings", "peers"),
    "ports": ("ports",),
}
WORKERS_WIDE = 8  # columns of single workers at most; --json has all


def readings(look: Look, interval_s: float) -> Iterator[Shown]:
    """One interval after the other, as --json gives it."""
    arena, before, began = look.client.arena_pages(), look.client.performance(), time.monotonic()
    while True:
        time.sleep(interval_s)
        after, now, totals = look.client.performance(), time.monotonic(), look.client.totals()
        yield reading(spent.between(before, after), now - began, totals, arena)
        before, began = after, now


def reading(workers: list, seconds: float, totals: dict[str, int], arena: dict | None) -> Shown:
    """Pure. `workers` as spent.between() has them."""
    return {
        "interval_s": seconds,
        "tsc_hz": workers[0]["tsc_hz"],
        "timed_one_round_in": spent.timed_every(),
        "workers": [spent.summary(worker, seconds) for worker in workers],
        "all": spent.summary(spent.together(workers), seconds),
        "occupancy": {
            name: {"used": sum(totals[one] for one in used), "of": totals[f"{name}_max"]}
            for name, used in OCCUPIED.items()
        },
        "arena": arena,
    }


# ---- for people ----


def number(value: float | None, form: str = ",.0f") -> str:
    """
    >>> number(None), number(1234.5), number(0.25, ".1%")
    ('-', '1,234', '25.0%')
    """
    return "-" if value is None else f"{value:{form}}"


def bar(share: float) -> str:
    """
    >>> bar(0), bar(0.01), bar(1)
    (' ', '▁', '█')
    """
    return BARS[max(1, round(share * (len(BARS) - 1)))] if share else BARS[0]


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if table.columns else "left", no_wrap=True)
    return table


def _rows(shown: Shown) -> list[tuple[str, Shown]]:
    """Each worker, and all of them where there are several."""
    each = [(f"worker {i}", worker) for i, worker in enumerate(shown["workers"])]
    return each if len(each) == 1 else [*each, ("all", shown["all"])]


def rates(shown: Shown) -> Table:
    table = _table("", "Packets/s", "Plain", "Busy", "Cycles/packet", "Sleeps/s", "Naps/s")
    for name, one in _rows(shown):
        shares = number(one["plain_share"], ".1%"), number(one["busy_share"], ".1%")
        times = number(one["sleeps_per_s"]), number(one["naps_per_s"])
        packets = number(one["packets_per_s"])
        table.add_row(name, packets, *shares, number(one["busy_cycles"]), *times)
    return table


def bursts(shown: Shown) -> Table:
    """Of each number of frames that a look at a port brought, how many rounds."""
    table = _table("Frames at a time", *spent.SIZES)
    for name, one in _rows(shown):
        sizes, rounds = one["bursts"].values(), sum(one["bursts"].values())
        shares = [n / rounds if rounds else 0 for n in sizes]
        table.add_row(name, *(f"{bar(share)} {share:4.0%}" if share else "-" for share in shares))
    return table


def cycles(shown: Shown) -> Table:
    """The parts; where there are several workers, each one's cycles behind those of all."""
    workers = shown["workers"] if len(shown["workers"]) > 1 else []
    workers, everybody = workers[:WORKERS_WIDE], shown["all"]
    titles = (f"Worker {i}" for i in range(len(workers)))
    table = _table("Part", "Of packets", "Cycles each", "Of the sum", *titles)
    for i, part in enumerate(everybody["parts"]):
        own = (number(worker["parts"][i]["cycles"]) for worker in workers)
        share = number(part["share"], ".1%") if part["packets"] else "-"
        adds = number(part["adds"], ",.1f") if part["packets"] else "-"
        table.add_row(part["part"], share, number(part["cycles"]), adds, *own)
    table.add_section()
    table.add_row(
        *("sum", "", "", number(everybody["cycles"], ",.1f")),
        *(number(worker["cycles"]) for worker in workers),
    )
    return table


def occupancy(shown: Shown) -> str:
    """
    >>> occupancy({"occupancy": {"ports": {"used": 10, "of": 1024}}})
    'ports 10 of 1,024 (1.0%)'
    """
    held = shown["occupancy"].items()
    return ", ".join(f"{name} {t['used']:,} of {t['of']:,} ({_full(t):.1%})" for name, t in held)


def _full(table: dict[str, int]) -> float:
    return table["used"] / table["of"] if table["of"] else 0.0


def notes(shown: Shown) -> str:
    """What must be known to read the figures."""
    return (
        f"Over {shown['interval_s']:.2f} s. Cycles are the TSC's, {shown['tsc_hz'] / 1e9:.3f} GHz."
        f" The parts are sampled: one round in {shown['timed_one_round_in']} is timed, here"
        f" {shown['all']['timed_packets']:,} of {shown['all']['packets']:,} packets.\n"
        "Cycles/packet of a worker: all of its busy time, so also what lies between the parts and"
        " what the kernel took. Naps let frames gather for 50 us.\n"
        f"{pages.said(shown['arena'])}"
    )


def screen(shown: Shown) -> Group:
    tables = rates(shown), cycles(shown), bursts(shown)
    return Group(*tables, f"{occupancy(shown)}\n{notes(shown)}")


@click.command()
@click.option("--interval", type=Seconds(), default=1.0, show_default=True, help="Seconds.")
@click.option(
    "--count",
    type=click.IntRange(1),
    help="Intervals to show; else until Ctrl-C on a terminal, one elsewhere.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one object an interval.")
@click.pass_obj
def performance(look: Look, interval: float, count: int | None, as_json: bool) -> None:
    """Cycles per packet and part of the path, burst sizes, occupancy; live on a terminal.

    Cycles are the TSC's. Only one round in some sixty is timed, part by part, a round being what
    one look at a port brought: cycles are a sample; packets, bursts and times are of all rounds.
    """
    live = sys.stdout.isatty() and not as_json
    seen = readings(look, max(interval, LEAST_S))
    wanted = seen if live and not count else islice(seen, count or 1)
    if as_json:
        for shown in wanted:
            click.echo(json.dumps(shown, indent=2 if count in (None, 1) else None))
    elif live:
        _follow(wanted)
    else:
        for shown in wanted:
            console().print(screen(shown))


def _follow(wanted: Iterator[Shown]) -> None:
    """On a terminal, each interval in the place of the one before; Ctrl-C is its end."""
    with Live(console=console(), auto_refresh=False) as live:
        try:
            for shown in wanted:
                live.update(screen(shown), refresh=True)
        except KeyboardInterrupt:
            return
