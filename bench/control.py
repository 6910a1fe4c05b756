"""The control plane of one datapath: the process, its client, and how long changes take.

Single tables take effect when the call returns, so that a call's time is the time to take effect;
one look at the end makes sure of it.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from bench import machine, world
from bench.rows import Row, percentile
from bench.world import World
from pcg.datapath.client import Client

PORTS = 1 << 17  # some more than 100,000: worlds come in powers of two
COUNTED = 100_000
CHANGES, COMMITS = 500, 20
START_S = 30.0
ROLES = ("uplink", "downlink")


@contextlib.contextmanager
def process() -> Iterator[tuple[Client, int]]:
    """A datapath process over mem ports, as `pcg datapath` starts it: its client, its number."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        settings, control = Path(folder) / "datapath.yaml", f"ipc://{folder}/control.sock"
        ports = [{"interface": f"{role}0", "role": role, "driver": "mem"} for role in ROLES]
        own = {"control": control, "arena": f"{folder}/arena", "user": "", "ports": ports}
        settings.write_text(yaml.safe_dump({**own, "workload_addresses": PORTS * 2}))
        argv = (sys.executable, "-m", "pcg", "datapath", "--settings", str(settings))
        more = {"cwd": machine.ROOT, "preexec_fn": machine.end_with_us}
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, **more) as running:
            try:
                yield _connected(running, control), running.pid
            finally:
                running.terminate()


def _connected(running: subprocess.Popen, control: str) -> Client:
    end = time.monotonic() + START_S
    while not Path(control.removeprefix("ipc://")).exists():
        if running.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the datapath process did not start: {running.stderr.read()}")
        time.sleep(0.01)
    return Client(control, timeout_s=30)


def timed(call: Callable[..., object], *args) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    call(*args)
    return (time.perf_counter() - start) * 1e3


def measure() -> Iterator[Row]:
    place = World(PORTS, rules=True)
    with process() as (client, _), contextlib.closing(client):
        client.put("teps", [world.r.Teps(world.tep(i), world.MAC, 1, 1, 9001) for i in range(256)])
        client.put("nexthops", [world.r.Nexthops(world.HOP, world.MAC, 1)])
        policy, ports = place.policy(), [place.port(w) for w in range(COUNTED)]
        client.commit(policy, 1)
        whole = timed(client.put, "ports", ports)
        yield Row("program", driver="", packet_size="", value=whole, unit="ms, 100,000 ports")

        took = [timed(client.put, "ports", [moved(place, i)]) for i in range(CHANGES)]
        if moved(place, CHANGES - 1) not in client.read("ports"):
            raise RuntimeError("a port that was changed is not what it was changed to")
        note = f"median {percentile(took, 50):.2f} ms of {CHANGES} ports that move"
        high = percentile(took, 99)
        yield Row("one change", driver="", packet_size="", value=high, unit="ms, 99 %", note=note)

        took = [timed(client.commit, policy, i) for i in range(COMMITS)]
        note = f"worst {max(took):.0f} ms; 1,000 + 1,000 rules, 10,000 routes, made and sent"
        middle = percentile(took, 50)
        yield Row("commit", driver="", packet_size="", value=middle, unit="ms, median", note=note)


def moved(place: World, i: int) -> world.r.Ports:
    return place.port(i * 97 % COUNTED)._replace(tep_be=world.tep(i + 1))
