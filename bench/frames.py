"""Frames of flows for the wire, every checksum right. The packet path itself makes its own in C."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from typing import NamedTuple

STAMP = 16  # bytes at the end that the sender overwrites; zero here, and worth zero ever after
ETHER, IPV4, UDP_HEAD = 14, 20, 8
GENEVE_PORT, VXLAN_PORT = 6081, 4789
OPTION = bytes.fromhex("0104800100000000")  # class 0x0104, type 0x80, 4 bytes


class Macs(NamedTuple):
    """Of the gateway's two interfaces and of its side in the overlay."""

    downlink: bytes
    uplink: bytes
    inner: bytes
    source: bytes = bytes.fromhex("020000000009")


def total(data: bytes) -> int:
    """One's complement sum of 16-bit words (RFC 1071), folded.

    >>> hex(total(bytes.fromhex("0001f203f4f5f6f7")))
    '0xddf2'
    """
    words = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    words += data[-1] << 8 if len(data) % 2 else 0
    while words >> 16:
        words = (words & 0xFFFF) + (words >> 16)
    return words


def ethernet(destination: bytes, source: bytes, packet: bytes) -> bytes:
    return destination + source + b"\x08\x00" + packet


def udp(source: bytes, destination: bytes, sport: int, dport: int, payload: bytes) -> bytes:
    """An IPv4 packet.

    >>> packet = udp(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 1000, 53, b"payload!")
    >>> hex(total(packet[:20]))
    '0xffff'
    >>> hex(total(packet[12:20] + bytes([0, 17]) + packet[24:26] + packet[20:]))
    '0xffff'
    """
    length = UDP_HEAD + len(payload)
    head = struct.pack("!4H", sport, dport, length, 0)
    pseudo = source + destination + struct.pack("!2H", 17, length)
    check = ~total(pseudo + head + payload) & 0xFFFF or 0xFFFF
    ip = struct.pack("!BBHHHBB", 0x45, 0, IPV4 + length, 0, 0x4000, 64, 17)
    ip_check = ~total(ip + bytes(2) + source + destination) & 0xFFFF
    ip += struct.pack("!H", ip_check) + source + destination
    return ip + head[:6] + struct.pack("!H", check) + payload


def geneve(vni: int, option: bytes = OPTION) -> bytes:
    flags = 0x40 if option else 0
    return struct.pack("!BBHI", len(option) // 4, flags, 0x6558, vni << 8) + option


def vxlan(vni: int) -> bytes:
    return struct.pack("!II", 0x08000000, vni << 8)


class Tunnel(NamedTuple):
    """What goes around a packet of the overlay."""

    to: bytes  # our TEP
    header: bytes
    port: int = GENEVE_PORT


def frames(
    flows: Iterable[tuple], sizes: Sequence[int], macs: Macs, tunnel: Tunnel
) -> Iterator[bytes]:
    """One frame of each flow (source, destination, TEP or zero, ports, protocol); UDP, whatever
    the flow says, since a first packet of it needs no flags.

    sizes  of the packets in turn, from the IP header on; even, at least 44
    """
    for size in sizes:
        if size % 2 or size < IPV4 + UDP_HEAD + STAMP:
            raise ValueError(f"size is even and at least 44, not {size}")
    payloads = cycle([bytes(size - IPV4 - UDP_HEAD) for size in sizes])
    for (source, destination, tep, sport, dport, _protocol), payload in zip(
        flows, payloads, strict=False
    ):
        packet = udp(source, destination, sport, dport, payload)
        if not any(tep):
            yield ethernet(macs.uplink, macs.source, packet)
            continue
        inner = tunnel.header + ethernet(macs.inner, macs.source, packet)
        outer = udp(tep, tunnel.to, 0xC000 | sport * 40503 & 0x3FFF, tunnel.port, inner)
        yield ethernet(macs.downlink, macs.source, outer)


def turned_round(frame: bytes) -> bytes:
    """The answer to a plain frame: its ends exchanged, which leaves every checksum right.

    >>> turned_round(bytes(range(42)))[26:38].hex(" ", 4)
    '1e1f2021 1a1b1c1d 24252223'
    """
    macs, ports = frame[6:12] + frame[:6], frame[36:38] + frame[34:36]
    return macs + frame[12:26] + frame[30:34] + frame[26:30] + ports + frame[38:]


def as_file(many: Iterable[bytes]) -> bytes:
    """As traffic.c reads them."""
    return b"".join(struct.pack("=I", len(frame)) + frame for frame in many)


def as_pcap(many: Iterable[bytes]) -> bytes:
    """As tcpdump and DPDK read them; without times.

    >>> as_pcap([b"four"])[24:].hex(" ", 4)
    '00000000 00000000 04000000 04000000 666f7572'
    """
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return head + b"".join(struct.pack("<4I", 0, 0, len(f), len(f)) + f for f in many)
