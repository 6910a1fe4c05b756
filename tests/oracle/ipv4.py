"""IPv4 packets as values, changed the slow way: fields by name, checksums as the RFCs say."""

import struct
from dataclasses import dataclass, replace

from tests.oracle.checksum import checksum, ones_sum, pseudo, update

ICMP, TCP, UDP = 1, 6, 17
ECHO_REPLY, UNREACHABLE, ECHO, TIME, PARAMETER = 0, 3, 8, 11, 12
ERRORS = (UNREACHABLE, TIME, PARAMETER)
DF, MF, OFFSET = 0x4000, 0x2000, 0x1FFF
FIN, SYN, RST, ACK = 1, 2, 4, 16
SUM_AT = {TCP: 16, UDP: 6, ICMP: 2}


@dataclass(frozen=True, slots=True)
class Ip:
    src: int
    dst: int
    proto: int
    payload: bytes
    ttl: int = 64
    tos: int = 0
    id: int = 0
    frag: int = 0
    sum: int | None = None  # None: the right one

    @property
    def length(self) -> int:
        return 20 + len(self.payload)

    def whole(self) -> bytes:
        head = struct.pack(
            "!BBHHHBBHII", 0x45, self.tos, self.length, self.id, self.frag, self.ttl, self.proto,
            0, self.src, self.dst,
        )  # fmt: skip
        total = checksum(head) if self.sum is None else self.sum
        return head[:10] + struct.pack("!H", total) + head[12:] + self.payload

    @property
    def ports(self) -> tuple[int, int]:
        """As RFC 4787 and 5508 use them: of ICMP queries the identifier stands for both."""
        if self.proto in (TCP, UDP):
            return struct.unpack("!HH", self.payload[:4])
        if self.proto == ICMP:
            return (struct.unpack("!H", self.payload[4:6])[0],) * 2
        return 0, 0


def header(data: bytes) -> Ip:
    """The header that stands there, and all that follows it; its length field is not asked."""
    _, tos, _, id_, frag, ttl, proto, total, src, dst = struct.unpack("!BBHHHBBHII", data[:20])
    return Ip(src, dst, proto, data[20:], ttl, tos, id_, frag, total)


def _sum_changed(ip: Ip, l4: bytes, old: bytes, new: bytes) -> bytes:
    """The transport checksum follows a change (RFC 1624). UDP: zero says there is none (RFC 768).
    What is quoted may end before it."""
    at = SUM_AT.get(ip.proto)
    if at is None or len(l4) < at + 2:
        return l4
    now = int.from_bytes(l4[at : at + 2])
    if ip.proto == UDP and not now:
        return l4
    changed = update(now, old, new)
    if ip.proto == UDP and not changed:
        changed = 0xFFFF
    return l4[:at] + struct.pack("!H", changed) + l4[at + 2 :]


def changed(ip: Ip, side: str, address: int, port: int | None = None) -> Ip:
    """With another source or destination; port (or identifier) None: it stays."""
    old, new = struct.pack("!I", getattr(ip, side)), struct.pack("!I", address)
    covered = ip.proto in (TCP, UDP)  # ICMP has no pseudo header
    l4 = _sum_changed(ip, ip.payload, old, new) if covered else ip.payload
    if port is not None and ip.proto in SUM_AT:
        at = 4 if ip.proto == ICMP else {"src": 0, "dst": 2}[side]
        l4 = _sum_changed(ip, l4, l4[at : at + 2], struct.pack("!H", port))
        l4 = l4[:at] + struct.pack("!H", port) + l4[at + 2 :]
    total = ip.sum if ip.sum is None else update(ip.sum, old, new)
    return replace(ip, **{side: address}, payload=l4, sum=total)


def older(ip: Ip) -> Ip:
    return replace(ip, ttl=ip.ttl - 1, sum=None)


def transport(src: int, dst: int, proto: int, head: bytes, data: bytes = b"", **ip) -> Ip:
    """`head` with a zero checksum; the right one is put in."""
    at, l4 = SUM_AT[proto], head + data
    start = 0 if proto == ICMP else pseudo(
        struct.pack("!I", src), struct.pack("!I", dst), proto, len(l4)
    )  # fmt: skip
    total = checksum(l4, start)
    if proto == UDP and not total:
        total = 0xFFFF
    return Ip(src, dst, proto, l4[:at] + struct.pack("!H", total) + l4[at + 2 :], **ip)


def udp(src: int, dst: int, sport: int, dport: int, data: bytes = b"", **ip) -> Ip:
    head = struct.pack("!HHHH", sport, dport, 8 + len(data), 0)
    return transport(src, dst, UDP, head, data, **ip)


def tcp(src, dst, sport: int, dport: int, flags: int, seq=1, ack=0, data=b"", options=b"", **ip):
    """options: a multiple of 4 bytes."""
    offset = 5 + len(options) // 4 << 4
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, offset, flags, 0, 0, 0)
    return transport(src, dst, TCP, head, options + data, **ip)


def icmp(src: int, dst: int, kind: int, code: int, rest: bytes, data: bytes = b"", **ip) -> Ip:
    return transport(src, dst, ICMP, struct.pack("!BBH", kind, code, 0) + rest, data, **ip)


def right(data: bytes) -> bool:
    """A whole with its checksum in it sums to ones."""
    return ones_sum(data) == 0xFFFF
