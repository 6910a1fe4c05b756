"""What a gateway costs that has nothing to do: per cent of one core.

By itself, with a table full of sessions to sweep; on interfaces, by driver; as the whole program.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from bench import control, path, veth
from bench.path import Shape
from bench.rows import Row
from bench.world import World
from pcg.lab import ns
from pcg.model.errors import BackendError

SETTLE_S = 5.0  # housekeeping hurries for four seconds after a change
MEASURE_S = 5.0


def used(pid: int) -> float:
    """Seconds of CPU so far, of all threads."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((one / "schedstat").read_text().split()[0]) for one in threads) / 1e9


def row(sessions: int, driver: str, what: str, pid: int = 0) -> Row:
    """Of the process `pid`; 0: this one."""
    pid = pid or os.getpid()
    time.sleep(SETTLE_S)
    before, begun = used(pid), time.monotonic()
    time.sleep(MEASURE_S)
    percent = 100 * (used(pid) - before) / (time.monotonic() - begun)
    return Row(
        "idle", driver=driver, sessions=sessions, value=percent, unit="% of a core", note=what
    )


def measure(sessions: int) -> Iterator[Row]:
    yield alone(sessions)
    with control.process() as (client, pid), contextlib.closing(client):
        yield row(0, "mem", "the whole program", pid)
    with veth.wires():
        for driver in veth.drivers():
            try:
                with veth.gateway(driver, 1000):
                    yield row(0, driver, "two interfaces without frames")
            except (BackendError, ns.CommandError) as error:
                yield Row("idle", driver=driver, note=str(error))


def alone(sessions: int) -> Row:
    with path.opened(World(), sessions) as dp:
        path.make_sessions(dp, path.flows(World(), "mixed", sessions)[0], Shape())
        dp.start()
        try:
            return row(sessions, "mem", "its sessions live")
        finally:
            dp.stop()
