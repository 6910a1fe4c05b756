"""Frames that no well-behaved host sends, and reading those that do.

scapy builds and reads; the Geneve header is built here, since the point is to get it wrong.
"""

import socket
import struct
from dataclasses import dataclass

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether

from pcg.lab import ns
from pcg.lab.layout import PCG_MACS, STRANGER, Layout

GENEVE_PORT = 6081
OPTION_CLASS, OPTION_TYPE = 0x0104, 0x80
OPTION = struct.pack("!HBBI", OPTION_CLASS, OPTION_TYPE, 1, 7)  # ours: 4 bytes of data, label 7
CRITICAL = 0x40


def option(kind_class: int, kind: int, words: int = 1) -> bytes:
    return struct.pack("!HBB", kind_class, kind, words) + bytes(4 * words)


@dataclass(frozen=True, kw_only=True)
class Tunnelled:
    """A ping from a workload inside Geneve; every part that can be wrong is a field."""

    tep: str  # outer source
    vni: int
    source: str  # inner addresses and MACs
    source_mac: str
    destination: str
    destination_mac: str
    options: bytes = OPTION
    options_words: int | None = None  # as the header says; None: as it is
    flags: int = CRITICAL
    checksum: int | None = None  # of the outer UDP; None: right
    dst_tep: str = ""
    payload: bytes = b"crafted by the lab"

    def frame(self, layout: Layout) -> bytes:
        inner = (
            Ether(src=self.source_mac, dst=self.destination_mac)
            / IP(src=self.source, dst=self.destination, ttl=63)
            / ICMP(id=6081, seq=1)
            / self.payload
        )
        words = len(self.options) // 4 if self.options_words is None else self.options_words
        header = struct.pack("!BBHI", words, self.flags, 0x6558, self.vni << 8)
        outer = IP(src=self.tep, dst=self.dst_tep or layout.desired.gateway.tep, flags="DF")
        udp = UDP(sport=40000, dport=GENEVE_PORT, chksum=self.checksum)
        ether = Ether(src=STRANGER[1], dst=PCG_MACS["down0"])
        return bytes(ether / outer / udp / (header + self.options + bytes(inner)))


def send(layout: Layout, *frames: bytes, space: str = "probe", device: str = "eth0") -> None:
    """Onto the wire as they are, as fast as they go."""
    with ns.inside(layout.ns(space)), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((device, 0))
        for frame in frames:
            raw.send(frame)


@dataclass(frozen=True)
class Overlay:
    """What a Geneve frame on the underlay carries."""

    outer: IP
    vni: int
    critical: bool
    options: list[tuple[int, int, int]]  # class, type, bytes of data
    inner: Ether


def read_overlay(frame: bytes) -> Overlay | None:
    """None when the frame is not Geneve."""
    ether = Ether(frame)
    if UDP not in ether or ether[UDP].dport != GENEVE_PORT or ether[IP].frag:
        return None
    payload = bytes(ether[UDP].payload)
    words, flags, _, vni = struct.unpack_from("!BBHI", payload)
    end = 8 + 4 * (words & 0x3F)
    options, at = [], 8
    while at < end:
        kind_class, kind, length = struct.unpack_from("!HBB", payload, at)
        options.append((kind_class, kind, 4 * (length & 0x1F)))
        at += 4 + 4 * (length & 0x1F)
    return Overlay(ether[IP], vni >> 8, bool(flags & CRITICAL), options, Ether(payload[end:]))
