"""Offloads of an interface, by ethtool's ioctl.

The datapath takes frames as they are on the wire. What merges them (GRO, LRO), hands them over
unsplit (TSO, GSO) or with an unfinished checksum (a veth's "offload" is to leave that to nobody)
must be off on an interface it takes.
"""

import array
import fcntl
import socket
import struct

from pcg.model.errors import BackendError

SIOCETHTOOL = 0x8946  # linux/sockios.h
# linux/ethtool.h
GSTRINGS, GSSET_INFO, GFEATURES, SFEATURES = 0x1B, 0x37, 0x3A, 0x3B
ETH_SS_FEATURES = 4
STRING_LEN = 32
MERGE_OR_SPLIT = ("gro", "lro", "segmentation", "gso")
HARMLESS = ("tx-gso-robust", "tx-gso-partial")  # say how segmenting is done, not that it is
CHECKSUM = "tx-checksum-"


def unwanted(feature: str, veth: bool) -> bool:
    """
    >>> unwanted("rx-gro", False), unwanted("tx-checksum-ip-generic", False)
    (True, False)
    """
    if feature in HARMLESS:
        return False
    parts = feature.split("-")
    return any(p in MERGE_OR_SPLIT for p in parts) or (veth and feature.startswith(CHECKSUM))


class _Ethtool:
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
            why = f"its offloads cannot be read or set: {e.strerror}"
            raise BackendError(f"interface {self.interface}", why) from None
        return buffer.tobytes()

    def names(self) -> list[str]:
        """Names of the features, by bit."""
        info = self.call(struct.pack("=IIQI", GSSET_INFO, 0, 1 << ETH_SS_FEATURES, 0))
        n = struct.unpack_from("=I", info, 16)[0]
        head = struct.pack("=III", GSTRINGS, ETH_SS_FEATURES, n)
        strings = self.call(head + bytes(n * STRING_LEN))[len(head) :]
        cut = (strings[i : i + STRING_LEN] for i in range(0, n * STRING_LEN, STRING_LEN))
        return [s.split(b"\0")[0].decode() for s in cut]

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


def active_offloads(interface: str, veth: bool) -> list[str]:
    """Names of those that are on and should not be."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        tool = _Ethtool(interface, sock)
        names = tool.names()
        _, active = tool.features(len(names))
        return [n for i, n in enumerate(names) if active >> i & 1 and unwanted(n, veth)]


def switch_off(interface: str, veth: bool) -> bool:
    """Switch off and verify. Returns whether anything was on; BackendError when it stays on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        tool = _Ethtool(interface, sock)
        names = tool.names()
        changeable, active = tool.features(len(names))
        bits = sum(1 << i for i, name in enumerate(names) if unwanted(name, veth))
        if not active & bits:
            return False
        tool.switch_off(active & bits & changeable, len(names))
        _, active = tool.features(len(names))
        left = [n for i, n in enumerate(names) if (active & bits) >> i & 1]
    if left:
        why = f"offloads that merge or split frames stay on: {', '.join(left)}"
        raise BackendError(f"interface {interface}", why, "use another driver or interface")
    return True
