"""IPv4 fragments, cut and put together by dicts of bytes: the slow twin of reassemble.c and
fragment.c.
"""

import struct
from dataclasses import dataclass, field

from tests.oracle.checksum import checksum

DF, MF = 0x4000, 0x2000
DATA_MAX = 65535 - 20


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


class Reassembly:
    """put() says what became of a piece: "held", the whole packet, or (reason, frames ended)."""

    def __init__(self, timeout_s: float = 15) -> None:
        self.timeout_s = timeout_s
        self.table: dict[bytes, Datagram] = {}

    def expire(self, now_s: float) -> int:
        """Frames that waited too long."""
        late = [k for k, d in self.table.items() if now_s >= d.first_s + self.timeout_s]
        return sum(self.table.pop(k).held for k in late)

    def put(self, packet: bytes, now_s: float = 0):
        frag = struct.unpack("!H", packet[6:8])[0]
        at, more, data = (frag & 0x1FFF) * 8, bool(frag & MF), packet[20:]
        if not data or (more and len(data) % 8) or at + len(data) > DATA_MAX:
            return "FRAGMENT_BAD", 1
        key = packet[4:6] + packet[9:10] + packet[12:20]
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
        d.end = d.end if more else at + len(data)
        d.header = d.header if at else packet[:20]
        if d.end is None or len(d.data) < d.end:
            d.held += 1
            return "held"
        del self.table[key]
        return header(d.header, 20 + d.end, 0) + bytes(d.data[i] for i in range(d.end))


def joined(pieces: list[bytes]) -> bytes:
    """The one packet that these fragments are."""
    table = Reassembly()
    results = [table.put(one) for one in pieces]
    assert results[:-1] == ["held"] * (len(pieces) - 1), results
    assert isinstance(results[-1], bytes), results[-1]
    return results[-1]
