"""`make figures`: what the gateway costs, in the lab. No test: a loaded machine says otherwise.

Round trip: echo requests written to a wire by hand and read from it, 100 a second; once over the
same veths routed by the kernel, before PCG starts, and once in Geneve through PCG. One instrument
for both, since Open vSwitch's own polling (about 1 ms) would hide what is measured.

Throughput: iperf3 between a workload behind Open vSwitch and the internet host, with the CPU time
of the datapath process beside it.
"""

import json
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether

from pcg.lab import ns
from pcg.lab.capture import ETH_P_ALL
from pcg.lab.clients import ping_once
from pcg.lab.frames import Tunnelled
from pcg.lab.lab import Lab
from pcg.lab.layout import INTERNET, INTERNET_MTU, PCG_MACS, STRANGER, UNDERLAY_MTU, UPLINK_ROUTER

ECHOES = 500
INTERVAL_S = 0.01
LOST_S = 0.5
TRANSFER_S = 8
TICKS = os.sysconf("SC_CLK_TCK")


def run(prefix: str) -> int:
    console, lab = Console(width=100, highlight=False), Lab(prefix)
    try:
        lab.up()
        plain = _routed_by_kernel(lab)
        lab.start_programs()
        through = _through_gateway(lab)
        _print_rtt(console, plain, through)
        mtus = (INTERNET_MTU, UNDERLAY_MTU)
        _print_tcp(console, [tcp for mtu in mtus for tcp in _both(lab, mtu)])
    finally:
        lab.down()
    return 0


# ---- round trip ----


def _round_trips(lab: Lab, request: Callable[[bytes], bytes]) -> list[float]:
    """Milliseconds until each echo came back; `request` makes a frame around a payload."""
    found = []
    with ns.inside(lab.layout.ns("probe")), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", ETH_P_ALL))
        raw.setblocking(False)
        for number in range(ECHOES):
            payload = b"pcg-rtt-%05d" % number
            frame, begun = request(payload), time.monotonic()
            sent = time.perf_counter_ns()
            raw.send(frame)
            if _came_back(raw, payload, sent):
                found.append((time.perf_counter_ns() - sent) / 1e6)
            time.sleep(max(0.0, begun + INTERVAL_S - time.monotonic()))
    return found[ECHOES // 10 :]  # the first ones resolve neighbours


def _came_back(raw: socket.socket, payload: bytes, sent: int) -> bool:
    """Polled without sleeping, so that the wake-up of this process is not in the figure."""
    from_pcg = bytes.fromhex(PCG_MACS["down0"].replace(":", ""))
    while time.perf_counter_ns() - sent < LOST_S * 1e9:
        try:
            frame = raw.recv(2048)
        except BlockingIOError:
            continue
        if frame[6:12] == from_pcg and payload in frame:
            return True
    return False


def _routed_by_kernel(lab: Lab) -> list[float]:
    """PCG's namespace as a plain router for a moment."""
    layout, gateway = lab.layout, lab.layout.desired.gateway
    uplink, downlink = gateway.interfaces.uplink, gateway.interfaces.downlink
    pcg, igw = layout.ns("pcg"), layout.ns("igw")
    ends = ((uplink.name, uplink.addresses[0]), (downlink.name, downlink.addresses[0]))
    back = f"{layout.probe_tep()}/32"
    for device, address in ends:
        ns.ip(f"addr add {address} dev {device}", pcg)
        ns.no_offloads(pcg, device)
    ns.ip(f"route add {back} via {uplink.addresses[0].split('/')[0]}", igw)
    with ns.inside(pcg):
        ns.sysctl("net/ipv4/ip_forward", 1)
    ip = IP(src=layout.probe_tep(), dst=UPLINK_ROUTER[0])
    ether = Ether(src=STRANGER[1], dst=PCG_MACS["down0"])
    try:
        return _round_trips(lab, lambda payload: bytes(ether / ip / ICMP(id=1) / payload))
    finally:
        with ns.inside(pcg):
            ns.sysctl("net/ipv4/ip_forward", 0)
        ns.ip(f"route del {back}", igw)
        for device, address in ends:
            ns.ip(f"addr del {address} dev {device}", pcg)


def _through_gateway(lab: Lab) -> list[float]:
    """Geneve in, SNAT, the VPC's router answers, and back."""
    port = lab.layout.port("probe-web")
    segment = lab.layout.segment(port.segment)

    def request(payload: bytes) -> bytes:
        return Tunnelled(
            tep=port.tep,
            vni=segment.vni,
            source=port.addresses[0],
            source_mac=port.mac,
            destination=UPLINK_ROUTER[0],
            destination_mac=segment.gateway_mac,
            payload=payload,
        ).frame(lab.layout)

    ping_once(lab.layout.workload_ns("web1"), INTERNET)
    return _round_trips(lab, request)


def _print_rtt(console: Console, plain: list[float], through: list[float]) -> None:
    table = Table(title="round trip at 100 packets/s, ms")
    for title in ("path", "median", "90 %", "echoes"):
        table.add_column(title)
    for name, found in (("kernel routing", plain), ("through PCG", through)):
        high = statistics.quantiles(found, n=10)[-1]
        table.add_row(name, f"{statistics.median(found):.3f}", f"{high:.3f}", str(len(found)))
    added = statistics.median(through) - statistics.median(plain)
    table.add_row("added", f"{added:.3f}", "", "")
    console.print(table)


# ---- throughput ----


@dataclass(frozen=True)
class Tcp:
    mtu: int
    way: str
    gbit_s: float
    core_s_per_gbit: float
    cores: float


def _both(lab: Lab, mtu: int) -> list[Tcp]:
    """Upload and download of web1 with the internet's hop at that MTU."""
    for part, device in (("hop", "igw0"), ("igw", "inet0")):
        ns.ip(f"link set {device} mtu {mtu}", lab.layout.ns(part))
    for part in ("inet", "h1-nsx-root"):
        ns.run("ip", "route", "flush", "cache", ns=lab.layout.ns(part))
    return [_tcp(lab, mtu, way) for way in ("upload", "download")]


def _tcp(lab: Lab, mtu: int, way: str) -> Tcp:
    server = ["ip", "netns", "exec", lab.layout.ns("inet"), "iperf3", "-s", "-1"]
    with subprocess.Popen(server, stdout=subprocess.DEVNULL) as process:
        time.sleep(0.5)
        pid = lab.programs.pid("datapath")
        before = _cpu_s(pid)
        argv = ("iperf3", "-J", "-c", INTERNET, "-t", str(TRANSFER_S))
        reverse = ("-R",) if way == "download" else ()
        out = ns.run(*argv, *reverse, ns=lab.layout.workload_ns("web1"))
        used = _cpu_s(pid) - before
        process.wait(5)
    got = json.loads(out)["end"]["sum_received"]
    gbit = got["bytes"] * 8 / 1e9
    return Tcp(mtu, way, got["bits_per_second"] / 1e9, used / gbit, used / got["seconds"])


def _cpu_s(pid: int) -> float:
    """User and system seconds of a process, all its threads."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _print_tcp(console: Console, found: list[Tcp]) -> None:
    table = Table(title="TCP through the gateway")
    for title in ("MTU", "way", "Gbit/s", "core-s per Gbit", "cores"):
        table.add_column(title)
    for t in found:
        shown = (f"{t.gbit_s:.2f}", f"{t.core_s_per_gbit:.2f}", f"{t.cores:.2f}")
        table.add_row(str(t.mtu), t.way, *shown)
    console.print(table)
