"""The headers around a packet: read with their rules, and written (RFC 8926, RFC 6040)."""

import struct
from dataclasses import replace

from tests.oracle.checksum import checksum, ones_sum, pseudo
from tests.oracle.decision import Policy, num
from tests.oracle.ipv4 import FIN, ICMP, MF, OFFSET, RST, SYN, TCP, UDP, Ip, header, right

ECT1, ECT0, CE = 1, 2, 3
PORT = 6081
HASHED = range(0xC000, 0x10000)  # RFC 8926 section 3.3: from a hash of the inner flow


def underlay(frame: bytes, mac: bytes, tep: int, dropped) -> Ip:
    """The tunnel packet, or a piece of it."""
    if len(frame) < 14:
        raise dropped("FRAME_SHORT")
    if frame[:6] != mac:
        raise dropped("MAC_NOT_OURS")
    if frame[12:14] != b"\x08\0":
        raise dropped("ETHERTYPE")
    data = frame[14:]
    if len(data) < 20:
        raise dropped("OUTER_IP_BAD")
    length, options = int.from_bytes(data[2:4]), (data[0] & 15) * 4 - 20
    if data[0] >> 4 != 4 or options < 0 or not options + 28 <= length <= len(data):
        raise dropped("OUTER_IP_BAD")
    if not right(data[: options + 20]):
        raise dropped("OUTER_IP_CHECKSUM")
    data = data[:20] + data[options + 20 : length]  # nobody asks what they say
    told = data[9] == ICMP and not int.from_bytes(data[6:8]) & (MF | OFFSET)
    if num(data[16:20]) != tep or not (told or data[9] == UDP):
        raise dropped("OUTER_NOT_TUNNEL")
    return header(data)


def by_headers(ip: Ip, udp: bytes) -> bool:
    """Is the sum right if that of the packet inside is? So what is damaged there, and nothing odd
    about its headers, is left to its receiver, who sees the same sum wrong."""
    geneve, packet = udp[8:24], udp[38:]
    if len(packet) < 40 or ip.tos & 1 or ip.frag & (MF | OFFSET) or udp[36:38] != b"\x08\0":
        return False
    as_ours = geneve[0] == 2 and not geneve[1] & ~0x40 and geneve[2:4] == b"\x65\x58"
    if not as_ours or geneve[8:12] != bytes.fromhex("01048001") or packet[0] != 0x45:
        return False
    inner, l4 = header(packet), packet[20:]
    whole = num(packet[2:4]) == len(packet) and right(packet[:20])
    if not whole or inner.frag & (MF | OFFSET) or inner.ttl <= 1:
        return False
    if inner.proto == UDP:
        known = num(l4[4:6]) == len(l4) and l4[6:8] != b"\0\0"
    else:
        news = l4[13] & (FIN | SYN | RST)
        known = inner.proto == TCP and 20 <= (l4[12] >> 4) * 4 <= len(l4) and not news
    outer = pseudo(ip.src.to_bytes(4), ip.dst.to_bytes(4), UDP, len(udp))
    of_it = pseudo(packet[12:16], packet[16:20], inner.proto, len(l4))
    return known and ones_sum(udp[:38], outer + (0xFFFF ^ of_it)) == 0xFFFF


def inside(ip: Ip, plain: bool, dropped) -> tuple[int, int, bytes]:
    """The sending TEP, what the underlay says of congestion, and what begins with Geneve. plain:
    without options in the underlay's header."""
    udp = ip.payload
    if len(udp) < 8:
        raise dropped("OUTER_IP_BAD")
    if int.from_bytes(udp[4:6]) != len(udp):
        raise dropped("OUTER_UDP_LENGTH")
    if int.from_bytes(udp[2:4]) != PORT:
        raise dropped("OUTER_NOT_TUNNEL")
    total = int.from_bytes(udp[6:8])
    sides = ip.src.to_bytes(4), ip.dst.to_bytes(4)
    wrong = total and ones_sum(udp, pseudo(*sides, UDP, len(udp))) != 0xFFFF
    if wrong and not (plain and by_headers(ip, udp)):
        raise dropped("OUTER_UDP_CHECKSUM")
    return ip.src, ip.tos & 3, udp[8:]


def congestion(ip: Ip, outer_ecn: int, dropped) -> Ip:
    """RFC 6040 section 4.2, figure 4."""
    inner = ip.tos & 3
    if outer_ecn == CE:
        if not inner:
            raise dropped("ECN_CONGESTED")
        return replace(ip, tos=ip.tos | CE, sum=None)
    if outer_ecn == ECT1 and inner == ECT0:
        return replace(ip, tos=ip.tos & ~3 | ECT1, sum=None)
    return ip


def on_uplink(policy: Policy, hop: int, ip: Ip, our_mac: bytes) -> bytes:
    return policy.nexthops[hop].mac + our_mac + b"\x08\0" + ip.whole()


def to_port(policy: Policy, port, ip: Ip, our_mac: bytes, sport: int) -> bytes:
    """sport: the path's, since its hash is keyed; the caller holds it to its range."""
    local, seg = policy.local, policy.segments[port.vni]
    tep = policy.teps[num(port.tep_be)]
    option = struct.pack("!HBBI", 0x0104, 0x80, 1, local.label) if tep.option else b""
    inner = port.mac + seg.gateway_mac + b"\x08\0" + ip.whole()
    head = struct.pack("!BBHI", len(option) // 4, 0x40 if option else 0, 0x6558, port.vni << 8)
    data = head + option + inner
    udp = struct.pack("!HHHH", sport, PORT, 8 + len(data), 0) + data
    total = 0
    if local.udp_checksum:
        start = pseudo(local.tep_be, port.tep_be, UDP, len(udp))
        total = checksum(udp, start) or 0xFFFF
    udp = udp[:6] + struct.pack("!H", total) + udp[8:]
    to = Ip(num(local.tep_be), num(port.tep_be), UDP, udp, tos=ip.tos, frag=0x4000)
    return tep.mac + our_mac + b"\x08\0" + to.whole()
