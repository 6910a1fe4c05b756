"""Frames between a workload and the gateway's relay, packed as struct pcgdp_parcel has them."""

from collections.abc import Iterable
from typing import NamedTuple

from pcg.datapath import pack

NS = 1_000_000_000


class Punt(NamedTuple):
    """A frame of a workload's port; DHCP in order, its checksums verified."""

    vni: int
    mac: bytes
    tep: bytes
    at: float  # monotonic seconds
    frame: bytes  # from the inner Ethernet header on


class Answer(NamedTuple):
    """A frame for a workload's port, from the inner Ethernet header on."""

    vni: int
    mac: bytes
    frame: bytes


def padded(n: int) -> int:
    return (n + 7) & ~7


def joined(rows: Iterable[Punt | Answer]) -> bytes:
    """Parcels behind each other; struct.error when one is too long."""
    codec, parts = pack.layout("parcel").codec, []
    for row in rows:
        frame, n = row.frame, len(row.frame)
        at, tep = (round(row.at * NS), row.tep) if isinstance(row, Punt) else (0, bytes(4))
        parts += codec.pack(at, row.vni, tep, row.mac, n), frame, bytes(padded(n) - n)
    return b"".join(parts)


def split(data: bytes) -> list[Punt]:
    """ValueError when they are no whole number of parcels."""
    codec, at, end, found = pack.layout("parcel").codec, 0, len(data), []
    while at < end:
        if end - at < codec.size:
            raise ValueError(f"{end - at} bytes are no parcel")
        at_ns, vni, tep, mac, n = codec.unpack_from(data, at)
        at += codec.size
        if end - at < padded(n):
            raise ValueError(f"a frame of {n} bytes has only {end - at}")
        found.append(Punt(vni, mac, tep, at_ns / NS, data[at : at + n]))
        at += padded(n)
    return found
