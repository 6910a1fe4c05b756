"""The headers of a kept frame, for drops that ended before the datapath had read its addresses."""

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from pcg.cli.kinds import GENEVE_PORT, PROTOCOLS

ETHERNET, GENEVE = 14, 8  # bytes of a header
IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
ETHERTYPES = {0x8100: "vlan", 0x88A8: "vlan", 0x8847: "mpls", 0x88CC: "lldp"}
NAMES = {number: name for name, number in PROTOCOLS.items() if name != "any"} | {58: "icmpv6"}
PORTS_FIRST = ("tcp", "udp", "sctp")  # their headers begin with both; rules know no SCTP ports
FRAGMENT_OFFSET = 0x1FFF  # RFC 791, in units of 8 bytes: the first piece alone has ports


class Headers(NamedTuple):
    """What a frame says of itself; its MACs where it is neither IP nor ARP."""

    protocol: str
    src: str
    dst: str
    mac: str  # of its sender
    sport: int = 0
    dport: int = 0
    tep: str = ""  # of what came through a tunnel: from where


class Ip(NamedTuple):
    protocol: int
    src: str
    dst: str
    rest: bytes  # behind its header; empty where that is another's: of a later fragment

    @property
    def ports(self) -> tuple[int, int]:
        known = NAMES.get(self.protocol) in PORTS_FIRST and len(self.rest) >= 4
        return struct.unpack_from("!HH", self.rest) if known else (0, 0)


def headers(frame: bytes) -> Headers | None:
    """Of a tunnel's packet the one inside, as far as that can be read; None: too short."""
    if len(frame) < ETHERNET:
        return None
    (kind,) = struct.unpack_from("!H", frame, 12)
    mac, packet = frame[6:12].hex(":"), frame[ETHERNET:]
    if kind == ARP and len(packet) >= 28:
        ends = IPv4Address(packet[14:18]), IPv4Address(packet[24:28])
        return Headers("arp", *map(str, ends), packet[8:14].hex(":"))
    ip = {IPV4: _ipv4, IPV6: _ipv6}.get(kind, lambda _: None)(packet)
    if ip is None:
        return Headers(
            ETHERTYPES.get(kind, f"EtherType 0x{kind:04x}"), mac, frame[:6].hex(":"), mac
        )
    if inner := _inside(ip):
        return inner._replace(tep=ip.src)
    return Headers(NAMES.get(ip.protocol, f"IP {ip.protocol}"), ip.src, ip.dst, mac, *ip.ports)


def _inside(ip: Ip) -> Headers | None:
    """RFC 8926 section 3.4: a header, options of 4 bytes each, a frame."""
    if ip.ports[1] != GENEVE_PORT or len(ip.rest) < 8 + GENEVE:
        return None
    options = (ip.rest[8] & 0x3F) * 4
    return headers(ip.rest[8 + GENEVE + options :])


def _ipv4(packet: bytes) -> Ip | None:
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    (pieces,) = struct.unpack_from("!H", packet, 6)
    rest = b"" if pieces & FRAGMENT_OFFSET else packet[max(20, (packet[0] & 15) * 4) :]
    return Ip(packet[9], str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20])), rest)


def _ipv6(packet: bytes) -> Ip | None:
    if len(packet) < 40 or packet[0] >> 4 != 6:
        return None
    ends = (str(IPv6Address(packet[at : at + 16])) for at in (8, 24))
    return Ip(packet[6], *ends, packet[40:])
