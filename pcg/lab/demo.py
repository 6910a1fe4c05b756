"""`make demo`: the scenario on real packets, as a table that a person reads in a minute."""

import contextlib
import subprocess
import sys
import time

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pcg.lab.checks import CHECKS, Check, Failed
from pcg.lab.cli import looking_around
from pcg.lab.clients import curl
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET
from pcg.lab.ns import CommandError

TRIED_WIDTH = 50
# What a check may meet when the gateway does not do its part; anything else is the lab's own fault.
BROKEN = (Failed, CommandError, TimeoutError, OSError, RuntimeError, subprocess.TimeoutExpired)


def run(prefix: str, keep: bool, only: str = "", driver: str = "") -> int:
    """The exit code: 0 when every check passed. Raises what kept the lab from coming up."""
    console = Console(width=None if sys.stdout.isatty() else 130, highlight=False)
    lab = Lab(prefix, driver=driver)
    try:
        begun = time.monotonic()
        lab.up()
        console.print(f"lab up in {time.monotonic() - begun:.1f} s; starting PCG")
        lab.start_programs()
        lab.boot_clients()
        passed, total = _checks(console, lab, only)
        _packet(console, lab)
        _ledger(console, lab)
    finally:
        _leave(console, lab, keep)
    console.print(f"demo: {passed} of {total} checks passed")
    return 0 if passed == total else 1


def _checks(console: Console, lab: Lab, only: str) -> tuple[int, int]:
    """Each check once, a line as soon as it ends; how many passed, and of how many."""
    chosen = [c for c in CHECKS if only in c.name]
    console.print(_line("", "tried", "seen", ""), style="bold")
    passed = 0
    for number, check in enumerate(chosen, 1):
        with console.status(f"{number} of {len(chosen)}: {check.tried}"):
            good, seen = outcome(lab, check)
        passed += good
        verdict = "[green]pass[/]" if good else "[red]FAIL[/]"
        console.print(_line(str(check.point), escape(check.tried), escape(seen), verdict))
    return passed, len(chosen)


def _line(point: str, tried: str, seen: str, verdict: str) -> Table:
    line = Table.grid(padding=(0, 2))
    for width in (2, TRIED_WIDTH, None, 4):
        line.add_column(width=width, ratio=None if width else 1, overflow="fold")
    line.expand = True
    line.add_row(point, tried, seen, verdict)
    return line


def outcome(lab: Lab, check: Check) -> tuple[bool, str]:
    try:
        return True, check.run(lab)
    except BROKEN as broken:
        return False, str(broken)


def _packet(console: Console, lab: Lab) -> None:
    """One real packet, stage by stage."""
    console.rule("one packet of a workload's HTTP request, stage by stage")
    address = lab.layout.port("web1").addresses[0]
    argv = lab.ask.argv("trace", "--count", "1", "--address", address, "--protocol", "tcp")
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdout=pipe, stderr=subprocess.STDOUT, text=True) as trace:
        while trace.poll() is None:  # until it has begun to look, there is nothing to see
            with contextlib.suppress(CommandError):
                curl(lab.layout.workload_ns("web1"), f"http://{INTERNET}:{HTTP}/")
            time.sleep(0.1)
        console.print(trace.stdout.read(), markup=False)


def _ledger(console: Console, lab: Lab) -> None:
    console.rule("the drop ledger")
    sys.stdout.flush()  # it writes there itself, as wide as that is
    subprocess.run(lab.ask.argv("show", "drops"), check=False)


def _leave(console: Console, lab: Lab, keep: bool) -> None:
    if keep and lab.mine:
        lab.keep()
        console.print(looking_around(lab, started=True), markup=False)
    else:
        lab.down()
