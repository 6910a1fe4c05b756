"""One interface by ethtool's ioctl: names in its string sets, features, the driver's statistics."""

import array
import fcntl
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from pcg.model.errors import BackendError

SIOCETHTOOL = 0x8946  # linux/sockios.h
# linux/ethtool.h
GSTRINGS, GSTATS, GSSET_INFO, GFEATURES, SFEATURES = 0x1B, 0x1D, 0x37, 0x3A, 0x3B
STATS, FEATURES = 1, 4  # ETH_SS_*
STRING_LEN = 32


class Ethtool:
    """One ioctl after the other on one interface."""

    def __init__(self, interface: str, sock: socket.socket) -> None:
        self.interface, self.sock = interface, sock

    def call(self, data: bytes) -> bytes:
        buffer = array.array("B", data)
        pointer, _ = buffer.buffer_info()
        request = struct.pack("16sP16x", self.interface.encode(), pointer)
        try:
            fcntl.ioctl(self.sock, SIOCETHTOOL, request)
        except PermissionError:
            mend = "run as root or give CAP_NET_ADMIN"
            raise BackendError(f"interface {self.interface}", "no permission", mend) from None
        except OSError as e:
            why = f"ethtool cannot read or set it: {e.strerror}"
            raise BackendError(f"interface {self.interface}", why) from None
        return buffer.tobytes()

    def names(self, which: int) -> list[str]:
        """Of a string set: of the features by bit, of the statistics by place."""
        info = self.call(struct.pack("=IIQI", GSSET_INFO, 0, 1 << which, 0))
        mask, n = struct.unpack_from("=QI", info, 8)
        if not mask:  # the driver has none
            return []
        head = struct.pack("=III", GSTRINGS, which, n)
        strings = self.call(head + bytes(n * STRING_LEN))[len(head) :]
        cut = (strings[i : i + STRING_LEN] for i in range(0, n * STRING_LEN, STRING_LEN))
        return [s.split(b"\0")[0].decode(errors="replace") for s in cut]

    def features(self, n: int) -> tuple[int, int]:
        """(can be changed, are on), as bit sets."""
        blocks = (n + 31) // 32
        answer = self.call(struct.pack("=II", GFEATURES, blocks) + bytes(16 * blocks))
        changeable = active = 0
        for i in range(blocks):
            available, _, on, never = struct.unpack_from("=IIII", answer, 8 + 16 * i)
            changeable |= (available & ~never) << (32 * i)
            active |= on << (32 * i)
        return changeable, active

    def switch_off(self, bits: int, n: int) -> None:
        blocks = (n + 31) // 32
        words = [bits >> (32 * i) & 0xFFFFFFFF for i in range(blocks)]
        body = b"".join(struct.pack("=II", valid, 0) for valid in words)
        self.call(struct.pack("=II", SFEATURES, blocks) + body)

    def statistics(self) -> dict[str, int]:
        """What the driver counts, by its own names; empty when it counts nothing."""
        names = self.names(STATS)
        if not names:
            return {}
        head = struct.pack("=II", GSTATS, len(names))
        answer = self.call(head + bytes(8 * len(names)))
        values = struct.unpack_from(f"={len(names)}Q", answer, len(head))
        return dict(zip(names, values, strict=True))


@contextmanager
def tool(interface: str) -> Iterator[Ethtool]:
    """Of the network namespace in which it is called."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield Ethtool(interface, sock)
