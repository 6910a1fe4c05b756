"""What a gateway costs that has nothing to do: per cent of one core.

By itself, with a table full of sessions to sweep; on interfaces, by driver; as the whole program.
"""

import contextlib
import os
import time
from collections.abc import Iterator

from bench import control, path, veth
from bench.path import Shape
from bench.rows import Row
from bench.world import World
from pcg.lab import ns
from pcg.model.errors import BackendError

SETTLE_S = 5.0  # housekeeping looks for a while longer at what was just changed
MEASURE_S = 5.0
TICKS_S = os.sysconf("SC_CLK_TCK")


def used(pid: int | None = None) -> float:
    """Seconds of CPU so far: of another process by its ticks, of this one to the nanosecond."""
    if pid is None:
        return time.process_time()
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_S


def row(sessions: int, driver: str, what: str, pid: int | None = None) -> Row:
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
