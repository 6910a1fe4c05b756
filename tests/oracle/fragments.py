"""IPv4 fragments, cut and put together by dicts of bytes: the slow twin of reassemble.c and
fragment.c.
"""

import struct
from collections import Counter
from dataclasses import dataclass, field

from tests.oracle.checksum import checksum

DF, MF = 0x4000, 0x2000
DATA_MAX = 65535 - 20
CE = 3  # RFC 3168: what IPv4's TOS says of congestion


def header(ip: bytes, length: int, frag: int) -> bytes:
    """The 20 bytes of `ip` with another total length and fragment field."""
    new = ip[:2] + struct.pack("!H", length) + ip[4:6] + struct.pack("!H", frag) + ip[8:10]
    new += bytes(2) + ip[12:20]
    return new[:10] + struct.pack("!H", checksum(new)) + new[12:]


def piece(ip: bytes, at: int, data: bytes, more: bool, df: bool = False) -> bytes:
    """One fragment of the packet with the header `ip`; `at` in bytes, a multiple of 8."""
    frag = (DF if df else 0) | (MF if more else 0) | at // 8
    return header(ip, 20 + len(data), frag) + data


def cut(packet: bytes, longest: int, df: bool = False) -> list[bytes]:
    """In order, none longer than `longest`.

    >>> [len(one) for one in cut(bytes([69]) + bytes(119), 60)]
    [60, 60, 40]
    """
    step = (longest - 20) // 8 * 8
    data = packet[20:]
    starts = range(0, len(data), step)
    return [piece(packet, at, data[at : at + step], at + step < len(data), df) for at in starts]


@dataclass
class Datagram:
    first_s: float
    held: int = 0
    end: int | None = None
    ended: bool = False
    header: bytes = b""
    data: dict[int, int] = field(default_factory=dict)  # where -> byte
    ecn: set[int] = field(default_factory=set)
    longest: int = 0  # of the pieces, as IP packets
    longest_df: int = 0  # of those with DF
    first: bytes = b""  # its first piece, once it is there

    def met(self, packet: bytes, frag: int) -> None:
        self.ecn.add(packet[1] & 3)
        self.longest = max(self.longest, len(packet))
        if frag & DF:
            self.longest_df = max(self.longest_df, len(packet))

    def whole(self) -> bytes | None:
        """Congestion that a piece met is the whole's (RFC 3168 section 5.3); None: it cannot be
        told, since a piece's sender does not speak ECN. DF as the longest piece had it."""
        if CE in self.ecn and 0 in self.ecn:
            return None
        tos = self.header[1] | (CE if CE in self.ecn else 0)
        head = self.header[:1] + bytes([tos]) + self.header[2:]
        frag = DF if self.longest == self.longest_df else 0
        return header(head, 20 + self.end, frag) + bytes(self.data[i] for i in range(self.end))


class Reassembly:
    """put() says what became of a piece: "held", the whole packet, or (reason, frames ended)."""

    def __init__(self, timeout_s: float = 15) -> None:
        self.timeout_s = timeout_s
        self.table: dict[tuple, Datagram] = {}
        self.joined = 0  # pieces that became part of another
        self.widest = 0  # of the last whole with DF: its longest piece

    @property
    def held(self) -> int:
        return sum(d.held for d in self.table.values())

    def expire(self, now_s: float) -> int:
        """Frames that waited too long."""
        return sum(d.held for _, d in self.late(now_s))

    def late(self, now_s: float) -> list[tuple[tuple, Datagram]]:
        """Datagrams of which pieces waited too long, and where they met: in order of age."""
        late = [k for k, d in self.table.items() if now_s >= d.first_s + self.timeout_s]
        return [(where, self.table.pop((where, name))) for where, name in late]

    def put(self, packet: bytes, now_s: float = 0, where: tuple = ()):
        """where: pieces that met elsewhere are of another datagram."""
        frag = struct.unpack("!H", packet[6:8])[0]
        at, more, data = (frag & 0x1FFF) * 8, bool(frag & MF), packet[20:]
        if not data or (more and len(data) % 8) or at + len(data) > DATA_MAX:
            return "FRAGMENT_BAD", 1
        key = where, packet[4:6] + packet[9:10] + packet[12:20]
        d = self.table.setdefault(key, Datagram(now_s))
        if d.ended:
            return "FRAGMENT_OVERLAP", 1
        new = dict(enumerate(data, at))
        past = d.end is not None and at + len(data) > d.end
        other_end = not more and d.end is not None and at + len(data) != d.end
        if (
            not past
            and not other_end
            and (more or d.end is not None)
            and not new.items() - d.data.items()
        ):
            return "FRAGMENT_DUPLICATE", 1
        short = not more and any(where >= at + len(data) for where in d.data)
        if past or other_end or short or new.keys() & d.data.keys():
            d.ended, held, d.held = True, d.held, 0
            return "FRAGMENT_OVERLAP", held + 1
        d.data |= new
        d.met(packet, frag)
        d.end = d.end if more else at + len(data)
        d.header = d.header if at else packet[:20]
        d.first = d.first if at else packet
        if d.end is None or len(d.data) < d.end:
            d.held += 1
            return "held"
        del self.table[key]
        self.joined, self.widest = self.joined + d.held, d.longest_df
        return d.whole() or ("ECN_CONGESTED", 1)


class Places:
    """How the places of one side are shared: the slow twin of shares.h. `kept`: in order of age."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.kept: list[tuple] = []  # (sender, what tells its datagrams apart)

    def begin(self, sender, name) -> None:
        """One more; when they are full, the oldest goes of whoever then holds most."""
        self.kept.append((sender, name))
        if len(self.kept) > self.places:
            held = Counter(who for who, _ in self.kept)
            most = max(held.values())
            self.kept.remove(next(one for one in self.kept if held[one[0]] == most))

    def end(self, sender, name) -> bool:
        there = (sender, name) in self.kept
        if there:
            self.kept.remove((sender, name))
        return there


def joined(pieces: list[bytes]) -> bytes:
    """The one packet that these fragments are."""
    table = Reassembly()
    results = [table.put(one) for one in pieces]
    assert results[:-1] == ["held"] * (len(pieces) - 1), results
    assert isinstance(results[-1], bytes), results[-1]
    return results[-1]
