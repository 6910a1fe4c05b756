"""The bench: `make bench`, `make bench QUICK=1`, or a part of it:

python -m bench.run --only north south --sessions 1000 100000 --passes 25
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich.console import Console

from bench import (
    ablations,
    busy,
    churn,
    classifiers,
    control,
    dhcp,
    idle,
    link,
    machine,
    memory,
    page,
    path,
    profile,
    table,
    veth,
)
from bench.rows import BURST, IMIX, SHAPE, Row
from pcg.datapath import build
from pcg.lab.ns import CommandError
from pcg.model.errors import BackendError

REPORT = machine.ROOT / "build" / "bench" / "report.json"
FORWARD = ("north", "south", "east", "mixed")
SESSIONS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
SESSIONS_QUICK = (1_000, 100_000, 1_000_000)
SOME = {"east": (1_000, 100_000, 1_000_000), "mixed": (100_000, 1_000_000)}  # those with a bar
SOME_QUICK = {"east": (1_000_000,), "mixed": (1_000_000,)}
NOT_QUICK = (
    "stall",
    "churn",
    "idle",
    "flood",
    "link",
    "classifiers",
    "ablations",
    "profile",
    "dhcp",
)
SIZES = (64, IMIX, 1500, 8943)
WIDTH = 112  # columns
INTERRUPTED = "interrupted"
WIRED_SESSIONS = 1_000
MANY = 1_000_000  # sessions: 200 MB
SIZED_AT = 100_000  # sessions, where the other sizes are measured


def forwarding(workload: str, args: argparse.Namespace) -> Iterator[Row]:
    for sessions in counts(workload, args):
        if not path.fits(sessions):
            yield Row(workload, sessions=sessions, note="not enough memory free")
            continue
        sizes = args.sizes if sessions == SIZED_AT or args.sessions else args.sizes[:1]
        shapes = [path.Shape(args.passes, size, burst=args.burst) for size in sizes]
        yield from path.forward(workload, sessions, shapes)


def counts(workload: str, args: argparse.Namespace) -> tuple[int, ...]:
    """Of its sessions: those asked for, or those with a bar, or fewer, in a minute."""
    if args.sessions:
        return args.sessions
    return SOME_QUICK.get(workload, SESSIONS_QUICK) if args.quick else SOME.get(workload, SESSIONS)


def rules(args: argparse.Namespace) -> Iterator[Row]:
    """Sessions that exist, with 1,000 + 1,000 rules and 10,000 routes: they ask none of them."""
    for workload in ("north", "south"):
        yield from path.forward(workload, SIZED_AT, [path.Shape(args.passes)], rules=True)


def setup(args: argparse.Namespace) -> Iterator[Row]:
    yield from path.setup(many(args), 1 if args.quick else 3)


def wired(args: argparse.Namespace) -> Iterator[Row]:
    sizes = veth.SIZES[:1] if args.quick else veth.SIZES
    yield from veth.measure(WIRED_SESSIONS, 0.4 if args.quick else 0.6, sizes)


def many(args: argparse.Namespace) -> int:
    """As many as are not in any cache; to make more takes longer and shows nothing else."""
    return min(most(args), MANY)


def most(args: argparse.Namespace) -> int:
    """The largest table that is asked for and fits."""
    wanted = args.sessions or (SESSIONS_QUICK if args.quick else SESSIONS)
    return max((n for n in wanted if path.fits(n)), default=1_000)


def parts() -> dict[str, Callable[[argparse.Namespace], Iterator[Row]]]:
    """Name -> what measures it, in the order of the report."""
    return {
        **{name: lambda args, name=name: forwarding(name, args) for name in FORWARD},
        "rules": rules,
        "setup": setup,
        "memory": lambda _args: memory.measure(),
        "workers": lambda args: busy.two_workers(many(args), args.passes),
        "stall": lambda args: busy.stall(most(args)),
        "churn": lambda args: churn.churn(many(args)),
        "idle": lambda args: idle.measure(most(args)),
        "flood": lambda _args: busy.flood(),
        "veth": wired,
        "control": lambda _args: control.measure(),
        "link": lambda _args: link.measure(),
        "dhcp": lambda _args: dhcp.measure(),
        "classifiers": lambda _args: classifiers.measure(),
        "ablations": lambda args: ablations.measure(SIZED_AT, args.passes),
        "profile": lambda args: profile.measure(most(args) if args.sessions else SIZED_AT),
    }


def number(least: int, most: int) -> Callable[[str], int]:
    """For an argument: a whole number in this range.

    >>> number(1, 128)("64")
    64
    """

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is not a number from {least:,} to {most:,}")
        return int(text)

    return read


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description="Figures of PCG.")
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument(
        "--only", nargs="+", choices=parts(), metavar="PART", help=", ".join(parts())
    )
    parser.add_argument("--sessions", type=number(1, path.SESSIONS_MAX), nargs="+")
    size = number(*path.SIZE_LIMITS)
    parser.add_argument("--sizes", type=lambda s: s if s == IMIX else size(s), nargs="+")
    parser.add_argument("--passes", type=number(1, 100_000))
    parser.add_argument("--burst", type=number(1, BURST), default=BURST)
    parser.add_argument("--json", type=Path, default=REPORT, help=f"default: {REPORT}")
    args = parser.parse_args(argv)
    args.sizes = args.sizes or (SIZES[:1] if args.quick or args.only else SIZES)
    args.passes = args.passes or (11 if args.quick else 25)
    return args


Parts = dict[str, Callable[[], Iterator[Row]]]  # name -> what measures it


def measure(wanted: Parts, console: Console) -> tuple[list[Row], dict[str, float]]:
    """Every part, and its seconds; one that this machine cannot do says why, in a row. When it is
    interrupted, what was measured so far.
    """
    rows: list[Row] = []
    took: dict[str, float] = {}
    for name, part in wanted.items():
        begun = time.monotonic()
        try:
            with console.status(name):
                rows += part()
        except KeyboardInterrupt:
            rows.append(Row(name, note=INTERRUPTED))
            console.print(f"[yellow]interrupted in {name}: what was measured until then[/]")
            break
        except (BackendError, CommandError, RuntimeError, OSError) as error:
            rows.append(Row(name, note=str(error)))
        took[name] = round(time.monotonic() - begun, 1)
    return rows, took


def report(wanted: Parts, file: Path) -> int:
    """Measure, show, and write `file` and its page."""
    console = Console(highlight=False, width=WIDTH)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was set up is taken down
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        console.print(f"{file.parent}: {error.strerror}")
        return 2
    if "PCGDP_DIR" not in os.environ:  # else somebody has built what is to be measured
        build.build()
    begun, facts = time.monotonic(), machine.facts()
    facts["permitted"] = machine.let_alone()
    rows, took = measure(wanted, console)
    facts |= {"took_s": round(time.monotonic() - begun, 1), "parts_s": took}
    facts["load_after"] = machine.load()
    table.show(console, rows, facts)
    whole = {"shape": SHAPE, "machine": facts, "rows": [r.as_json() for r in rows]}
    file.write_text(json.dumps(whole, indent=1))
    console.print(f"written: {file}, {page.write(file).name}")
    return 130 if any(r.note == INTERRUPTED for r in rows) else 0


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    wanted = args.only or [n for n in parts() if not (args.quick and n in NOT_QUICK)]
    return report({name: partial(parts()[name], args) for name in wanted}, args.json)


if __name__ == "__main__":
    sys.exit(main())
