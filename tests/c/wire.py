"""Frames in and out: built by scapy, read back and held against every rule of the wire.

A frame that the path sent is right when its checksums are (outer IP, outer UDP when it is not
zero, inner IP, TCP, UDP, ICMP, and those of a packet quoted in an ICMP error), DF is set on the
outer header, our critical option is there if the TEP takes it, and all MACs are the right ones.
"""

import struct
from typing import NamedTuple

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from tests.c.places import (
    DOWN_MAC,
    GATEWAY,
    HOP_MAC,
    LABEL,
    NEWCOMER,
    TEP,
    TEP4,
    TEP_MAC,
    UP_MAC,
    VMS,
)
from tests.oracle.checksum import ones_sum, pseudo

OPTION = bytes.fromhex("0104800100000001")


class Seen(NamedTuple):
    """A frame that left. In a tunnel `eth` and `ip` are the inner ones."""

    role: str
    eth: Ether
    ip: Packet  # IP or ARP
    vni: int
    tep: str
    sport: int  # outer; 0 outside a tunnel
    frame: bytes


def geneve(inner: bytes, vni: int, options: bytes = OPTION, **given) -> bytes:
    """ver, flags, proto, words (of options, None: as they are), reserved: any header one likes."""
    words = given.get("words", len(options) // 4)
    first = given.get("ver", 0) << 6 | words
    flags = given.get("flags", 0x40 if options else 0)
    proto, last = given.get("proto", 0x6558), given.get("reserved", 0)
    return struct.pack("!BBHI", first, flags, proto, vni << 8 | last) + options + inner


def over(packet, vni: int, tep: str, inner_src: str, inner_dst: str, **given) -> bytes:
    """A frame as a TEP sends it; `packet`: scapy, or bytes with their own Ethernet type.

    outer: fields of the outer IP; udp: of the outer UDP; eth: of the outer Ethernet; the rest
    as geneve()
    """
    outer, udp, eth = given.pop("outer", {}), given.pop("udp", {}), given.pop("eth", {})
    inner = bytes(Ether(dst=inner_dst, src=inner_src, **given.pop("inner", {})) / packet)
    tunnel = geneve(inner, vni, **given)
    eth = {"dst": DOWN_MAC, "src": TEP_MAC.get(tep, "06:00:00:00:00:99"), **eth}
    ip = {"src": tep, "dst": TEP, "flags": "DF", **outer}
    return bytes(Ether(**eth) / IP(**ip) / UDP(**{"sport": 50000, "dport": 6081, **udp}) / tunnel)


def plain(packet, **eth) -> bytes:
    """A frame as the Internet gateway sends it."""
    return bytes(Ether(**{"dst": UP_MAC, "src": HOP_MAC, **eth}) / packet)


def hold_l4(ip: bytes, data: bytes) -> None:
    """TCP, UDP or ICMP behind the IPv4 header `ip`."""
    if ip[9] == 1:
        assert ones_sum(data) == 0xFFFF, "ICMP checksum"
        if data[0] in (3, 4, 11, 12):
            hold_quoted(data[8:])
    elif ip[9] == 6 or (ip[9] == 17 and data[6:8] != b"\0\0"):
        start = pseudo(ip[12:16], ip[16:20], ip[9], len(data))
        assert ones_sum(data, start) == 0xFFFF, "TCP or UDP checksum"


def hold_quoted(ip: bytes) -> None:
    """The packet in an ICMP error: its L4 checksum can be held only when it is there whole."""
    assert ones_sum(ip[:20]) == 0xFFFF, "quoted IP checksum"
    length = struct.unpack("!H", ip[2:4])[0]
    if length <= len(ip):
        hold_l4(ip[:20], ip[20:length])


def hold_ip(ip: bytes) -> None:
    assert ip[0] == 0x45
    assert struct.unpack("!H", ip[2:4])[0] == len(ip), "IP total length"
    assert ones_sum(ip[:20]) == 0xFFFF, "IP checksum"
    if not struct.unpack("!H", ip[6:8])[0] & 0x3FFF:  # of a fragment only the whole can be held
        hold_l4(ip[:20], ip[20:])


def hold_outer(frame: bytes, udp_checksum: int) -> None:
    eth, ip = Ether(frame[:14]), IP(frame[14:34])
    assert (eth.src, eth.type) == (DOWN_MAC, 0x0800)
    assert eth.dst == TEP_MAC[ip.dst]
    assert ones_sum(frame[14:34]) == 0xFFFF, "outer IP checksum"
    assert (ip.src, ip.proto, ip.ttl, ip.id) == (TEP, 17, 64, 0)
    assert (str(ip.flags), ip.frag, ip.len) == ("DF", 0, len(frame) - 14)
    sport, dport, length, csum = struct.unpack("!4H", frame[34:42])
    assert (dport, length) == (6081, len(frame) - 34)
    assert sport >= 0xC000
    assert bool(csum) == bool(udp_checksum)
    if csum:
        start = pseudo(frame[26:30], frame[30:34], 17, length)
        assert ones_sum(frame[34:], start) == 0xFFFF, "outer UDP checksum"


def hold_geneve(tunnel: bytes, option: bool) -> int:
    """Length of the header with its options."""
    words, flags, proto, _ = struct.unpack("!BBHI", tunnel[:8])
    assert (words, flags, proto) == ((2, 0x40, 0x6558) if option else (0, 0, 0x6558))
    assert tunnel[7] == 0
    if option:
        assert tunnel[8:16] == struct.pack("!HBBI", 0x0104, 0x80, 1, LABEL)
    return 8 + 4 * words


def read_tunnel(role: str, frame: bytes, udp_checksum: int) -> Seen:
    hold_outer(frame, udp_checksum)
    outer = IP(frame[14:34])
    at = 42 + hold_geneve(frame[42:], outer.dst != TEP4)
    vni = int.from_bytes(frame[46:49])
    eth = Ether(frame[at:])
    assert eth.src == GATEWAY[vni][1]
    macs = {vm.mac for vm in (*VMS, NEWCOMER) if vm.vni == vni}
    assert eth.dst in macs or (eth.dst == "ff:ff:ff:ff:ff:ff" and eth[UDP].sport == 67)
    sport = struct.unpack("!H", frame[34:36])[0]
    if eth.type == 0x0806:
        return Seen(role, eth, eth[ARP], vni, outer.dst, sport, frame)
    hold_ip(frame[at + 14 :])
    assert outer.tos == eth[IP].tos, "DSCP and ECN are copied (RFC 6040)"
    return Seen(role, eth, eth[IP], vni, outer.dst, sport, frame)


def read(sent, udp_checksum: int = 1) -> Seen:
    """The frame, every rule of the wire asserted."""
    if sent.role == "downlink":
        return read_tunnel(sent.role, sent.frame, udp_checksum)
    eth = Ether(sent.frame)
    assert (eth.src, eth.dst) == (UP_MAC, HOP_MAC)
    if eth.type == 0x0806:
        return Seen(sent.role, eth, eth[ARP], 0, "", 0, sent.frame)
    hold_ip(sent.frame[14:])
    return Seen(sent.role, eth, eth[IP], 0, "", 0, sent.frame)
