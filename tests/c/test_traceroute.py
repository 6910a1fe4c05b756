"""Traceroute by UDP, ICMP and TCP, from a workload and from the Internet: every hop is there, and
says its own address about the packet as its sender knows it.

RFC 5508 REQ-4: "Revert the IP and transport headers of the embedded IP packet to their original
form, using the matching mapping"; REQ-5 says the same of the other direction. RFC 1812 section
4.3.2.4: the gateway names itself by an address that the sender can reach.
"""

import pytest
from scapy.layers.inet import ICMP

from tests.c.packets import answer, complaint, inside, one, ping, ports, tcp, udp
from tests.c.places import (
    APP,
    GATEWAY,
    NET,
    PLAIN,
    ROUTED,
    SERVER,
    TWIN,
    WEB,
    WHOLE,
    A,
    B,
    C,
    R,
)

ROUTER = "198.51.100.254"


def probe(kind: str, src: str, dst: str, ttl: int, port: int | None = None):
    if kind == "udp":
        packet = udp(src, dst, sport=40000, dport=port or 33434)
    elif kind == "tcp":
        packet = tcp("S", src, dst, sport=40000, dport=port or 80)
    else:
        packet = ping(src, dst, id_=77)
    packet.ttl = ttl
    return packet


def is_hop(seen, address: str, sent, kind=(11, 0)) -> None:
    """`address` said so, to the sender, about what the sender sent."""
    assert (seen.ip.src, seen.ip.dst) == (address, sent.src)
    assert (seen.ip[ICMP].type, seen.ip[ICMP].code) == kind
    quoted = inside(seen)
    assert (quoted.src, quoted.dst, *ports(quoted)) == (sent.src, sent.dst, *ports(sent))


KINDS = pytest.mark.parametrize("kind", ["udp", "tcp", "icmp"])


@KINDS
@pytest.mark.parametrize(
    "vm, gateway", [(A, WEB), (R, APP), (PLAIN, ROUTED)], ids=["snat", "reflexive", "routed"]
)
def test_from_a_workload(world, kind, vm, gateway):
    """RFC 5508 REQ-10, RFC 1812 section 4.3.2.4."""
    first = probe(kind, vm.address, NET, 1)
    is_hop(one(world.down(vm, first)), GATEWAY[gateway][0], first)
    second = probe(kind, vm.address, NET, 2)
    out = one(world.down(vm, second))
    assert out.ip.ttl == 1
    is_hop(one(world.up(complaint(out, ROUTER, 11, 0))), ROUTER, second)
    third = probe(kind, vm.address, NET, 3)
    out = one(world.down(vm, third))
    if kind == "udp":  # the end of the way
        is_hop(one(world.up(complaint(out, NET, 3, 3))), NET, third, (3, 3))
    else:
        assert one(world.up(answer(out))).ip.src == NET


DOORS = {
    "dnat udp": ("udp", SERVER.secondary, 7000, B),
    "dnat tcp": ("tcp", SERVER.secondary, 80, B),
    "whole address": ("icmp", WHOLE.secondary, None, C),
    "reflexive": ("udp", TWIN.secondary, None, R),
    "routed": ("udp", PLAIN.address, None, PLAIN),
}


@pytest.mark.parametrize("kind, public, port, vm", DOORS.values(), ids=DOORS)
def test_from_the_internet(world, kind, public, port, vm):
    """RFC 1812 section 4.3.2.4: the gateway is the public address itself: it has no other one that
    the Internet knows.
    """
    first = probe(kind, NET, public, 1, port)
    seen = one(world.up(first))
    is_hop(seen, public, first)
    assert seen.role == "uplink"
    second = probe(kind, NET, public, 2, port)
    got = one(world.up(second))
    assert (got.ip.dst, got.ip.ttl) == (vm.address, 1)
    is_hop(one(world.down(vm, complaint(got, vm.address, 3, 3))), public, second, (3, 3))


@KINDS
def test_to_a_neighbour_s_elastic_ip(world, kind):
    """Two hops of the gateway: as it would be by the Internet gateway and back."""
    callee, public, port = (C, WHOLE, None) if kind == "icmp" else (B, SERVER, 80)
    port = 7000 if kind == "udp" else port
    first = probe(kind, A.address, public.elastic, 1, port)
    is_hop(one(world.down(A, first)), GATEWAY[WEB][0], first)
    second = probe(kind, A.address, public.elastic, 2, port)
    is_hop(one(world.down(A, second)), public.elastic, second)
    third = probe(kind, A.address, public.elastic, 3, port)
    got = one(world.down(A, third))
    assert (got.ip.dst, got.ip.ttl) == (callee.address, 1)
    is_hop(one(world.down(callee, complaint(got, callee.address))), public.elastic, third, (3, 3))


@KINDS
def test_between_segments(world, kind):
    first = probe(kind, A.address, B.address, 1)
    is_hop(one(world.down(A, first)), GATEWAY[WEB][0], first)
