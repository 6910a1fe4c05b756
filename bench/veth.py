"""Throughput and latency over veth pairs, for each driver that the datapath has.

    namespace pcgb-wire-PID        namespace pcgb-gw-PID
    traffic (traffic.c)   d1 ---- down0  [gateway, on a core of its own]
                          u1 ---- up0

Throughput is what comes out while more comes in than can be forwarded; latency is measured at 10,
50 and 90 % of that. A veth has no wire and no interrupt: the sender's core pays for receiving,
the gateway's for what it sends, up to the far end. The floor of throughput is what the sender can
get as far as the gateway's interface; of latency, the kernel handing every frame on as it is.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from statistics import mean

from bench import frames, machine, world
from bench.frames import Macs, Tunnel
from bench.reflector import reflecting
from bench.rows import IMIX, Row, sizes_of
from bench.world import World
from pcg.datapath import border
from pcg.datapath.lib import Datapath
from pcg.lab import ns
from pcg.model.errors import BackendError

PREFIX = "pcgb-"
WIRE, GW = (f"{PREFIX}{name}-{os.getpid()}" for name in ("wire", "gw"))
PLACE = World(snat_rules=2, dnat_rules=4)  # a socket filter holds so many public addresses
MTU = 9001
SOURCE, PROGRAM = machine.ROOT / "bench/traffic.c", machine.ROOT / "build/bench/traffic"
SIZES = (64, IMIX, 1500, 8942)
LOADS = (10, 50, 90)
LEARN_RATE = 30_000  # packets a second, while sessions are made
LADDER_FROM, LADDER_TO, LADDER_STEP, LADDER_FALL, LADDER_TRIES = 50_000, 3_000_000, 1.4, 0.85, 3
DEAF = """
table netdev pcgb {
  chain in { type filter hook ingress devices = { up0, down0 } priority 0; policy drop; }
}
"""
HANDED_ON = """
table netdev pcgb {
  chain north { type filter hook ingress device "down0" priority 0; fwd to "up0"; }
  chain south { type filter hook ingress device "up0" priority 0; fwd to "down0"; }
}
"""


@dataclass(frozen=True)
class Way:
    """In by one end of the wire, out by the other."""

    name: str
    into: str
    out: str


NORTH, SOUTH = Way("north", "d1", "u1"), Way("south", "u1", "d1")


@contextlib.contextmanager
def wires() -> Iterator[None]:
    """Both namespaces and both pairs; whatever an earlier run left is taken away."""
    if os.geteuid():
        raise BackendError("network namespaces need root: run it as root, or with sudo")
    for space in ns.listed(PREFIX):
        if not Path("/proc", space.rpartition("-")[2]).exists():
            ns.run("ip", "netns", "del", space, check=False)
    try:
        for space in (WIRE, GW):
            ns.make(space)
        for ours, theirs in (("up0", "u1"), ("down0", "d1")):
            ns.ip(f"link add {ours} netns {GW} mtu {MTU} type veth peer name {theirs} netns {WIRE}")
            ns.ip(f"link set {ours} up", GW)
            ns.ip(f"link set {theirs} mtu {MTU} up", WIRE)
            ns.no_offloads(GW, ours)
            ns.no_offloads(WIRE, theirs)
        yield
    finally:
        for space in (WIRE, GW):
            ns.run("ip", "netns", "del", space, check=False)


def mac(device: str) -> bytes:
    text = json.loads(ns.run("ip", "-j", "link", "show", device, ns=GW))[0]["address"]
    return bytes.fromhex(text.replace(":", ""))


def build() -> None:
    """The traffic tool, if its source is newer."""
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    if not PROGRAM.exists() or PROGRAM.stat().st_mtime < SOURCE.stat().st_mtime:
        ns.run("gcc", "-std=gnu11", "-O2", "-pthread", str(SOURCE), "-o", str(PROGRAM))


class Traffic:
    """Frames of so many sessions, ready on disk, and runs of them."""

    def __init__(
        self, way: Way, sessions: int, size: int | str, tunnel: Tunnel, inner: bytes
    ) -> None:
        build()
        self.way, self.sessions, self.size = way, sessions, size
        array = b"".join(islice(getattr(PLACE, way.name)(sessions), sessions))
        flows = world.FLOW.iter_unpack(array)
        macs = Macs(mac("down0"), mac("up0"), inner)
        self.file = tempfile.NamedTemporaryFile(dir="/dev/shm")  # noqa: SIM115 - closed below
        self.file.write(frames.as_file(frames.frames(flows, sizes_of(size), macs, tunnel)))
        self.file.flush()

    def __enter__(self) -> "Traffic":
        return self

    def __exit__(self, *_exc) -> None:
        self.file.close()

    def run(self, rate: float, seconds: float, in_order: bool = False) -> dict:
        """What traffic.c says of it."""
        sample = 1 if 0 < rate < 100_000 else 16
        argv = (self.way.into, self.way.out, self.file.name, f"{rate:.0f}", str(seconds))
        command = (str(PROGRAM), *argv, str(int(in_order)), str(sample))
        core = str(machine.cores()[-1])
        return json.loads(ns.run("taskset", "-c", core, *command, ns=WIRE, timeout_s=seconds + 30))

    def learn(self) -> None:
        """A packet of each session, one after the other, and once more for those that were lost.

        What leaves to the north is answered: to some gateways a session without a reply is new
        for ever, and costs more.
        """
        with reflecting(WIRE, self.way.out) if self.way is NORTH else contextlib.nullcontext():
            self.run(LEARN_RATE, 2 * self.sessions / LEARN_RATE + 0.2, in_order=True)

    def throughput(self, seconds: float) -> float:
        """Packets a second that come out of a gateway that is given too many."""
        return _a_second(self.run(0, seconds))

    def capacity(self, seconds: float) -> float:
        """The most that comes out at any rate. Where receiving and forwarding share a core, a
        gateway that is given far too many receives them all and forwards none.
        """
        return highest(lambda rate: _a_second(self.run(rate, seconds)))


def highest(came: Callable[[float], float]) -> float:
    """The most that comes of rates up a ladder, until they bring less. A step that does is tried
    again: it may have been the machine that was busy.

    >>> highest(lambda rate: min(rate, 400_000))
    400000
    """
    best, rate = 0.0, LADDER_FROM
    while rate < LADDER_TO:
        got, wanted = 0.0, (best or rate) * LADDER_FALL
        for _ in range(LADDER_TRIES):
            got = max(got, came(rate))
            if got >= wanted:
                break
        if got < best * LADDER_FALL:
            break
        best, rate = max(best, got), rate * LADDER_STEP
    return best


def _a_second(found: dict) -> float:
    return found["received"] / found["seconds"]


@contextlib.contextmanager
def gateway(driver: str, sessions: int) -> Iterator[Datapath]:
    """The datapath in its namespace, its threads on a core of their own."""
    room = max(4096, 2 * sessions)
    with ns.inside(GW), Datapath(room, PLACE.workloads + 1024) as dp:
        dp.nic_add("up0", "uplink", driver)
        dp.nic_add("down0", "downlink", driver)
        PLACE.program(dp)
        before = threads()
        dp.start()
        for thread in threads() - before:
            os.sched_setaffinity(thread, {machine.cores()[0]})
        yield dp
        dp.stop()


def threads() -> set[int]:
    return {int(entry.name) for entry in Path("/proc/self/task").iterdir()}


def drivers() -> list[str]:
    """Those that move frames of interfaces."""
    words = border.words("pcgdp_driver", "PCGDP_DRIVER_").values()
    return [word.lower() for word in words if word not in ("MEM", "AUTO")]


def row(what: str, driver: str, size: int | str, sessions: int, **given) -> Row:
    return Row(what, driver=driver, packet_size=size, sessions=sessions, **given)


def measure(sessions: int, seconds: float, sizes: tuple[int | str, ...]) -> Iterator[Row]:
    """Every driver, both ways; one that cannot says why."""
    with wires():
        floor = floors(sessions, seconds, sizes)
        with ruled(DEAF):
            for driver in drivers():
                try:
                    with gateway(driver, sessions) as dp:
                        for r in _measured(dp, driver, sessions, seconds, sizes):
                            r.floor = floor[r.workload, r.packet_size]
                            yield r
                except (BackendError, ns.CommandError) as error:
                    yield Row("veth", driver=driver, packet_size="", note=str(error))


@contextlib.contextmanager
def ruled(rules: str) -> Iterator[None]:
    """The gateway's namespace with these rules, which are a table `netdev pcgb`."""
    ns.run("nft", "-f", "-", ns=GW, stdin=rules)
    try:
        yield
    finally:
        ns.run("nft", "delete", "table", "netdev", "pcgb", ns=GW)


