"""The largest segment that a SYN's sender takes (RFC 9293 section 3.7.1): read and lowered."""

import struct
from dataclasses import replace

from tests.oracle.checksum import update
from tests.oracle.ipv4 import SYN, TCP, Ip

END, NOP, MSS = 0, 1, 2
HEADERS = 40  # IPv4 and TCP, without options (RFC 6691)


def option_at(segment: bytes) -> int | None:
    """Where the option's value stands; None: there is none, or what is before it is malformed.

    >>> option_at(bytes(12) + bytes([6 << 4]) + bytes(7) + bytes([1, 2, 4, 5, 180, 0, 0, 0]))
    23
    """
    at, end = 20, (segment[12] >> 4) * 4
    while at < end and segment[at] != END:
        if segment[at] == NOP:
            at += 1
            continue
        if at + 1 == end or not 2 <= segment[at + 1] <= end - at:
            return None
        if segment[at] == MSS:
            return at + 2 if segment[at + 1] == 4 else None
        at += segment[at + 1]
    return None


def clamped(ip: Ip, mtu: int) -> Ip:
    """A SYN whose both ends send no more than packets of `mtu` bytes. Its checksum follows by the
    difference, in the words that the option's value stands in (RFC 1624)."""
    if ip.proto != TCP or not ip.payload[13] & SYN:
        return ip
    data, at = ip.payload, option_at(ip.payload)
    if at is None or int.from_bytes(data[at : at + 2]) <= mtu - HEADERS:
        return ip
    new = data[:at] + struct.pack("!H", mtu - HEADERS) + data[at + 2 :]
    words = slice(at // 2 * 2, (at + 3) // 2 * 2)
    total = update(int.from_bytes(data[16:18]), data[words], new[words])
    return replace(ip, payload=new[:16] + struct.pack("!H", total) + new[18:])
