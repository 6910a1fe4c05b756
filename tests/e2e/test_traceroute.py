"""Debian's traceroute through the gateway, by UDP, ICMP and TCP: every hop is there, and the end.

It knows its probes by the ports or the identifier inside the errors; the addresses inside are read
here, as they arrive at the sender.
"""

import contextlib
import re
import socket

import pytest
from scapy.layers.inet import ICMP, IP, IPerror

from pcg.lab import ns
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET, UPLINK_ROUTER
from tests.waiting import wait_until

KINDS = pytest.mark.parametrize(
    "kind", [("-U",), ("-I",), ("-T", "-p", str(HTTP))], ids=["udp", "icmp", "tcp"]
)
HOP = ("198.51.100.1", "192.0.2.1")  # the router on the internet: towards it, towards the gateway


def trace(space: str, own: str, to: str, *options: str) -> list[str]:
    """Who answered, hop by hop, "*" is nobody. A hop that is silent is waited for 2 s."""
    with ns.inside(space):
        heard = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with heard:
        argv = ("traceroute", "-n", "-q", "1", "-w", "2", "-m", "6", *options, to)
        hops = re.findall(r"^ *\d+  (\S+)", ns.run(*argv, ns=space), re.MULTILINE)
        assert sorted(exceeded(heard)) == sorted((hop, own, to) for hop in hops[:-1])
    return hops


def exceeded(heard: socket.socket) -> list[tuple[str, str, str]]:
    """Of each "time exceeded" that came: who says so, and source and destination inside."""
    found = []
    heard.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while seen := IP(heard.recv(9000)):
            if seen[ICMP].type == 11:
                found.append((seen.src, seen[IPerror].src, seen[IPerror].dst))
    return found


def expired(lab: Lab) -> int:
    """Packets whose TTL ended at the gateway."""
    return lab.ask.drops().get("TTL_EXPIRED", 0)


@KINDS
def test_from_a_workload(lab: Lab, kind):
    """Its host routes nothing, hence the gateway is the first hop."""
    (own,) = lab.layout.port("legacy1").addresses
    gateway = lab.layout.segment("legacy").gateway
    seen = trace(lab.layout.workload_ns("legacy1"), own, INTERNET, *kind)
    assert seen == [gateway, UPLINK_ROUTER[0], HOP[1], INTERNET]


@KINDS
def test_from_the_internet(lab: Lab, kind):
    """To an Elastic IP. The Internet gateway, which translates its own errors too, the gateway,
    which has no other name outside, and the workload: all show as that."""
    elastic, _ = lab.layout.public("eip-app")
    before = expired(lab)
    seen = trace(lab.layout.ns("inet"), INTERNET, elastic, *kind)
    assert seen == [HOP[0], elastic, elastic, elastic]
    wait_until(lambda: expired(lab) == before + 1, "the gateway's hop")
