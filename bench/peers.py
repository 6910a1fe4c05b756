"""The same packets through PCG and its peers, in turns, in one run: `make bench-peers`.

In memory: PCG and Open vSwitch with DPDK, cycles a packet on one core (memory_peers.py). Over one
pair of veths: PCG, Linux and Open vSwitch, by any driver. There every frame that reaches the
gateway is received, forwarded and sent on one core: the gateway's threads are on it, and so are the
NAPI threads of its two interfaces. What counts are the ratios.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from operator import methodcaller
from pathlib import Path
from statistics import median

from bench import machine, memory_peers, run, veth
from bench.gateways import Linux, Pcg
from bench.memory_peers import Turn
from bench.rows import OURS, Row, quartiles
from bench.switch import DpdkSwitch, Switch
from bench.veth import GW, NORTH, SOUTH, Traffic
from pcg.lab import ns
from pcg.model.errors import BackendError

ROUNDS = 2
PASSES = 8  # of a turn in memory
IN_MEMORY, OVER_VETHS = "memory", "veths"
Found = dict[int, list]  # gateway's number -> what each of its turns gave


def in_turns(gateways: list, turn: Callable, rounds: int) -> tuple[Found, dict[int, str]]:
    """Each gateway's turns, and why some had none; one that failed has no other turn."""
    found: Found = {}
    failed: dict[int, str] = {}
    for _ in range(rounds):
        for number, gateway in enumerate(gateways):
            if number in failed:
                continue
            try:
                found.setdefault(number, []).append(turn(gateway))
            except (BackendError, ns.CommandError, OSError, RuntimeError) as error:
                failed[number] = str(error)
    return {number: turns for number, turns in found.items() if turns}, failed


def silent(gateway, way: str, sessions: int, why: str) -> Row:
    return Row(f"peer {way}".strip(), gateway.system, gateway.driver, "", sessions, note=why)


# ---- in memory ----


def in_memory(sessions: list[int], rounds: int, passes: int) -> Iterator[Row]:
    with veth.wires(), tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        theirs = memory_peers.Switch(Path(folder))
        gateways = [memory_peers.Pcg(huge=True), memory_peers.Pcg(huge=False), theirs]
        for way in ("north", "south"):
            for n in sessions:
                found, failed = in_turns(gateways, methodcaller("turn", way, n, passes), rounds)
                yield from memory_rows(gateways, found, way, n)
                for number, why in failed.items():
                    yield silent(gateways[number], way, n, why)


def memory_rows(gateways: list, found: Found, way: str, sessions: int) -> Iterator[Row]:
    """Compared with PCG on small pages: Open vSwitch is given no others."""
    ours = [t for n, turns in found.items() for t in turns if gateways[n].system == OURS]
    if not ours:
        return
    ghz, floor = median(t.ghz for t in ours), min(t.floor for t in ours)
    small = [
        ns
        for number, turns in found.items()
        if gateways[number].system == OURS and not gateways[number].huge
        for turn in turns
        for ns in turn.ns
    ]
    for number, turns in found.items():
        row = _memory_row(gateways[number], turns, way, sessions, ghz)
        row.floor = floor * ghz
        if row.system != OURS and small:
            compare(row, quartiles(small)[1] * ghz)
        yield row
        if new := [turn.new for turn in turns if turn.new]:
            yield _setup_row(row, min(new), ghz)


def _memory_row(gateway, turns: list[Turn], way: str, sessions: int, ghz: float) -> Row:
    passes = [ns for turn in turns for ns in turn.ns]
    least, low, middle, high = quartiles(passes)
    row = Row(f"peer {way}", gateway.system, gateway.driver, 64, sessions, passes=len(passes))
    row.mpps, row.cycles_min, row.cycles_per_packet = 1e3 / low, least * ghz, low * ghz
    row.cycles_median, row.cycles_p75 = middle * ghz, high * ghz
    row.more = {"where": IN_MEMORY, "not_its_own": min(t.floor for t in turns) * ghz}
    return row