def floors(sessions: int, seconds: float, sizes: tuple[int | str, ...]) -> dict[tuple, float]:
    """Of each row, by workload and size: Mpps, or microseconds."""
    found = {}
    with ruled(DEAF):
        for way, size in product((NORTH, SOUTH), sizes):
            with crossing(way, sessions, size) as traffic:
                runs = [traffic.run(0, seconds) for _ in range(2)]
                found[f"veth {way.name}", size] = max(r["sent"] / r["seconds"] for r in runs) / 1e6
    with ruled(HANDED_ON), crossing(NORTH, sessions, sizes[0]) as traffic:
        pps = traffic.throughput(seconds)
        for r in _latencies(traffic, "", sessions, pps, seconds):
            found[r.workload, r.packet_size] = r.value
    return found


def crossing(way: Way, sessions: int, size: int | str) -> Traffic:
    tunnel = Tunnel(world.OURS, frames.geneve(world.TRANSIT))
    return Traffic(way, sessions, size, tunnel, world.GATEWAY_MAC)


def _measured(
    dp: Datapath, driver: str, sessions: int, seconds: float, sizes: tuple[int | str, ...]
) -> Iterator[Row]:
    for way, size in product((NORTH, SOUTH), sizes):
        with crossing(way, sessions, size) as traffic:
            traffic.learn()
            pps = max(traffic.throughput(seconds) for _ in range(2))
            _no_drops(dp)
            gbit = pps * mean(sizes_of(size)) * 8 / 1e9
            given = {"mpps": pps / 1e6, "more": {"gbit_s": gbit}}
            yield row(f"veth {way.name}", driver, size, sessions, **given)
            if way is NORTH and size == sizes[0]:
                yield from _latencies(traffic, driver, sessions, pps, seconds)


def _latencies(traffic: Traffic, driver: str, sessions: int, pps: float, seconds: float):
    return (_latency(traffic, driver, sessions, load, pps, seconds) for load in LOADS)


def _latency(
    traffic: Traffic, driver: str, sessions: int, load: int, pps: float, seconds: float
) -> Row:
    found = traffic.run(pps * load / 100, seconds)
    us, lost = found["us"], found["sent"] - found["received"]
    note = f"at {load} % of {pps / 1e6:.2f} Mpps: 90 % {us['90']:.0f}, 99 % {us['99']:.0f}, "
    note += f"99.9 % {us['99.9']:.0f}; {100 * max(0, lost) / max(1, found['sent']):.2f} % lost"
    return row(
        *(f"latency {load} %", driver, traffic.size, sessions),
        value=us["50"],
        unit="us, median",
        note=note,
        more={"load": load, "us": us, "lost": lost, "sent": found["sent"]},
    )


def _no_drops(dp: Datapath) -> None:
    found = {reason: n for reason, n in dp.drops().items() if reason != "TX_FAILED"}
    if found:
        raise RuntimeError(f"packets were dropped: {found}")
