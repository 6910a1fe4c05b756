"""How large a packet reaches a tunnel endpoint: the search, and ICMP echo on the underlay, with DF.

Small ones tell whether the endpoint answers at all, so that loss is told from silence.
The path MTU that our kernel may have learnt is not asked: what is silently lost is looked for.
"""

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass

IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3  # linux/in.h: DF is set, and no path MTU is asked
HEADERS = 28  # IPv4 and ICMP
SMALL = 68  # RFC 791: what passes every link whole
STEP = 8  # bytes: how exactly the largest that passes is found
ECHO, REPLY = 8, 0
AT_ONCE = 32  # endpoints: their answers together fit any socket's buffer


@dataclass
class Search:
    """One endpoint: which size to send next, and what is known. `passed` 0: it is silent."""

    mtu: int  # that its packets are to have
    passed: int = 0
    lost: int = 0  # the smallest that was lost; 0: none
    small: int = SMALL

    def next(self) -> int | None:
        """Bytes of the next IP packet. None: it is over.

        >>> s, sizes = Search(9001), []
        >>> while size := s.next():
        ...     sizes.append(size)
        ...     s.told(size <= 1500)
        >>> sizes[:4], s.passed
        ([68, 9001, 4534, 2301], 1497)
        """
        if not self.passed:
            return None if self.lost else self.small
        if not self.lost:
            return self.mtu if self.passed < self.mtu else None
        return (self.passed + self.lost) // 2 if self.lost - self.passed > STEP else None

    def told(self, answered: bool) -> None:
        """What became of the size that next() named."""
        size = self.next()
        if answered:
            self.passed = size
        else:
            self.lost = size

    @property
    def verdict(self) -> str:
        """
        >>> Search(1500).verdict, Search(1500, passed=1500).verdict, Search(1500, 68, 1500).verdict
        ('silent', 'passes', 'loses')
        """
        if not self.passed:
            return "silent"
        return "loses" if self.lost else "passes"


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF ^ total


def echo(ident: int, sequence: int, size: int, data: bytes = b"") -> bytes:
    """An echo request that makes an IP packet of `size` bytes and begins with `data`."""
    body = struct.pack("!BBHHH", ECHO, 0, 0, ident, sequence)
    body += data + bytes(size - HEADERS - len(data))
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


class Prober:
    """Echo requests to addresses, and whose answers came: send() and collect() say how."""

    def __init__(self, wait_s: float = 0.5, tries: int = 3) -> None:
        self.wait_s, self.tries, self.sequence = wait_s, tries, 0
        self.ident = os.getpid() & 0xFFFF

    def run(self, searches: Mapping[str, Search]) -> None:
        """Until each endpoint is known."""
        addresses = list(searches)
        for some in (addresses[i : i + AT_ONCE] for i in range(0, len(addresses), AT_ONCE)):
            while sizes := {a: size for a in some if (size := searches[a].next())}:
                answered = self.round(sizes)
                for address in sizes:
                    searches[address].told(address in answered)

    def round(self, sizes: Mapping[str, int]) -> set[str]:
        """Who answered a packet of its size, of a few sent."""
        answered: set[str] = set()
        for _ in range(self.tries):
            missing = sizes.keys() - answered
            if not missing:
                break
            self.sequence = (self.sequence + 1) & 0xFFFF
            for address in missing:
                with contextlib.suppress(OSError):  # wider than our interface, or no route: lost
                    self.send(address, sizes[address])
            answered |= self.collect(missing)
        return answered

    def send(self, address: str, size: int) -> None:
        raise NotImplementedError

    def collect(self, addresses: Set[str]) -> set[str]:
        raise NotImplementedError


class UnderlayProber(Prober):
    """From one of our addresses, as any program does. Raises OSError where that may not be done."""

    def __init__(self, source: str, **given) -> None:
        super().__init__(**given)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        self.socket.bind((source, 0))
        self.socket.setblocking(False)

    def __enter__(self) -> "UnderlayProber":
        return self

    def __exit__(self, *_exc) -> None:
        self.socket.close()

    def send(self, address: str, size: int) -> None:
        self.socket.sendto(echo(self.ident, self.sequence, size), (address, 0))

    def collect(self, addresses: Set[str]) -> set[str]:
        end, came = time.monotonic() + self.wait_s, set()
        while came < addresses and (left := end - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                break
            packet, (source, _) = self.socket.recvfrom(65536)
            kind, _, _, *ours = struct.unpack_from("!BBHHH", packet, (packet[0] & 15) * 4)
            if kind == REPLY and ours == [self.ident, self.sequence] and source in addresses:
                came.add(source)
        return came