def _setup_row(of: Row, new_ns: float, ghz: float) -> Row:
    """The first packets of as many sessions, into a table that nobody has touched yet."""
    row = Row(of.workload.replace("peer", "peer setup"), of.system, of.driver, 64, of.sessions)
    row.mpps, row.more = 1e3 / new_ns, {"where": IN_MEMORY}
    row.cycles_per_packet = row.cycles_min = row.cycles_median = row.cycles_p75 = new_ns * ghz
    return row


def compare(row: Row, ours: float) -> None:
    """How many times our cycles the peer needs, without its source and sink."""
    own = row.cycles_per_packet - row.more["not_its_own"]
    times = own / ours
    row.more["times"] = times
    row.note = (
        f"{times:.1f} times PCG's on the same pages, without the {row.more['not_its_own']:.0f}"
    )
    row.note += " to receive and drop"


# ---- over veths ----


def threaded(devices: tuple[str, ...], core: int) -> None:
    """Their receiving runs in kernel threads on this core (a veth has NAPI once GRO is on), which
    weigh what the gateways do.
    """
    for device in devices:
        ns.run("ethtool", "-K", device, "gro", "on", ns=GW)
        ns.run("tee", f"/sys/class/net/{device}/threaded", ns=GW, stdin="1")
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if comm.read_text().startswith(tuple(f"napi/{device}" for device in devices)):
                os.sched_setaffinity(int(comm.parent.name), {core})
                os.setpriority(os.PRIO_PROCESS, int(comm.parent.name), -20)


def over_veths(sessions: list[int], rounds: int, seconds: float) -> Iterator[Row]:
    with veth.wires(), tempfile.TemporaryDirectory() as folder:
        threaded(("up0", "down0"), machine.cores()[0])
        peers = [Linux(), Switch(Path(folder)), DpdkSwitch(Path(folder))]
        for n in sessions:
            gateways = [*(Pcg(driver, n) for driver in veth.drivers()), *peers]
            found, failed = in_turns(gateways, partial(turn, sessions=n, seconds=seconds), rounds)
            yield from veth_rows(gateways, found, n)
            for number, why in failed.items():
                yield silent(gateways[number], "", n, why)


def turn(gateway, sessions: int, seconds: float) -> dict[str, float]:
    """Packets a second each way."""
    found = {}
    with gateway.running():
        for way in (NORTH, SOUTH):
            with Traffic(way, sessions, 64, gateway.tunnel, gateway.inner) as traffic:
                traffic.learn()
                found[way.name] = traffic.capacity(seconds)
    return found


def veth_rows(gateways: list, found: Found, sessions: int) -> Iterator[Row]:
    """The best turn of each, since what disturbs one only makes it slower; compared with the best
    of PCG's drivers.
    """
    for way in (NORTH.name, SOUTH.name):
        pps = {number: max(t[way] for t in turns) for number, turns in found.items()}
        ours = max((v for n, v in pps.items() if gateways[n].system == OURS), default=0.0)
        for number, value in pps.items():
            gateway = gateways[number]
            row = Row(f"peer {way}", gateway.system, gateway.driver, 64, sessions)
            row.mpps, row.passes, row.more = value / 1e6, len(found[number]), {"where": OVER_VETHS}
            if gateway.system != OURS and ours and value:
                times = ours / value
                row.more["times"] = times
                row.note = f"PCG forwards {times:.2f} times as many"
            yield row


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="PCG and its peers.")
    parser.add_argument("--only", nargs="+", choices=(IN_MEMORY, OVER_VETHS))
    parser.add_argument("--sessions", type=int, nargs="+", help="of both")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--passes", type=int, default=PASSES, help="of a turn in memory")
    parser.add_argument("--seconds", type=float, default=0.6, help="of a rate over veths")
    args = parser.parse_args(argv)
    few, many = args.sessions or [1_000, 100_000], args.sessions or [1_000, 10_000, 100_000]
    parts = {
        IN_MEMORY: lambda: in_memory(many, args.rounds, args.passes),
        OVER_VETHS: lambda: over_veths(few, args.rounds, args.seconds),
    }
    wanted = {name: part for name, part in parts.items() if name in (args.only or parts)}
    return run.report(wanted, machine.ROOT / "build" / "bench" / "peers.json")


if __name__ == "__main__":
    sys.exit(main())
