"""Frames as they come: read with every rule that may end one before anything is looked up; pieces
of a packet wait for the others.

The slow twin of outer.c, uplink.c, inner.c and reassemble.c.
"""

from typing import NamedTuple

from tests.oracle import dhcp, geneve, tunnel
from tests.oracle.decision import Key, num
from tests.oracle.errors import quoted_key
from tests.oracle.ipv4 import (
    ECHO,
    ECHO_REPLY,
    ERRORS,
    ICMP,
    MF,
    OFFSET,
    TCP,
    UDP,
    Ip,
    header,
    right,
)

NEVER = {0, 127, *range(224, 256)}  # first bytes of what is never on the wire here


class DroppedError(Exception):
    """Why a packet ended."""


class HeldError(Exception):
    """A piece that waits for the others."""


class Arrived(NamedTuple):
    """A packet on its way through, and what is known of it."""

    ip: Ip
    key: Key
    vni: int = 0
    tep: int = 0
    looped: bool = False
    error: bool = False
    widest: int = 0  # of the pieces with DF in which it came; 0: it came in none
    made: bool = False  # by the gateway
    told: bool = False  # by resets that its session has ended; or it asks for their numbers
    own: bool = True  # the frame itself: not what was made about it
    place: int = 0  # in its burst


class Entrance:
    """Of the twin: it has `policy`, `up_mac`, `down_mac`, `segment_in`, `reassembly`, `paths`,
    `now_s`, lose() and `arrived`, for what may go on."""

    def arrive(self, role: str, frame: bytes) -> None:
        if role == "uplink":
            self.from_uplink(frame)
            return
        ours = num(self.policy.local.tep_be)
        ip = tunnel.underlay(frame, self.down_mac, ours, DroppedError)
        if ip.proto == ICMP:
            self.paths.read(ip, self.policy, DroppedError)
        plain = frame[14] == 0x45
        if ip.frag & (MF | OFFSET):
            if ip.src not in self.policy.teps:  # only whom we know may fill our memory
                raise DroppedError("TEP_UNKNOWN")
            ip, plain = self.joined(ip, "outer"), True
        tep, ecn, data = tunnel.inside(ip, plain, DroppedError)
        head = geneve.read(data, self.policy.segments.keys() if tep in self.policy.teps else set())
        if head.reason not in ("GENEVE_SHORT", "GENEVE_VERSION") and tep not in self.policy.teps:
            raise DroppedError("TEP_UNKNOWN")
        if head.reason:
            raise DroppedError(head.reason)
        self.segment_in[head.vni] += 1
        self.from_segment(head.vni, tep, ecn, data[head.inner_at :])

    def from_segment(self, vni: int, tep: int, ecn: int, inner: bytes) -> None:
        seg = self.policy.segments[vni]
        if len(inner) < 14:
            raise DroppedError("FRAME_SHORT")
        broadcast = inner[0] & 1
        if inner[12:14] != b"\x08\0":
            raise DroppedError("ETHERTYPE")
        if inner[:6] != seg.gateway_mac and not broadcast:
            raise DroppedError("MAC_NOT_OURS")
        ip = self.whole(inner[14:])
        ip = tunnel.congestion(ip, ecn, DroppedError)
        if dhcp.is_piece(self.policy, vni, tep, inner, ip):
            ip = self.joined(ip, "dhcp", vni, inner[6:12])
        dhcp.judge(self.policy, vni, tep, inner, ip, DroppedError)
        self.possible(ip)
        if broadcast:  # RFC 1812 section 5.3.4
            raise DroppedError("MAC_NOT_OURS")
        self.forward(ip, seg.vrf, uplink=False, vni=vni, tep=tep)

    def joined(self, ip: Ip, *where) -> Ip:
        """The whole datagram that this piece completes."""
        found = self.reassembly.put(ip.whole(), self.now_s, where)
        self.piece |= not isinstance(found, tuple) or found[0] != "FRAGMENT_BAD"
        if found == "held":
            raise HeldError
        if isinstance(found, tuple):
            reason, frames = found
            self.lose(reason, frames - 1)
            raise DroppedError(reason)
        return header(found)

    def from_uplink(self, frame: bytes) -> None:
        if len(frame) < 14:
            raise DroppedError("FRAME_SHORT")
        if frame[:6] != self.up_mac:
            raise DroppedError("MAC_NOT_OURS")
        if frame[12:14] != b"\x08\0":
            raise DroppedError("ETHERTYPE")
        self.owned(frame[14:], looped=False)

    def owned(self, data: bytes, looped: bool, **was) -> None:
        """was: known of it before it was turned round."""
        if len(data) < 20:
            raise DroppedError("IP_BAD")
        vrf = self.policy.owner(int.from_bytes(data[16:20]))
        if vrf is None:
            raise DroppedError("NOT_OWNED")
        ip = self.whole(data)
        self.possible(ip)
        if not looped and self.policy.forged(vrf, ip.src):
            raise DroppedError("UPLINK_SPOOFED")
        self.forward(ip, vrf, uplink=True, looped=looped, **was)

    def whole(self, data: bytes) -> Ip:
        if len(data) < 20:
            raise DroppedError("IP_BAD")
        if data[0] != 0x45:
            raise DroppedError("IP_OPTIONS" if data[0] >> 4 == 4 and data[0] & 15 > 5 else "IP_BAD")
        length = int.from_bytes(data[2:4])
        if not 20 <= length <= len(data):
            raise DroppedError("IP_BAD")
        if not right(data[:20]):
            raise DroppedError("IP_CHECKSUM")
        return header(data[:length])

    def possible(self, ip: Ip) -> None:
        if ip.src >> 24 in NEVER or ip.dst >> 24 in NEVER:
            raise DroppedError("IP_MARTIAN")
        if ip.src == ip.dst:
            raise DroppedError("LAND")

    def forward(self, ip: Ip, vrf: int, uplink: bool, widest: int = 0, **where) -> None:
        if ip.frag & (MF | OFFSET):
            port = self.policy.ports.get((vrf, ip.src))
            fits = port and self.policy.source_fits(port, where.get("tep"), where.get("vni"))
            if not uplink and not fits:
                raise DroppedError("SOURCE_SPOOFED")
            ip = self.joined(ip, uplink, vrf)
            widest = self.reassembly.widest
        self.lengths(ip)
        error = ip.proto == ICMP and ip.payload[0] in ERRORS
        if ip.proto == ICMP and not error and ip.payload[0] not in (ECHO, ECHO_REPLY):
            raise DroppedError("ICMP_UNSUPPORTED")
        if error:
            key = quoted_key(ip, vrf, uplink)
            if not key:
                raise DroppedError("L4_SHORT")
            if key.dst != ip.dst:  # RFC 1812 section 4.3.2: to whoever sent what it quotes
                raise DroppedError("ICMP_NO_SESSION")
        else:
            key = Key(vrf, uplink, ip.src, ip.dst, *ip.ports, ip.proto)
        self.arrived.append(Arrived(ip, key, error=error, widest=widest, **where))

    def lengths(self, ip: Ip) -> None:
        n, l4 = len(ip.payload), ip.payload
        if ip.proto == TCP and (n < 20 or not 20 <= (l4[12] >> 4) * 4 <= n):
            raise DroppedError("L4_SHORT")
        if ip.proto == UDP and (n < 8 or not 8 <= int.from_bytes(l4[4:6]) <= n):
            raise DroppedError("L4_SHORT")
        if ip.proto == ICMP and n < 8:
            raise DroppedError("L4_SHORT")
