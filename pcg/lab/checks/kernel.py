"""Point 7: what is the host's stays with the kernel; what is not, it never answers for."""

import contextlib
import socket

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether

from pcg.lab import ns
from pcg.lab.capture import Capture
from pcg.lab.checks.check import check, equal, expect
from pcg.lab.clients import ping_once
from pcg.lab.frames import GENEVE_PORT, send
from pcg.lab.lab import Lab
from pcg.lab.layout import PCG_MACS, SSH, UPLINK_ROUTER
from pcg.lab.programs import until

UNREACHABLE = 3  # ICMP type
RESET = 0x04


@check(7, "ARP and ping of the uplink's and downlink's own addresses")
def own_addresses(lab: Lab) -> str:
    gateway = lab.layout.desired.gateway
    uplink = gateway.interfaces.uplink.addresses[0].split("/")[0]
    for part, device, address in (("igw", "vpc0", uplink), ("vpc", "br-a", gateway.tep)):
        ns.run("ip", "neigh", "flush", "dev", device, ns=lab.layout.ns(part))
        ping_once(lab.layout.ns(part), address)
    return f"{uplink} and {gateway.tep} answer"


@check(7, "SSH-like TCP to the management address")
def management(lab: Lab) -> str:
    address = lab.layout.desired.gateway.interfaces.management.addresses[0].split("/")[0]
    with ns.inside(lab.layout.ns("svc")):
        connected = socket.create_connection((address, SSH), timeout=3)
    with connected:
        greeting = connected.recv(100).decode().strip()
    equal("the greeting", greeting, "SSH-2.0-lab")
    return f"{address}:{SSH} greets"


@check(7, "ARP for a secondary address: one answer, the uplink's MAC")
def secondary_arp(lab: Lab) -> str:
    _, private = lab.layout.public("eip-t1")
    router, mac = UPLINK_ROUTER
    request = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=mac, psrc=router, pdst=private)
    with Capture(lab.layout.ns("igw"), "vpc0") as wire:
        send(lab.layout, bytes(request), space="igw", device="vpc0")
        with contextlib.suppress(TimeoutError):
            until("an answer", lambda: _arp_answers(wire, private), 2.0)
    equal("the answers", _arp_answers(wire, private), [PCG_MACS["up0"]])
    return f"{private} is at {PCG_MACS['up0']}"


def _arp_answers(wire: Capture, address: str) -> list[str]:
    frames = (Ether(frame) for _, frame in list(wire.frames))
    answers = (f[ARP] for f in frames if ARP in f and f[ARP].op == 2)
    return [a.hwsrc for a in answers if a.psrc == address]


@check(7, "the kernel never answers for what the datapath owns")
def kernel_is_silent(lab: Lab) -> str:
    layout = lab.layout
    with Capture(layout.ns("igw"), "vpc0") as up, Capture(layout.ns("vpc"), "pcg") as down:
        tried = provoke_uplink(lab) + provoke_downlink(lab)
        ping_once(layout.ns("igw"), UPLINK_ROUTER[0], count=5)  # time for an answer to come
    ours = set(PCG_MACS.values())
    frames = [Ether(f) for _, f in up.frames + down.frames]
    bad = [f.summary() for f in frames if f.src in ours and is_refusal(f)]
    expect(not bad, f"it said {bad}")
    return f"{tried} provocations, no ICMP unreachable, no RST"


def is_refusal(frame: Ether) -> bool:
    """An ICMP unreachable or a TCP reset, outside of any tunnel."""
    if ICMP in frame:
        return frame[ICMP].type == UNREACHABLE
    return TCP in frame and bool(frame[TCP].flags & RESET)


def provoke_uplink(lab: Lab) -> int:
    """Closed ports of secondary addresses, and of a routed segment. Not of an address that is a
    workload's own: there the workload answers, rightly."""
    router, mac = UPLINK_ROUTER
    targets = [lab.layout.public(p)[1] for p in ("eip-t1", "eip-web", "eip-spare", "eip-t2")]
    targets.append("192.168.100.77")  # no workload has it
    frames = [
        Ether(src=mac, dst=PCG_MACS["up0"]) / IP(src=router, dst=target) / l4
        for target in targets
        for l4 in (TCP(sport=1025, dport=9, flags="S"), UDP(sport=1025, dport=9) / b"?")
    ]
    for frame in frames:
        send(lab.layout, bytes(frame), space="igw", device="vpc0")
    return len(frames)


def provoke_downlink(lab: Lab) -> int:
    """The tunnel port, from a TEP and from a stranger, with and without sense."""
    frames = [
        Ether(dst=PCG_MACS["down0"])
        / IP(src=source, dst=lab.desired.gateway.tep)
        / UDP(sport=40000, dport=GENEVE_PORT)
        / payload
        for source in (lab.layout.probe_tep(), "10.99.2.66")
        for payload in (b"", b"\0" * 8, b"\xff" * 64)
    ]
    for frame in frames:
        send(lab.layout, bytes(frame))
    return len(frames)
