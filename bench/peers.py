"""The same packets through PCG and its peers, in turns, over one pair of veths: `make bench-peers`.

Every frame that reaches the gateway is received, forwarded and sent on one core: the gateway's
threads are on it, and so are the NAPI threads of its two interfaces. What counts are the ratios.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench import machine, run, veth
from bench.gateways import Linux, Pcg, Switch
from bench.rows import OURS, Row
from bench.veth import GW, NORTH, SOUTH, Traffic, Way
from pcg.lab import ns
from pcg.model.errors import BackendError

ROUNDS = 2


def threaded(devices: tuple[str, ...], core: int) -> None:
    """Their receiving runs in kernel threads on this core (a veth has NAPI once GRO is on)."""
    for device in devices:
        ns.run("ethtool", "-K", device, "gro", "on", ns=GW)
        ns.run("tee", f"/sys/class/net/{device}/threaded", ns=GW, stdin="1")
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if comm.read_text().startswith(tuple(f"napi/{device}" for device in devices)):
                os.sched_setaffinity(int(comm.parent.name), {core})


def turn(gateway, ways: tuple[Way, ...], sessions: int, seconds: float) -> dict[str, float]:
    """Packets a second each way."""
    found = {}
    with gateway.running():
        getattr(gateway, "prepared", lambda: None)()
        for way in ways:
            with Traffic(way, sessions, 64, gateway.tunnel, gateway.inner) as traffic:
                traffic.learn()
                found[way.name] = traffic.capacity(seconds)
    return found


def measure(sessions: list[int], rounds: int, seconds: float) -> Iterator[Row]:
    with veth.wires(), tempfile.TemporaryDirectory() as folder:
        threaded(("up0", "down0"), machine.cores()[0])
        for n in sessions:
            ours = [Pcg(driver, n) for driver in veth.drivers()]
            yield from _compared([*ours, Linux(), Switch(Path(folder))], n, rounds, seconds)


def _compared(gateways: list, sessions: int, rounds: int, seconds: float) -> Iterator[Row]:
    found: dict[tuple, list[float]] = {}
    failed: dict[int, str] = {}
    for _ in range(rounds):
        for number, gateway in enumerate(gateways):
            if number in failed:
                continue
            try:
                for way, pps in turn(gateway, (NORTH, SOUTH), sessions, seconds).items():
                    found.setdefault((number, way), []).append(pps)
            except (BackendError, ns.CommandError, OSError, RuntimeError) as error:
                failed[number] = str(error)
    for (number, way), values in sorted(found.items()):
        yield _row(gateways, number, way, sessions, found, median(values))
    for number, why in failed.items():
        yield Row("peer", gateways[number].system, gateways[number].driver, "", sessions, note=why)


def _row(gateways, number: int, way: str, sessions: int, found: dict, pps: float) -> Row:
    gateway = gateways[number]
    ours = [median(v) for (i, w), v in found.items() if w == way and gateways[i].system == OURS]
    row = Row(f"peer {way}", gateway.system, gateway.driver, 64, sessions, mpps=pps / 1e6)
    row.passes = len(found[number, way])
    if gateway.system != OURS and ours and pps:
        times = max(ours) / pps
        row.more = {"case": f"{way}, {sessions:,} sessions", "times": times}
        row.note = f"PCG forwards {times:.2f} times as many"
    return row


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="PCG and its peers.")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=0.6)
    args = parser.parse_args(argv)
    parts = {"peers": lambda: measure(args.sessions, args.rounds, args.seconds)}
    return run.report(parts, machine.ROOT / "build" / "bench" / "peers.json")


if __name__ == "__main__":
    sys.exit(main())
