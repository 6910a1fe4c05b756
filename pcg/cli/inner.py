"""The IP packet that `explain` asks about: whole, a piece of it, or an ICMP error about another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pcg.cli.kinds import PROTOCOLS
from pcg.model.errors import BackendError

ERRORS = {"too-big": (3, 4), "unreachable": (3, 1), "time-exceeded": (11, 0)}  # RFC 792, RFC 1191
QUOTED = 548  # bytes: an error is of 576 at most (RFC 1812 section 4.3.2.3)
CUT = 1000  # bytes of a packet in pieces, where nothing else is said
HEADERS = 24  # bytes of the first piece at least: the longest L4 header, in units of 8


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the operator asked about. "" and None: take what fits."""

    source: str
    destination: str
    protocol: str = "tcp"
    sport: int = 40000
    dport: int = 80
    flags: str = "S"
    length: int = 0  # of the IP packet, padded up to it
    ttl: int = 64
    tos: int = 0  # DSCP and ECN, as one byte
    df: bool = True
    fragment: str = ""  # "first" or "later": of two pieces of it
    error: str = ""  # one of ERRORS, about `quoted`
    quoted: bytes = b""  # an IP packet
    mtu: int = 0  # that a "too-big" tells
    entry: str = ""  # "uplink" or a TEP's address
    vni: int | None = None
    segment: str = ""
    vrf: str = ""


def inner(wanted: Wanted):
    """The IP packet alone, as scapy's. BackendError: shorter than what must be in it."""
    packet = _complaint(wanted) if wanted.error else _whole(wanted)
    return _piece(packet, wanted) if wanted.fragment else packet


def _header(wanted: Wanted):
    from scapy.layers.inet import IP

    ends = {"src": wanted.source, "dst": wanted.destination}
    return IP(**ends, ttl=wanted.ttl, tos=wanted.tos, flags="DF" if wanted.df else 0)


def _whole(wanted: Wanted):
    from scapy.layers.inet import ICMP, TCP, UDP
    from scapy.packet import Raw

    packet = _header(wanted)
    headers: dict[str, Callable[[], Any]] = {
        "tcp": lambda: TCP(sport=wanted.sport, dport=wanted.dport, flags=wanted.flags),
        "udp": lambda: UDP(sport=wanted.sport, dport=wanted.dport),
        "icmp": lambda: ICMP(type=8, id=wanted.sport),
    }
    if wanted.protocol in headers:
        packet /= headers[wanted.protocol]()
    else:
        packet.proto = PROTOCOLS[wanted.protocol]
    if 0 < wanted.length < len(packet):
        why = f"is less than the headers of {wanted.protocol}"
        raise BackendError(f"length {wanted.length}", why, f"say {len(packet)} or more")
    return packet / Raw(bytes(max(0, wanted.length - len(packet))))


def _piece(packet, wanted: Wanted):
    """The first half of it, or the rest: cut as RFC 791 section 3.2 says."""
    from scapy.layers.inet import IP
    from scapy.packet import Raw

    header, data = IP(bytes(packet)[:20]), bytes(packet)[20:]
    if len(data) < HEADERS + 8:
        why, least = "is too short for two pieces", 20 + HEADERS + 8
        raise BackendError(f"length {len(packet)}", why, f"say {least} or more")
    at = max(HEADERS, len(data) // 2 & ~7)
    header.len = header.chksum = None
    if wanted.fragment == "first":
        header.flags = "MF"
        return header / Raw(data[:at])
    header.frag = at // 8
    return header / Raw(data[at:])


def _complaint(wanted: Wanted):
    from scapy.layers.inet import ICMP
    from scapy.packet import Raw

    kind, code = ERRORS[wanted.error]
    icmp = ICMP(type=kind, code=code)
    if wanted.error == "too-big":
        icmp.nexthopmtu = wanted.mtu
    return _header(wanted) / icmp / Raw(wanted.quoted[:QUOTED])
