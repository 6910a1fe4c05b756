"""The odd cases, as frames that come in. What must come out, the slow twin says (__main__.py).

Everything is built by scapy or was captured; the world is that of tests/c/places.py, with one port
for each rule that draws ports, so that what is drawn is known.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import rdpcap

from tests.c import wire
from tests.c.packets import gre, ping, tcp, udp
from tests.c.places import (
    DOWN_MAC,
    FEW,
    LONE,
    LOST,
    NET,
    OTHER_NET,
    PLAIN,
    POOL_A,
    RED,
    SERVER,
    TEP,
    TEP2,
    THIN,
    TINY,
    TRANSIT,
    TWIN,
    VMS,
    WHOLE,
    A,
    B,
    C,
    R,
)
from tests.c.wire import OPTION
from tests.c.world import SNAT, Policy, nat, over, source
from tests.oracle.checksum import ones_sum
from tests.oracle.fragments import cut

CAPTURES = Path(__file__).parents[1] / "c" / "captures"
ROUTER = "198.51.100.254"
PORT = 40000  # what `snat` draws
UP, DOWN = "uplink", "downlink"


class Frame(NamedTuple):
    role: str
    data: bytes
    at_s: int = 0


def policy() -> Policy:
    rules = Policy()
    rules.nat["tiny"] = nat(7, SNAT, source(TINY.address, 32), FEW, ports=(2000, 2000))
    rules.nat["tiny"] = rules.nat["tiny"]._replace(overflow=1)
    rules.nat["snat"] = nat(9, SNAT, source("192.168.0.0", 16), POOL_A, ports=(PORT, PORT))
    return rules


def down(vm, packet, at_s: int = 0, **given) -> Frame:
    return Frame(DOWN, over(vm, packet, **given), at_s)


def up(packet, at_s: int = 0, **eth) -> Frame:
    return Frame(UP, wire.plain(packet, **eth), at_s)


def seen(packet, src: str, sport: int | None = None, ttl: int = 63) -> IP:
    """An uplink's view of what a workload sent: what routers and peers quote and answer."""
    copy = IP(bytes(packet))
    copy.src, copy.ttl = src, ttl
    del copy.chksum
    if UDP in copy or TCP in copy:
        del copy.payload.chksum
        copy.payload.sport = sport or copy.payload.sport
    elif ICMP in copy:
        del copy[ICMP].chksum
        copy[ICMP].id = sport or copy[ICMP].id
    return IP(bytes(copy))


def error(about: IP, src: str = ROUTER, kind: int = 3, code: int = 1, quote: int | None = None,
          **icmp) -> IP:  # fmt: skip
    head = IP(src=src, dst=about.src) / ICMP(type=kind, code=code, **icmp)
    return head / Raw(bytes(about)[:quote])


def hairpin() -> list[Frame]:
    """TCP by a door that changes the port, and back; UDP, an error about it, the last hop; ping."""
    asked = udp(dst=SERVER.elastic, dport=7003)
    there = udp(POOL_A.elastic, B.address, sport=PORT, dport=9003, ttl=62)
    return [
        down(A, tcp("S", dst=SERVER.elastic)),
        down(B, tcp("SA", B.address, POOL_A.elastic, sport=8080, dport=PORT)),
        down(A, tcp("A", dst=SERVER.elastic)),
        down(B, tcp("PA", B.address, POOL_A.elastic, sport=8080, dport=PORT) / b"hello"),
        down(A, asked),
        down(B, error(there, B.address, 3, 3)),
        down(A, udp(dst=SERVER.elastic, dport=7003, ttl=2)),
        down(A, udp(dst=SERVER.elastic, dport=9)),
        down(R, ping(R.address, WHOLE.elastic)),
        down(C, ping(C.address, TWIN.elastic, kind=0)),
    ]


def errors_inwards() -> list[Frame]:
    """About UDP, TCP and ping that left; quoted in full and in 8 bytes of transport header."""
    frames = []
    for packet in (udp(data=b"x" * 600), tcp("S"), ping()):
        out = seen(packet, POOL_A.secondary, PORT)
        frames += [down(A, packet), up(error(out)), up(error(out, quote=28))]
        frames += [up(error(out, kind=11, code=0)), up(error(out, code=4, nexthopmtu=1400))]
    out = seen(udp(), POOL_A.secondary, PORT)
    wrong = error(out)
    wrong[ICMP].chksum = 1
    other = error(seen(udp(dst=OTHER_NET), POOL_A.secondary, PORT))
    return [*frames, up(wrong), up(other), up(extended(out))]


