"""PCG and Open vSwitch with DPDK on the same packets in memory: no veth, no kernel, one core.

    PCG            bench.c's buffers                   -> path -> mem port
    Open vSwitch   net_pcap, a file over and over      -> PMD  -> net_null

Sessions are made first and, outwards, answered once; then every packet is of any of them. Only time
on the CPU counts, so that who else wants the core is in neither figure. What Open vSwitch's source
and sink cost is measured too, with a flow that drops everything, and taken off its figure: that is
more than they cost, since a dropped packet has been classified.
"""

import contextlib
import ctypes
import random
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import frames, path, switch, world
from bench.frames import Macs
from bench.path import Shape
from bench.rows import OURS
from bench.switch import DOWN, UP, Dpdk
from bench.veth import PLACE
from pcg.lab.programs import until

MACS = Macs(bytes.fromhex("020000000a01"), bytes.fromhex("020000000a02"), world.GATEWAY_MAC)
SHUFFLED = 131_072  # frames of the file; each takes a buffer while it is in use
SESSIONS_MAX = 100_000  # more would not be met by so many frames
WINDOW_S = 0.2
DROPPING = 4  # windows
LEARNING_NS = 20 * 10**9  # on the CPU, at most
PORTS = {"north": ("br-phy", DOWN), "south": ("br-int", UP)}  # where each way comes in
BACK = {"north": "south", "south": "north"}
LEAST_OUT = 0.98  # of what came in; counters of two ports are not read at once
PR_SET_THP_DISABLE = 41  # linux/prctl.h
PROTOCOL = 16  # where it lies in a flow


@dataclass(frozen=True)
class Turn:
    """Nanoseconds of CPU a packet, of each pass; `ghz` where the gateway's own clock says it."""

    ns: list[float]
    floor: float = 0.0  # what is not the gateway's: source and sink, or touching the frames
    new: float = 0.0  # of a new session; 0: too few to tell
    ghz: float = 0.0


def flows(way: str, sessions: int) -> bytes:
    """UDP all of them: the frames of the other gateway are."""
    array = bytearray(world.array(getattr(PLACE, way)(sessions)))
    array[PROTOCOL :: world.FLOW.size] = bytes([world.UDP]) * sessions
    return bytes(array)


# ---- ours ----


class Pcg:
    """`huge`: tables and buffers on huge pages, as it is run; without, as Open vSwitch is here."""

    def __init__(self, huge: bool) -> None:
        self.system, self.huge = OURS, huge
        self.driver = "mem" if huge else "mem, 4 KiB pages"

    def turn(self, way: str, sessions: int, passes: int) -> Turn:
        shape = Shape(passes + path.WARM_PASSES)
        with pages(self.huge), path.opened(PLACE, sessions) as dp:
            array = flows(way, sessions)
            new = path.whole(path.make_sessions(dp, array, shape)).ns
            floor = dp.bench(shape.fields() | {"work": path.FLOOR_OF[way], "keeper": 0}, array)[0]
            found = dp.bench(shape.fields(), array)[0][path.WARM_PASSES :]
            path.quiet(dp, way)
        ghz = sum(one.cycles for one in found) / sum(one.ns for one in found)
        return Turn([one.ns for one in found], min(one.ns for one in floor), new, ghz)


