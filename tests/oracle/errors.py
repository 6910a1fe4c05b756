"""ICMP errors: made, and translated with the packet inside them (RFC 792, 1812, 5508)."""

import struct
from dataclasses import replace

from tests.oracle.decision import Key
from tests.oracle.ipv4 import (
    ACK,
    DF,
    ECHO,
    ECHO_REPLY,
    FIN,
    ICMP,
    OFFSET,
    RST,
    SYN,
    Ip,
    changed,
    header,
    icmp,
    tcp,
)

INTERNETWORK_CONTROL = 0xC0  # RFC 1812 section 4.3.2.5
QUOTE_MAX = 576 - 28  # RFC 1812 section 4.3.2.3


def made_error(about: Ip, speaker: int, kind: int, code: int, mtu: int) -> Ip:
    rest, quote = struct.pack("!HH", 0, mtu), about.whole()[:QUOTE_MAX]
    return icmp(speaker, about.src, kind, code, rest, quote, frag=DF, tos=INTERNETWORK_CONTROL)


def made_reset(about: Ip) -> Ip | None:
    """RFC 9293 section 3.10.7.1: to a segment of no connection; none to a reset."""
    sport, dport, seq, ack, offset, flags = struct.unpack("!HHIIBB", about.payload[:14])
    if flags & RST:
        return None
    if flags & ACK:
        return tcp(about.dst, about.src, dport, sport, RST, seq=ack, frag=DF)
    length = len(about.payload) - (offset >> 4) * 4 + bool(flags & SYN) + bool(flags & FIN)
    ends = (seq + length) & 0xFFFFFFFF
    return tcp(about.dst, about.src, dport, sport, RST | ACK, seq=0, ack=ends, frag=DF)


def quoted_key(error: Ip, vrf: int, uplink: bool) -> Key | None:
    """Of the direction in which the error travels: the quoted packet's, reversed."""
    data = error.payload[8:]
    if len(data) < 28 or data[0] >> 4 != 4 or int.from_bytes(data[6:8]) & OFFSET:
        return None
    if options(data) < 0 or len(data) < 28 + options(data):
        return None
    quoted = header(without_options(data))
    if quoted.proto == ICMP and quoted.payload[0] not in (ECHO, ECHO_REPLY):
        return None  # an error about an error does not exist
    sport, dport = quoted.ports
    return Key(vrf, uplink, quoted.dst, quoted.src, dport, sport, quoted.proto)


def options(data: bytes) -> int:
    """How many bytes of them a header has: RFC 5508 REQ-3b."""
    return (data[0] & 15) * 4 - 20


def without_options(data: bytes) -> bytes:
    return data[:20] + data[20 + options(data) :]


def _with_quoted(error: Ip, quoted: Ip) -> Ip:
    """The error's own checksum is made anew."""
    data, old = error.payload[8:], error.payload
    inside = data[:10] + struct.pack("!H", quoted.sum) + quoted.whole()[12:20]
    inside += data[20 : 20 + options(data)] + quoted.payload
    fresh = icmp(error.src, error.dst, old[0], old[1], old[4:8], inside)
    return replace(error, payload=fresh.payload)


def translated(error: Ip, side: str, address: int, port: int | None) -> Ip:
    """RFC 5508 REQ-4, 5: the error's own address, and the same one in the packet inside, where it
    stands on the other side."""
    other = "src" if side == "dst" else "dst"
    has_port = port is not None
    quoted = changed(
        header(without_options(error.payload[8:])), other, address, port if has_port else None
    )
    return replace(_with_quoted(error, quoted), **{side: address})


def quoted_changed(error: Ip, src: int, dst: int) -> Ip:
    inside = header(without_options(error.payload[8:]))
    quoted = changed(changed(inside, "src", src), "dst", dst)
    return _with_quoted(error, quoted)