def extended(about: IP) -> IP:
    """RFC 4884: 128 bytes of quote, then an MPLS label stack entry."""
    stack = struct.pack("!HBBI", 8, 1, 1, 0x00010140)
    sum_ = 0xFFFF ^ ones_sum(b"\x20\0\0\0" + stack)
    body = bytes(about).ljust(128, b"\0") + b"\x20\0" + struct.pack("!H", sum_) + stack
    head = struct.pack("!BBHI", 11, 0, 0, 32 << 16)
    head = head[:2] + struct.pack("!H", 0xFFFF ^ ones_sum(head + body)) + head[4:]
    return IP(src=ROUTER, dst=about.src, proto=1) / Raw(head + body)


def errors_outwards() -> list[Frame]:
    """By the workload, by another one of its host, by who may not."""
    got = IP(bytes(udp(NET, B.address, dport=9000, ttl=63)))
    return [
        up(udp(NET, SERVER.secondary, dport=7000)),
        down(B, error(got, B.address, 3, 3)),
        down(B, error(got, R.address, 11, 0)),
        down(A, error(got, A.address, 3, 3)),
        down(B, error(got, B.address, 3, 4, nexthopmtu=1300, quote=28)),
    ]


def errors_made() -> list[Frame]:
    """TTL, too big, rejected, without a port; a reset; no way; and what is never answered."""
    wide = tcp("S", NET, SERVER.secondary, dport=80) / bytes(8960)
    wide.flags = "DF"
    return [
        down(A, udp(ttl=1)),
        up(udp(NET, SERVER.secondary, dport=7000, ttl=1)),
        down(A, udp(flags="DF", data=bytes(1473))),
        up(wide),
        down(A, udp(dst=THIN.address, flags="DF", data=bytes(1423))),
        down(A, udp(dst="198.51.100.67")),
        down(A, udp(dst="198.51.100.66")),
        up(udp("198.51.100.68", SERVER.secondary, dport=7000)),
        down(A, udp(sport=1)),
        down(C, udp(C.address, sport=2)),
        down(A, tcp("A", seq=5, ack=77)),
        down(A, tcp("F", seq=5)),
        down(A, tcp("R")),
        up(tcp("A", NET, SERVER.secondary, dport=80)),
        down(A, udp(dst="224.0.0.1", ttl=1)),
        down(A, gre()),
        down(RED, udp(RED.address, "192.0.2.1")),
        down(A, udp(dst="192.168.100.200")),
        down(A, udp(dst="192.168.100.99")),
        down(A, udp(dst="192.168.100.255")),
        down(A, udp(dst=LOST.address)),
        down(A, udp(dst="100.127.1.1")),
        down(LONE, udp(LONE.address)),
        up(udp(NET, "198.18.7.99")),
    ]


def pieces(packet, longest: int, **given) -> list[bytes]:
    return cut(bytes(packet), longest, **given)


def fragments_inside() -> list[Frame]:
    """In order, backwards, doubled, overlapping, one that never comes; each datagram of its own."""
    raw = {"inner": {"type": 0x0800}}
    one, two, three, four = (
        pieces(udp(dst=B.address, data=bytes([n]) * 3000, id=n), 1020) for n in (1, 2, 3, 4)
    )
    frames = [down(A, p, **raw) for p in [*one, *two[::-1]]]
    frames += [down(A, p, **raw) for p in (three[0], three[0], *three[1:])]
    overlap = pieces(udp(dst=B.address, data=b"\xff" * 3000, id=4), 1028)[1]
    frames += [down(A, p, **raw) for p in (four[0], overlap, four[2])]
    five = pieces(udp(dst=B.address, data=bytes(3000), id=5), 1020)
    frames += [down(A, five[0], **raw)]
    frames += [down(A, five[1], at_s=15, **raw), down(A, udp(dst=B.address), at_s=31)]
    return frames


def fragments_of_the_tunnel() -> list[Frame]:
    whole = over(A, udp(dst=B.address, data=bytes(range(250)) * 8), outer={"flags": 0, "id": 9})
    parts = [whole[:14] + p for p in cut(whole[14:], 700)]
    return [Frame(DOWN, part) for part in [*parts[1:], parts[0]]]


def fragments_of_the_uplink() -> list[Frame]:
    """From the Internet in pieces of 1500; what a tunnel cannot carry is cut inside it."""
    packet = udp(NET, SERVER.secondary, dport=7001, data=bytes(range(250)) * 32, id=7)
    frames = [up(p, type=0x0800) for p in pieces(packet, 1500)[::-1]]
    again = udp(NET, SERVER.secondary, dport=7001, data=bytes(3000), id=8)
    return frames + [up(p, type=0x0800) for p in pieces(again, 1004, df=True)]