@contextlib.contextmanager
def pages(huge: bool) -> Iterator[None]:
    """What is touched first meanwhile may lie on huge pages, or not."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_THP_DISABLE, int(not huge), 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)


# ---- theirs ----


class Switch(Dpdk):
    driver = "dpdk net_pcap"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.files, self.made = folder, 0

    def turn(self, way: str, sessions: int, passes: int) -> Turn:
        if sessions > SESSIONS_MAX:
            raise RuntimeError(f"net_pcap holds each frame in a buffer: {SHUFFLED:,} at most")
        sent = list(made(flows(way, sessions), self.tunnel))
        with self.switching(MACS.downlink, MACS.uplink):
            self.prefer()
            new = self._learn(way, sent)
            rng = random.Random(1)
            with self.fed(way, (rng.choice(sent) for _ in range(SHUFFLED))):
                return Turn(self._forwarded(way, passes), self._dropped(way), new)

    def _learn(self, way: str, sent: list[bytes]) -> float:
        """Each session by its frames in order, then its answers, as long as it takes. Returns
        nanoseconds on the CPU of a new session.
        """
        seen: list[tuple[int, int]] = []  # sessions, nanoseconds
        with self.fed(way, sent):
            task = self._polling()
            while not seen or seen[-1][0] < len(sent):
                found = until("Open vSwitch's sessions", self.sessions, every_s=0.005)
                seen.append((found, on_cpu_ns(task)))
                if seen[-1][1] - seen[0][1] > LEARNING_NS:
                    raise RuntimeError(f"{found:,} of {len(sent):,} sessions were made")
            answers = list(self.answers())
        if way == "north":  # a session inwards is answered to nobody here, as over the veths
            with self.fed("south", answers):
                first = self.packets()
                until("answers", lambda: self.packets() >= first + 2 * len(answers))
        return of_one(seen, len(sent))

    def _forwarded(self, way: str, passes: int) -> list[float]:
        """Every frame that came in has gone out, or something else was measured."""
        self.windows(2)  # warm
        before = self.port_counts(way)
        found = self.windows(passes)
        came, went = (b - a for a, b in zip(before, self.port_counts(way), strict=True))
        if went < LEAST_OUT * came:
            raise RuntimeError(f"{way}: of {came:,} frames {went:,} were forwarded")
        return found

    def _dropped(self, way: str) -> float:
        """What a packet costs that is received and thrown away; none may be forwarded meanwhile."""
        bridge, number = PORTS[way]
        self.ofctl("add-flow", bridge, f"priority=65535,in_port={number},actions=drop")
        self.appctl("revalidator/wait")  # until then the polling thread goes by what it knew
        before = self.port_counts(way)[1]
        found = min(self.windows(DROPPING))
        if (after := self.port_counts(way)[1]) != before:
            raise RuntimeError(f"{way}: {after - before:,} frames went on that were to be dropped")
        return found

    # ---- its ports ----

    @contextlib.contextmanager
    def fed(self, way: str, frames_in: Iterable[bytes], sink: str = "") -> Iterator[None]:
        """Frames of a file come in by one port, over and over; what goes out by the other one is
        thrown away, or lies in the file `sink`.
        """
        self.made += 2
        file = self.files / "frames.pcap"
        file.write_bytes(frames.as_pcap(frames_in))
        source = f"net_pcap{self.made},rx_pcap={file},infinite_rx=1"
        # net_null also makes packets, unless told
        out = f"net_pcap{self.made + 1},tx_pcap={sink}" if sink else f"net_null{self.made},no-rx=1"
        try:
            for name, where, args in (("out", BACK[way], out), ("in", way, source)):
                bridge, number = PORTS[where]
                device = ("type=dpdk", f"options:dpdk-devargs={args}")
                self.vsctl(*switch.add_port(bridge, name, number, *device)[1:])
                if (wrong := self.vsctl("get", "interface", name, "error").strip()) != "[]":
                    raise RuntimeError(f"{args}: {wrong}")
            yield
        finally:
            for name in ("in", "out"):
                self.vsctl("--if-exists", "del-port", name)

    def port_counts(self, way: str) -> tuple[int, int]:
        """Packets that came in, and that went out."""
        (bridge, number), (other, out) = PORTS[way], PORTS[BACK[way]]
        came = self.ofctl("dump-ports", bridge, str(number))
        went = self.ofctl("dump-ports", other, str(out))
        return counted(r"rx pkts=(\d+)", came), counted(r"tx pkts=(\d+)", went)

    # ---- what it says of itself ----

    def sessions(self) -> int:
        return counted(r"Total: (\d+)", self.appctl("dpctl/ct-stats-show"))

    def packets(self) -> int:
        core = str(switch.machine.cores()[0])
        return counted(
            r"packets received: (\d+)", self.appctl("dpif-netdev/pmd-stats-show", "-pmd", core)
        )

    def answers(self) -> Iterator[bytes]:
        for reply in REPLY.finditer(self.appctl("dpctl/dump-conntrack")):
            source, destination, sport, dport = reply.groups()
            ends = packed(source), packed(destination)
            packet = frames.udp(*ends, int(sport), int(dport), bytes(36))
            yield frames.ethernet(MACS.uplink, MACS.source, packet)

    def windows(self, n: int) -> list[float]:
        """Nanoseconds on the CPU a packet, in so many stretches of time."""
        found, task = [], self._polling()
        before = self.packets(), on_cpu_ns(task)
        for _ in range(n):
            time.sleep(WINDOW_S)
            now = self.packets(), on_cpu_ns(task)
            found.append((now[1] - before[1]) / max(1, now[0] - before[0]))
            before = now
        return found

    def _polling(self) -> Path:
        for task in Path(f"/proc/{self.pid()}/task").iterdir():
            if (task / "comm").read_text().startswith("pmd"):
                return task
        raise RuntimeError("Open vSwitch polls nothing")


REPLY = re.compile(r"reply=\(src=([\d.]+),dst=([\d.]+),sport=(\d+),dport=(\d+)\)")


def made(array: bytes, tunnel: frames.Tunnel) -> Iterator[bytes]:
    """The frames of flows: 64 bytes from the inner IP header on."""
    yield from frames.frames(world.FLOW.iter_unpack(array), (64,), MACS, tunnel)


def of_one(seen: list[tuple[int, int]], n: int) -> float:
    """From counts and times while there were a tenth of `n` and not all yet; 0: seen too seldom.

    >>> of_one([(0, 0), (20, 100), (60, 900), (100, 5000), (100, 9000)], 100)
    20.0
    """
    between = [sample for sample in seen if n / 10 <= sample[0] < n]
    if len(between) < 2 or between[-1][0] == between[0][0]:
        return 0.0
    return (between[-1][1] - between[0][1]) / (between[-1][0] - between[0][0])


def packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


def counted(pattern: str, text: str) -> int:
    """
    >>> counted(r"rx pkts=(\\d+)", "port 1: rx pkts=17, bytes=3")
    17
    >>> counted(r"Total: (\\d+)", "nothing yet")
    0
    """
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def on_cpu_ns(task: Path) -> int:
    return int((task / "schedstat").read_text().split()[0])
