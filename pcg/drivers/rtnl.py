"""Route and neighbour messages in bulk: thousands of TEPs at start, one event each later.

pyroute2 sets up interfaces; here its decoding of a message (0.1 ms and more) would be what a
start waits for, and its answers to one request at a time. Layouts: linux/netlink.h,
linux/rtnetlink.h, linux/neighbour.h.
"""

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

NEWLINK, DELLINK, NEWADDR, DELADDR, NEWROUTE, DELROUTE = 16, 17, 20, 21, 24, 25
GETROUTE, NEWNEIGH, DELNEIGH, GETNEIGH, NEWRULE, DELRULE = 26, 28, 29, 30, 32, 33
ERROR, DONE = 2, 3
REQUEST, DUMP, CREATE, REPLACE = 0x1, 0x300, 0x400, 0x100
NTF_USE = 0x01  # "I am about to send to it": resolve it
# linux/rtnetlink.h, RTMGRP_*: link, neighbours, IPv4 addresses, routes and rules
GROUPS = 0x1 | 0x4 | 0x10 | 0x40 | 0x80
HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
NDMSG = struct.Struct("=BxxxiHBB")  # family, interface, state, flags, type
RTMSG = struct.Struct("=BBBBBBBBI")
ATTRIBUTE = struct.Struct("=HH")
NDA_DST, NDA_LLADDR = 1, 2
RTA_DST, RTA_SRC, RTA_OIF, RTA_GATEWAY, RTA_METRICS = 1, 2, 4, 5, 8
RTAX_MTU = 2
RECEIVE = 1 << 20


class Neighbour(NamedTuple):
    """One entry as the kernel told it. `state` 0: it is gone."""

    index: int
    address_be: bytes
    state: int  # bits NUD_*
    mac: bytes  # b"": unknown


class Way(NamedTuple):
    """How the kernel would send to an address."""

    index: int  # of the interface
    gateway_be: bytes  # next hop: the address itself when it is on the link
    mtu: int  # learned or configured for this way; 0: the interface's


def message(kind: int, flags: int, body: bytes, sequence: int = 0) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, sequence, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    padding = -len(value) % 4
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(padding)


def attributes(data: bytes) -> dict[int, bytes]:
    """By type; what is cut off is left out."""
    found, at = {}, 0
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[at + ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, sequence, body) of each message in what one recv gave."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, _, sequence, _ = HEADER.unpack_from(data, at)
        if length < HEADER.size:
            break
        yield kind, sequence, data[at + HEADER.size : at + length]
        at += (length + 3) & ~3


def neighbour(kind: int, body: bytes) -> Neighbour | None:
    """The entry in a NEWNEIGH or DELNEIGH; None when it is not IPv4's."""
    family, index, state, _, _ = NDMSG.unpack_from(body)
    found = attributes(body[NDMSG.size :])
    if family != socket.AF_INET or NDA_DST not in found:
        return None
    gone = kind == DELNEIGH
    mac = b"" if gone else found.get(NDA_LLADDR, b"")
    return Neighbour(index, found[NDA_DST], 0 if gone else state, mac)


def neighbour_dump() -> bytes:
    return message(GETNEIGH, DUMP, NDMSG.pack(socket.AF_INET, 0, 0, 0, 0))


def resolve(index: int, address_be: bytes, state: int, flags: int) -> bytes:
    """Ask the kernel to find out (flags NTF_USE, state 0) or to verify (NUD_PROBE) a neighbour."""
    body = NDMSG.pack(socket.AF_INET, index, state, flags, 0) + attribute(NDA_DST, address_be)
    return message(NEWNEIGH, CREATE | REPLACE, body)


def ways(destinations: Iterable[bytes], source_be: bytes, index: int) -> dict[bytes, Way]:
    """How the kernel would send to each from this source address and interface.

    What it has no way to is left out. Raises OSError.
    """
    asked, found = list(destinations), {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.bind((0, 0))
        sock.settimeout(2)
        for number, destination in enumerate(asked):
            sock.send(message(GETROUTE, 0, _route_request(destination, source_be, index), number))
            for kind, sequence, body in messages(sock.recv(RECEIVE)):
                if kind == NEWROUTE and sequence == number:
                    found[destination] = _way(body, destination)
    return found


def _route_request(destination: bytes, source_be: bytes, index: int) -> bytes:
    head = RTMSG.pack(socket.AF_INET, 32, 32, 0, 0, 0, 0, 0, 0)
    return (
        head
        + attribute(RTA_DST, destination)
        + attribute(RTA_SRC, source_be)
        + attribute(RTA_OIF, struct.pack("=I", index))
    )


def _way(body: bytes, destination: bytes) -> Way:
    found = attributes(body[RTMSG.size :])
    metrics = attributes(found.get(RTA_METRICS, b""))
    mtu = struct.unpack("=I", metrics[RTAX_MTU])[0] if RTAX_MTU in metrics else 0
    index = struct.unpack("=I", found.get(RTA_OIF, bytes(4)))[0]
    return Way(index, found.get(RTA_GATEWAY, destination), mtu)