def cut_here() -> list[Frame]:
    """Too wide for the uplink, or for a narrow tunnel, and without DF."""
    return [
        down(A, udp(data=bytes(range(250)) * 12, id=4711, tos=0xB8)),
        down(A, udp(dst=THIN.address, data=bytes(3000), id=4711)),
        down(A, udp(data=bytes(1472))),
        down(A, udp(data=bytes(1473))),
    ]


def ecn() -> list[Frame]:
    """RFC 6040 figure 4: inner by outer; and DSCP, which only the inner one has a say in."""
    return [
        down(A, udp(dst=B.address, tos=0xB8 | inner), outer={"tos": 0x20 | outer})
        for inner in range(4)
        for outer in range(4)
    ]


def options() -> list[Frame]:
    """Of the underlay they are passed over; inside and on the uplink no packet has any."""
    record_route = [b"\x07\x07\x04\0\0\0\0\0"]
    return [
        down(A, udp(dst=B.address), outer={"options": [b"\x94\x04\0\0"]}),
        down(A, udp(dst=B.address, options=record_route)),
        up(udp(NET, SERVER.secondary, dport=7000, options=record_route)),
    ]


def checksums() -> list[Frame]:
    """Of every header; a transport's own is carried as it is, wrong ones wrong."""
    zero, wrong, tcp_wrong = udp(), udp(), tcp("S")
    zero[UDP].chksum, wrong[UDP].chksum, tcp_wrong[TCP].chksum = 0, 0x1234, 0x1234
    comes_out_zero = udp(C.address, data=b"\0\0")
    header = IP(src=POOL_A.secondary, dst=NET) / UDP(sport=PORT, dport=53) / b"\0\0"
    comes_out_zero[Raw].load = bytes(header)[26:28]  # RFC 768: zero would mean that there is none
    return [
        down(A, udp(chksum=1)),
        down(A, udp(), outer={"chksum": 1}),
        down(A, udp(), udp={"chksum": 1}),
        down(A, udp(), udp={"chksum": 0}),
        up(udp(NET, SERVER.secondary, dport=7000, chksum=1)),
        down(A, zero),
        down(A, wrong),
        down(A, tcp_wrong),
        down(C, comes_out_zero, at_s=400),
    ]


def mss() -> list[Frame]:
    """Both ways, at any place among the options, never raised."""
    answer = {"sport": 80, "dport": PORT, "options": [("MSS", 8903)]}
    shifted = [("NOP", None), ("MSS", 8903), ("NOP", None), ("WScale", 7)]
    return [
        down(A, tcp("S", options=[("MSS", 8903), ("SAckOK", b"")])),
        up(tcp("SA", NET, POOL_A.secondary, **answer)),
        up(tcp("S", NET, SERVER.secondary, dport=80, options=[("MSS", 8960)])),
        down(R, tcp("S", R.address, options=[("MSS", 1000)])),
        down(R, tcp("S", R.address, sport=2, options=shifted)),
        down(R, tcp("S", R.address, sport=3)),
        down(R, tcp("S", R.address, sport=4, options=[(2, b"\x22")])),
        down(R, tcp("A", R.address, options=[("MSS", 8903)])),
    ]


def overflow() -> list[Frame]:
    """One port for all: another destination shares it, the same one is refused (RFC 5508 REQ-8)."""
    return [
        down(TINY, udp(TINY.address, sport=1)),
        down(TINY, udp(TINY.address, OTHER_NET, sport=2)),
        down(TINY, udp(TINY.address, NET, sport=3)),
        up(udp(NET, FEW.secondary, sport=53, dport=2000)),
        up(udp(OTHER_NET, FEW.secondary, sport=53, dport=2000)),
        up(udp("8.8.8.8", FEW.secondary, sport=53, dport=2000)),
        down(TINY, udp(TINY.address, NET, sport=3), at_s=301),
    ]


def every_nat() -> list[Frame]:
    """DNAT to a port, to a range, of a whole address; REFLEXIVE; NO_SNAT; a routed segment; GRE."""
    return [
        up(tcp("S", NET, SERVER.secondary, dport=80)),
        down(B, tcp("SA", B.address, NET, sport=8080, dport=1000)),
        up(udp(NET, SERVER.secondary, dport=7009)),
        up(udp(NET, SERVER.secondary, dport=7010)),
        up(ping(NET, WHOLE.secondary)),
        down(C, ping(C.address, NET, kind=0)),
        up(gre(NET, WHOLE.secondary)),
        down(C, gre(C.address, OTHER_NET)),
        down(A, gre()),
        down(R, udp(R.address)),
        up(udp(OTHER_NET, TWIN.secondary, dport=1000)),
        down(A, udp(dst="172.16.5.5")),
        down(PLAIN, udp(PLAIN.address)),
        up(udp(OTHER_NET, PLAIN.address)),
        down(A, ping(id_=77)),
        up(ping(NET, POOL_A.secondary, id_=PORT, kind=0)),
    ]


