"""Take a lab away, also one whose owner crashed.

Whatever lives in the lab's namespaces is the lab's, and nothing else is touched: processes are
found by namespace, never by name. Veths and bridges go with their namespaces.
"""

import contextlib
import os
import shutil
import signal
import time

from pcg.lab import ns
from pcg.lab.layout import RUNS

PATIENCE_S = 5.0


def sweep(prefix: str) -> int:
    """Everything of the lab `prefix`; the number of namespaces that were there."""
    spaces = ns.listed(prefix)
    _end(spaces)
    for space in spaces:
        ns.run("ip", "netns", "del", space, check=False)
    shutil.rmtree(RUNS / prefix.strip("-"), ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(f"/dev/shm/{prefix}lab.arena")
    with contextlib.suppress(OSError):
        RUNS.rmdir()  # the last lab is gone
    return len(spaces)


def _end(spaces: list[str]) -> None:
    """Ask, wait, insist."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + PATIENCE_S
        left = _signal(spaces, how)
        while left and time.monotonic() < until:
            time.sleep(0.02)
            left = [pid for space in spaces for pid in ns.pids(space)]
        if not left:
            return


def _signal(spaces: list[str], how: signal.Signals) -> list[int]:
    found = [pid for space in spaces for pid in ns.pids(space) if pid != os.getpid()]
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
    return found
