"""Addresses as text in the desired state, as bytes in records. Each text is parsed once."""

import functools
import ipaddress
import socket
from typing import NamedTuple

ANY = (bytes(4), 0)


class Prefix(NamedTuple):
    be: bytes  # 4 bytes, host bits zero
    length: int  # 0 to 32


@functools.lru_cache(maxsize=1 << 18)
def address(text: str) -> bytes:
    """Four bytes of an IPv4 address; a length behind it is not looked at.

    >>> address("10.0.0.1/24").hex()
    '0a000001'
    """
    return socket.inet_aton(text.partition("/")[0])


@functools.lru_cache(maxsize=1 << 18)
def prefix(text: str) -> Prefix:
    """A prefix or an address, which is a prefix of 32 bits.

    >>> prefix("10.0.0.1").length, prefix("10.1.0.0/16").be.hex()
    (32, '0a010000')
    """
    net = ipaddress.IPv4Network(text, strict=False)
    return Prefix(net.network_address.packed, net.prefixlen)


def mac(text: str) -> bytes:
    """Six bytes; raises ValueError when it is no MAC.

    >>> mac("02:00:00:00:00:0a").hex()
    '02000000000a'
    """
    raw = bytes.fromhex(text.replace(":", "").replace("-", ""))
    if len(raw) != 6:
        raise ValueError(f"{text} is not a MAC address of 6 bytes")
    return raw


def text(be: bytes) -> str:
    """
    >>> text(bytes([10, 0, 0, 1]))
    '10.0.0.1'
    """
    return socket.inet_ntoa(be)


def mac_text(raw: bytes) -> str:
    return raw.hex(":")


def covers(prefix_be: bytes, length: int, be: bytes) -> bool:
    """Is the address inside the prefix?

    >>> covers(bytes([10, 0, 0, 0]), 8, bytes([10, 9, 9, 9])), covers(bytes(4), 0, b"abcd")
    (True, True)
    """
    shift = 32 - length
    return int.from_bytes(prefix_be, "big") >> shift == int.from_bytes(be, "big") >> shift
