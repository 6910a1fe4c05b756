"""Round trip: echo requests written to a wire by hand and read from it, 100 a second.

Once over the same veths routed by the kernel, and in Geneve through each gateway. One instrument
for all, since Open vSwitch's own polling (about 1 ms) on the way would hide what is measured.
"""

import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether

from pcg.lab import ns
from pcg.lab.capture import ETH_P_ALL
from pcg.lab.clients import ping_once
from pcg.lab.figures.gateways import Gateway
from pcg.lab.frames import Tunnelled
from pcg.lab.lab import Lab
from pcg.lab.layout import INTERNET, PCG_MACS, STRANGER, UPLINK_ROUTER

ECHOES = 450
UNCOUNTED = 50  # before these: they resolve neighbours
INTERVAL_S = 0.01
LOST_S = 0.5
LOST_MAX = 20


@dataclass(frozen=True)
class Rtt:
    """Of the echoes that came back, ms."""

    path: str
    median: float
    high: float  # nine of ten are below
    echoes: int
    lost: int


def _measure(path: str, lab: Lab, request: Callable[[bytes], bytes]) -> Rtt:
    """`request` makes a frame around a payload. RuntimeError when hardly anything comes back."""
    found, lost = [], 0
    with ns.inside(lab.layout.ns("probe")), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", ETH_P_ALL))
        raw.setblocking(False)
        for number in range(-UNCOUNTED, ECHOES):
            payload = b"pcg-rtt-%05d" % (number + UNCOUNTED)
            frame, begun = request(payload), time.monotonic()
            sent = time.perf_counter_ns()
            raw.send(frame)
            back = _came_back(raw, payload, sent)
            took = (time.perf_counter_ns() - sent) / 1e6
            if number >= 0:
                found += [took] if back else []
                lost += not back
            if lost > LOST_MAX:
                raise RuntimeError(f"round trip, {path}: {lost} of {number + 1} echoes lost")
            time.sleep(max(0.0, begun + INTERVAL_S - time.monotonic()))
    high = statistics.quantiles(found, n=10)[-1]
    return Rtt(path, statistics.median(found), high, len(found), lost)


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


def routed_by_kernel(lab: Lab) -> Rtt:
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
        return _measure(
            "kernel routing", lab, lambda payload: bytes(ether / ip / ICMP(id=1) / payload)
        )
    finally:
        with ns.inside(pcg):
            ns.sysctl("net/ipv4/ip_forward", 0)
        ns.ip(f"route del {back}", igw)
        for device, address in ends:
            ns.ip(f"addr del {address} dev {device}", pcg)


def through(lab: Lab, gateway: Gateway) -> Rtt:
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
    return _measure(gateway.name, lab, request)
