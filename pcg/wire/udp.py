"""UDP over IPv4 over Ethernet, as whole frames (RFC 768, 791, 894)."""

import struct
from typing import NamedTuple

from pcg.model.errors import ProtocolError

ETHERNET = struct.Struct("!6s6sH")
HEADERS = struct.Struct("!6s6sHBBHHHBBH4s4sHHHH")  # without IP options
HEADERS_LEN = HEADERS.size  # 42
IPV4, UDP = 0x0800, 17
BROADCAST_MAC, BROADCAST = b"\xff" * 6, b"\xff" * 4
TTL = 64
DONT_FRAGMENT = 0x4000
FRAGMENT = 0x3FFF  # more fragments, or an offset
IHL_MIN, IHL_MAX = 0x45, 0x4F


class FrameError(ProtocolError):
    """Bytes that are no whole UDP datagram in a frame."""


class Datagram(NamedTuple):
    dst_mac: bytes
    src_mac: bytes
    src: bytes
    dst: bytes
    sport: int
    dport: int
    payload: bytes


def parse(frame: bytes) -> Datagram:
    """Lengths are checked, checksums are not. Raises FrameError."""
    if len(frame) < HEADERS_LEN:
        raise FrameError(f"{len(frame)} bytes")
    (dst_mac, src_mac, kind, version, _, total, _, fragment, _, protocol, _, src, dst, *udp) = (
        HEADERS.unpack_from(frame)
    )
    if kind != IPV4 or not IHL_MIN <= version <= IHL_MAX or protocol != UDP or fragment & FRAGMENT:
        raise FrameError("not a whole IPv4 datagram of UDP")
    at = 14 + (version & 15) * 4
    if version != IHL_MIN:
        if len(frame) < at + 8:
            raise FrameError("IP options reach beyond the frame")
        udp = struct.unpack_from("!HHHH", frame, at)
    end = at + udp[2]
    if udp[2] < 8 or end > 14 + total or end > len(frame):
        raise FrameError("UDP length does not fit")
    return Datagram(dst_mac, src_mac, src, dst, udp[0], udp[1], frame[at + 8 : end])


def checksum(data: bytes) -> int:
    """RFC 1071. A number is its 16-bit words' sum modulo 65535, whatever its length.

    >>> hex(checksum(bytes.fromhex("0001f203f4f5f6f7")))
    '0x220d'
    """
    return -int.from_bytes(data if len(data) % 2 == 0 else data + b"\0", "big") % 0xFFFF


def build(d: Datagram) -> bytes:
    """The frame, with right checksums; a UDP checksum of 0 is sent as 0xffff (RFC 768)."""
    length = 8 + len(d.payload)
    addresses = d.src + d.dst
    pseudo = struct.pack("!8sHHHHH", addresses, UDP, length, d.sport, d.dport, length)
    udp_sum = checksum(pseudo + d.payload) or 0xFFFF
    ip = struct.pack("!BBHHHBB", IHL_MIN, 0, length + 20, 0, DONT_FRAGMENT, TTL, UDP)
    ip_sum = checksum(ip + addresses)
    ends = struct.pack("!HHHH", d.sport, d.dport, length, udp_sum)
    head = d.dst_mac + d.src_mac + b"\x08\x00" + ip
    return b"".join((head, ip_sum.to_bytes(2, "big"), addresses, ends, d.payload))
