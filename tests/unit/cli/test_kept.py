"""kept.py: what a frame says that ended before anybody had read it."""

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from pcg.cli.kept import Headers, headers

US, THEM, HOST = "06:00:00:00:00:01", "06:00:00:00:00:02", "06:00:00:00:00:03"
ETHER = Ether(dst=US, src=THEM)
PAIR = IP(src="10.0.0.1", dst="10.0.0.2")
INNER = Ether(dst=US, src=HOST)
OPTION = GeneveOptions(classid=0x0104, type=0x80, length=1, data=bytes(4))


def tunnel(inner, options=()):
    outer = IP(src="10.9.0.5", dst="10.9.0.1") / UDP(sport=50000, dport=6081)
    return ETHER / outer / GENEVE(vni=7, proto=0x6558, options=options) / inner


FRAMES = [
    (
        "udp",
        ETHER / PAIR / UDP(sport=7, dport=9),
        Headers("udp", "10.0.0.1", "10.0.0.2", THEM, 7, 9),
    ),
    (
        "options",
        ETHER / IP(src="1.2.3.4", dst="10.0.0.2", options=b"\1" * 8) / TCP(sport=7, dport=80),
        Headers("tcp", "1.2.3.4", "10.0.0.2", THEM, 7, 80),
    ),
    ("no ports", ETHER / PAIR / ICMP(), Headers("icmp", "10.0.0.1", "10.0.0.2", THEM)),
    (
        "a later fragment",
        ETHER / IP(src="1.1.1.1", dst="2.2.2.2", frag=9, proto=17) / Raw(b"\0\7\0\7"),
        Headers("udp", "1.1.1.1", "2.2.2.2", THEM),
    ),
    (
        "a protocol without name",
        ETHER / IP(src="1.1.1.1", dst="2.2.2.2", proto=99),
        Headers("IP 99", "1.1.1.1", "2.2.2.2", THEM),
    ),
    (
        "ipv6",
        ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=7, dport=9),
        Headers("udp", "2001:db8::1", "2001:db8::2", THEM, 7, 9),
    ),
    (
        "icmpv6",
        ETHER / IPv6(src="fe80::1", dst="fe80::2") / ICMPv6EchoRequest(),
        Headers("icmpv6", "fe80::1", "fe80::2", THEM),
    ),
    (
        "arp",
        ETHER / ARP(hwsrc=HOST, psrc="10.0.0.7", pdst="10.0.0.8"),
        Headers("arp", "10.0.0.7", "10.0.0.8", HOST),
    ),
    ("vlan", ETHER / Dot1Q(vlan=5) / PAIR, Headers("vlan", THEM, US, THEM)),
    (
        "an unknown EtherType",
        Ether(dst=US, src=THEM, type=0x88B5),
        Headers("EtherType 0x88b5", THEM, US, THEM),
    ),
    (
        "in a tunnel",
        tunnel(INNER / PAIR / UDP(sport=7, dport=9), [OPTION]),
        Headers("udp", "10.0.0.1", "10.0.0.2", HOST, 7, 9, "10.9.0.5"),
    ),
    (
        "arp in a tunnel",
        tunnel(INNER / ARP(hwsrc=HOST, psrc="10.0.0.7", pdst="10.0.0.8")),
        Headers("arp", "10.0.0.7", "10.0.0.8", HOST, tep="10.9.0.5"),
    ),
    (
        "a tunnel and nothing",
        tunnel(Raw(b"")),
        Headers("udp", "10.9.0.5", "10.9.0.1", THEM, 50000, 6081),
    ),
]


@pytest.mark.parametrize("frame, wanted", [f[1:] for f in FRAMES], ids=[f[0] for f in FRAMES])
def test_told(frame, wanted):
    assert headers(bytes(frame)) == wanted


def test_cut_anywhere_it_says_less_and_never_fails():
    whole = bytes(tunnel(INNER / PAIR / UDP(sport=7, dport=9), [OPTION]))
    said = [headers(whole[:cut]) for cut in range(len(whole) + 1)]
    assert said[:14] == [None] * 14
    assert {t.protocol for t in said[14:]} == {"EtherType 0x0800", "udp"}
    assert said[-1].tep == "10.9.0.5"


def test_a_header_that_claims_another_version_is_not_believed():
    frame = bytearray(bytes(ETHER / PAIR / UDP()))
    frame[14] = 0x65
    assert headers(bytes(frame)) == Headers("EtherType 0x0800", THEM, US, THEM)
