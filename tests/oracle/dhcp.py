"""DHCP of workloads: what goes on to the relay, and why the rest does not.

The slow twin of dhcp.c but for its rates, which are time's; from RFC 2131 sections 2 to 4.
"""

from tests.oracle.checksum import ones_sum, pseudo
from tests.oracle.decision import Policy, num
from tests.oracle.ipv4 import MF, OFFSET, UDP, Ip

ALL = bytes([255] * 6)
COOKIE = bytes([99, 130, 83, 99])
NEVER = {0, 127, *range(224, 256)}


class PuntedError(Exception):
    """It goes on to the relay: nothing follows here."""


def may_be(policy: Policy, vni: int, inner: bytes, ip: Ip) -> bool:
    """To everybody, or to the gateway of its segment. `inner`: from the Ethernet header on."""
    seg = policy.segments[vni]
    gateway = num(seg.gateway_be) if not seg.kind else None
    return (
        ip.proto == UDP
        and ip.dst in (0xFFFFFFFF, gateway)
        and not (inner[0] & 1 and inner[:6] != ALL)
    )


def served(policy: Policy, vni: int) -> bool:
    return not policy.segments[vni].kind and bool(policy.segments[vni].flags & 2)


def known(policy: Policy, vni: int, tep: int, inner: bytes) -> bool:
    return policy.clients.get((vni, inner[6:12])) == tep


def is_piece(policy: Policy, vni: int, tep: int, inner: bytes, ip: Ip) -> bool:
    """Of a datagram that may be DHCP: its client has no address to tell it by."""
    whose = served(policy, vni) and known(policy, vni, tep, inner)
    return bool(ip.frag & (MF | OFFSET)) and may_be(policy, vni, inner, ip) and whose


def judge(policy: Policy, vni: int, tep: int, inner: bytes, ip: Ip, dropped: type) -> None:
    """Raises what a DHCP packet ends by; returns when it is none."""
    data, mac, seg = ip.payload, inner[6:12], policy.segments[vni]
    if not may_be(policy, vni, inner, ip) or ip.frag & (MF | OFFSET) or len(data) < 8:
        return
    ports = num(data[:2]), num(data[2:4])
    if ports[0] == 67 or ports[1] == 68:
        raise dropped("DHCP_SERVER")
    if ports != (68, 67):
        return
    if not served(policy, vni):
        raise dropped("DHCP_NOT_SERVED")
    if not known(policy, vni, tep, inner):
        raise dropped("DHCP_PORT_UNKNOWN")
    if ip.src and ip.src >> 24 in NEVER:
        raise dropped("IP_MARTIAN")
    if ip.src == num(seg.gateway_be):
        raise dropped("SOURCE_SPOOFED")
    owner = policy.ports.get((seg.vrf, ip.src)) if ip.src else None
    if owner and (owner.vni, num(owner.tep_be), owner.mac) != (vni, tep, mac):
        raise dropped("SOURCE_SPOOFED")
    reason = request(ip, data, mac)
    if reason:
        raise dropped(reason)
    raise PuntedError


def request(ip: Ip, data: bytes, mac: bytes) -> str | None:
    length = num(data[4:6])
    if length < 248 or length > len(data) or 14 + 20 + len(data) > 9216:
        return "DHCP_BAD"
    start = pseudo(ip.src.to_bytes(4), ip.dst.to_bytes(4), UDP, length)
    if data[6:8] != bytes(2) and ones_sum(data[:length], start) != 0xFFFF:
        return "DHCP_CHECKSUM"
    message = data[8:length]
    if message[0] != 1:
        return "DHCP_SERVER"
    if message[1:3] != bytes([1, 6]) or message[236:240] != COOKIE:
        return "DHCP_BAD"
    if message[28:34] != mac:
        return "DHCP_SPOOFED"
    return "DHCP_RELAYED" if any(message[24:28]) else None
