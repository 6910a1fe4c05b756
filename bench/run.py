"""The bench: `make bench`, `make bench QUICK=1`, or a part of it:

python -m bench.run --only north south --sessions 1000 100000 --passes 25
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from bench import ablations, busy, control, machine, memory, path, table, veth
from bench.rows import IMIX, Row
from pcg.datapath import build
from pcg.lab.ns import CommandError
from pcg.model.errors import BackendError

REPORT = machine.ROOT / "build" / "bench" / "report.json"
FORWARD = ("north", "south", "east", "mixed")
SESSIONS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
SESSIONS_QUICK = (1_000, 100_000, 1_000_000)
SIZES = (64, IMIX, 1500, 8943)
WIDTH = 112  # columns
WIRED_SESSIONS = 1_000
SIZED_AT = 100_000  # sessions, where the other sizes are measured


def forwarding(workload: str, args: argparse.Namespace) -> Iterator[Row]:
    for sessions in args.sessions:
        if not path.fits(sessions):
            yield Row(workload, sessions=sessions, note="not enough memory free")
            continue
        sizes = args.sizes if sessions == SIZED_AT or len(args.sessions) == 1 else args.sizes[:1]
        shapes = [path.Shape(args.passes, size, burst=args.burst) for size in sizes]
        yield from path.forward(workload, sessions, shapes)


def setup(args: argparse.Namespace) -> Iterator[Row]:
    for rules in (False, True):
        yield path.setup(min(most(args), 1_000_000), rules, 1 if args.quick else 3)


def wired(args: argparse.Namespace) -> Iterator[Row]:
    sizes = veth.SIZES[:1] if args.quick else veth.SIZES
    yield from veth.measure(WIRED_SESSIONS, 1.0 if args.quick else 2.0, sizes)


def most(args: argparse.Namespace) -> int:
    """The largest table that is asked for and fits."""
    return max((n for n in args.sessions if path.fits(n)), default=1_000)


def parts() -> dict[str, Callable[[argparse.Namespace], Iterator[Row]]]:
    """Name -> what measures it, in the order of the report."""
    return {
        **{name: lambda args, name=name: forwarding(name, args) for name in FORWARD},
        "setup": setup,
        "memory": lambda _args: memory.measure(),
        "workers": lambda args: busy.two_workers(most(args)),
        "stall": lambda args: busy.stall(most(args)),
        "churn": lambda args: busy.churn(min(most(args), 1_000_000)),
        "flood": lambda _args: busy.flood(),
        "veth": wired,
        "control": lambda _args: control.measure(),
        "ablations": lambda args: ablations.measure(SIZED_AT, args.passes),
    }


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description="Figures of PCG.")
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument(
        "--only", nargs="+", choices=parts(), metavar="PART", help=", ".join(parts())
    )
    parser.add_argument("--sessions", type=int, nargs="+")
    parser.add_argument("--sizes", type=lambda s: s if s == IMIX else int(s), nargs="+")
    parser.add_argument("--passes", type=int)
    parser.add_argument("--burst", type=int, default=32)
    parser.add_argument("--json", type=Path, default=REPORT, help=f"default: {REPORT}")
    args = parser.parse_args(argv)
    args.sessions = args.sessions or (SESSIONS_QUICK if args.quick else SESSIONS)
    args.sizes = args.sizes or (SIZES[:1] if args.quick or args.only else SIZES)
    args.passes = args.passes or (15 if args.quick else 25)
    return args


def measure(args: argparse.Namespace, console: Console) -> list[Row]:
    """Every part; one that this machine cannot do says why, in a row."""
    rows: list[Row] = []
    wanted = args.only or list(parts())
    for name in wanted:
        try:
            with console.status(name):
                rows += parts()[name](args)
        except (BackendError, CommandError, RuntimeError, OSError) as error:
            rows.append(Row(name, note=str(error)))
    return rows


def main(argv: list[str] | None = None) -> int:
    args, console = arguments(argv), Console(highlight=False, width=WIDTH)
    if "PCGDP_DIR" not in os.environ:  # else somebody has built what is to be measured
        build.build()
    begun, report = time.monotonic(), machine.facts()
    report["permitted"] = machine.let_alone()
    rows = measure(args, console)
    report |= {"took_s": round(time.monotonic() - begun, 1), "load_after": machine.load()}
    table.show(console, rows, report)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(
        json.dumps({"machine": report, "rows": [r.as_json() for r in rows]}, indent=1)
    )
    console.print(f"written: {args.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