def tcp_openings() -> list[Frame]:
    """Unsolicited SYN (silence), simultaneous open, RST, and the same ports once more."""
    back = {"sport": 80, "dport": PORT}
    return [
        up(tcp("S", NET, POOL_A.secondary, **back)),
        down(A, tcp("S")),
        up(tcp("S", OTHER_NET, POOL_A.secondary, **back)),
        up(tcp("S", NET, POOL_A.secondary, **back)),
        down(A, tcp("SA")),
        up(tcp("SA", NET, POOL_A.secondary, **back)),
        up(tcp("R", NET, POOL_A.secondary, **back)),
        down(A, tcp("S"), at_s=5),
        down(A, tcp("A"), at_s=246),
    ]


def spoofed() -> list[Frame]:
    """Martians, LAND, sources that are not the sender's, strangers."""
    return [
        down(A, udp("127.0.0.1")),
        down(A, udp(dst="224.0.0.5")),
        down(A, udp(dst=A.address)),
        up(udp("0.0.0.1", SERVER.secondary, dport=7000)),
        down(A, udp(C.address)),
        down(A, udp(), tep=TEP2),
        down(A, udp(), vni=B.vni),
        down(A, udp(), tep="10.99.3.99"),
        up(udp(NET, "10.99.1.2")),
        up(udp(A.address, SERVER.secondary, dport=7000)),
        up(udp(WHOLE.elastic, SERVER.secondary, dport=7000)),
        up(udp(WHOLE.secondary, SERVER.secondary, dport=7000)),
        down(A, udp(dst=B.address), inner_dst="ff:ff:ff:ff:ff:ff"),
        down(A, udp(dst=B.address, ttl=0)),
    ]


def geneve() -> list[Frame]:
    """Header bits and options (RFC 8926 sections 3.4 and 3.5)."""
    skipped, critical = bytes.fromhex("fff00101deadbeef"), bytes.fromhex("fff08101deadbeef")
    headers = [
        {"options": b""},
        {"options": skipped + OPTION},
        {"options": critical},
        {"flags": 0x7F},
        {"reserved": 0xFF},
        {"ver": 1},
        {"flags": 0xC0},
        {"proto": 0x0800},
        {"options": OPTION, "words": 3},
        {"vni": 77},
    ]
    return [down(A, udp(dst=B.address), **{"vni": TRANSIT, **header}) for header in headers]


def from_open_vswitch() -> list[Frame]:
    """Frames that Open vSwitch 3.1 sent (tests/c/captures), addressed to us and our segments."""
    frames = []
    for packet in rdpcap(str(CAPTURES / "ovs-routed-geneve.pcap")):
        frame = bytes(packet)
        inner = frame[42 + 8 + (frame[42] & 0x3F) * 4 :]
        head, ip = frame[42 : len(frame) - len(inner)], IP(frame[14:34])
        head = head[:4] + TRANSIT.to_bytes(3) + head[7:]
        gateway = bytes.fromhex("025000000000")
        tunnel = head + gateway + inner[6:]
        outer = IP(src=ip.src, dst=TEP, tos=ip.tos, id=ip.id, flags=ip.flags, ttl=ip.ttl)
        sport = int.from_bytes(frame[34:36])
        whole = Ether(dst=DOWN_MAC, src=packet[Ether].src) / outer / UDP(sport=sport, dport=6081)
        frames.append(Frame(DOWN, bytes(whole / tunnel)))
    return frames


SCENARIOS: dict[str, Callable[[], list[Frame]]] = {
    one.__name__: one
    for one in (
        hairpin, errors_inwards, errors_outwards, errors_made, fragments_inside,
        fragments_of_the_tunnel, fragments_of_the_uplink, cut_here, ecn, options, checksums, mss,
        overflow, every_nat, tcp_openings, spoofed, geneve, from_open_vswitch,
    )
}  # fmt: skip


def workloads(name: str) -> list:
    """Where they live; the captured sender is behind another TEP."""
    if name == "from_open_vswitch":
        return [vm._replace(tep=TEP2) if vm is A else vm for vm in VMS]
    return list(VMS)
