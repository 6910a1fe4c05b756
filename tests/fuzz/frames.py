"""Random frames: valid ones of every kind, and what becomes of them when bytes change.

Everything comes from random.Random(seed), so a failure repeats. scapy builds the valid frames once;
after that only bytes are moved.
"""

import random
import struct
from collections.abc import Iterator
from pathlib import Path

from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.l2 import ARP
from scapy.utils import rdpcap

from tests.c import dhcp, wire
from tests.c.packets import gre, ping, tcp, udp
from tests.c.places import (
    DOWN_MAC,
    GATEWAY,
    NET,
    NEWCOMER,
    SERVER,
    TEP,
    TWIN,
    VMS,
    WEB,
    WHOLE,
    A,
    B,
    ip,
    mac,
)
from tests.c.world import over
from tests.oracle.fragments import cut

CAPTURES = Path(__file__).parents[1] / "c" / "captures"
INTERESTING = bytes([0, 1, 2, 4, 5, 6, 8, 17, 20, 0x40, 0x45, 0x46, 0x7F, 0x80, 0xFE, 0xFF])
LONGEST = 9216
INNER = 14 + 20 + 8 + 8 + 8 + 14  # where the inner IP header is, behind our option


def error_about(packet: IP, src: str, dst: str) -> IP:
    return IP(src=src, dst=dst) / ICMP(type=3, code=4) / bytes(packet)


def of_the_overlay() -> list[bytes]:
    to = NET, B.address, SERVER.elastic
    packets = [make(vm.address, dst) for vm in VMS for make in (udp, ping, gre) for dst in to]
    packets += [tcp(flags, A.address, NET) for flags in ("S", "A", "SA", "FA", "R", "")]
    packets += [error_about(udp(NET, A.address), A.address, NET)]
    frames = [over(next(vm for vm in VMS if vm.address == p.src), p) for p in packets]
    asked = ARP(op=1, psrc=A.address, hwsrc=A.mac, pdst=GATEWAY[WEB][0])
    frames += [over(A, asked, vni=WEB), over(A, ping(dst=GATEWAY[WEB][0]), vni=WEB)]
    frames += [over(A, udp(data=bytes(n))) for n in (1400, 8915)]
    return frames + fragments_of_the_overlay() + [path_mtu_told()] + of_dhcp()


def of_dhcp() -> list[bytes]:
    """Requests; without a checksum, so that what a changed byte means is looked at."""
    bare = {"udp": {"chksum": 0}}
    packets = [dhcp.ask(vm, **bare) for vm in (NEWCOMER, A)]
    packets += [dhcp.ask(A, "request", A.address, GATEWAY[WEB][0], ciaddr=A.address, **bare)]
    packets += [dhcp.ask(giaddr="10.0.0.1", **bare), dhcp.ask(ports=(67, 68), op=2, **bare)]
    frames = [dhcp.asked(NEWCOMER, p) for p in packets] + [dhcp.asked(A, p) for p in packets[1:3]]
    pieces = cut(bytes(dhcp.ask(**bare)), 120)
    frames += [dhcp.asked(packet=p, inner={"type": 0x0800}) for p in pieces]
    return [*frames, over(A, udp(dst=B.address, sport=67, dport=68))]


def fragments_of_the_overlay() -> list[bytes]:
    """Inside tunnels, and of one."""
    whole = over(A, udp(dst=B.address, data=bytes(900)), outer={"flags": 0, "id": 9})
    inner = cut(bytes(udp(dst=B.address, data=bytes(900))), 316)
    frames = [over(A, piece, inner={"type": 0x0800}) for piece in inner]
    return frames + [whole[:14] + piece for piece in cut(whole[14:], 316)]


def path_mtu_told(mtu: int = 1000) -> bytes:
    about = over(A, udp(), outer={"src": TEP, "dst": B.tep}, udp={"sport": 50000})[14:62]
    error = IP(src="10.99.3.1", dst=TEP) / ICMP(type=3, code=4, nexthopmtu=mtu)
    about = about[:2] + struct.pack("!H", 8000) + about[4:]
    return wire.plain(error / about, dst=DOWN_MAC)


def of_the_uplink() -> list[bytes]:
    to = SERVER.secondary, TWIN.secondary, WHOLE.secondary
    packets = [make(NET, dst) for make in (udp, ping, gre) for dst in to]
    packets += [udp(NET, SERVER.secondary, dport=7000 + i) for i in range(4)]
    packets += [tcp(flags, NET, dst) for flags in ("S", "A", "SA", "R") for dst in to]
    packets += [error_about(tcp("S", dst, NET), NET, dst) for dst in to]
    packets += [IP(src=NET, dst=SERVER.secondary) / TCP(dport=80) / bytes(8800)]
    packets += [ARP(op=1, psrc="10.99.1.1", pdst=dst) for dst in to]
    pieces = cut(bytes(udp(NET, SERVER.secondary, dport=7000, data=bytes(900))), 316)
    return [wire.plain(p) for p in packets] + [wire.plain(p, type=0x0800) for p in pieces]


def captured() -> list[bytes]:
    """What Open vSwitch sent, addressed to us."""
    files = sorted(CAPTURES.glob("*.pcap"))
    frames = [bytes(packet) for file in files for packet in rdpcap(str(file))]
    return [mac(DOWN_MAC) + frame[6:30] + ip(TEP) + frame[34:] for frame in frames]


def mended(frame: bytearray, at: int = 14) -> None:
    """A right checksum of the IP header there, so that what is behind it is looked at."""
    if len(frame) < at + 20:
        return
    frame[at + 10 : at + 12] = b"\0\0"
    total = sum(struct.unpack_from("!10H", frame, at))
    total = (total & 0xFFFF) + (total >> 16)
    frame[at + 10 : at + 12] = struct.pack("!H", 0xFFFF ^ ((total & 0xFFFF) + (total >> 16)))


def fitted(frame: bytearray) -> None:
    """Outer lengths that fit the frame."""
    if len(frame) >= 42:
        frame[16:18] = struct.pack("!H", len(frame) - 14)
        frame[38:40] = struct.pack("!H", len(frame) - 34)


class Mutator:
    """`next()`: a frame for a role, and the role."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.valid = {"downlink": of_the_overlay() + captured(), "uplink": of_the_uplink()}

    def bytes_changed(self, frame: bytearray) -> None:
        rnd, headers = self.random, min(len(frame), 160)
        for _ in range(rnd.choice((1, 1, 1, 2, 3, 8))):
            at = rnd.randrange(headers)
            frame[at] = rnd.choice((rnd.choice(INTERESTING), rnd.randrange(256)))

    def bit_flipped(self, frame: bytearray) -> None:
        frame[self.random.randrange(min(len(frame), 160))] ^= 1 << self.random.randrange(8)

    def cut(self, frame: bytearray) -> None:
        del frame[self.random.randrange(len(frame)) :]

    def grown(self, frame: bytearray) -> None:
        more = self.random.randbytes(self.random.choice((1, 4, 64, 1500)))
        at = self.random.randrange(len(frame) + 1)
        frame[at:at] = more
        del frame[LONGEST:]

    def spliced(self, frame: bytearray) -> None:
        other = self.random.choice(self.valid[self.random.choice(("uplink", "downlink"))])
        at = self.random.randrange(len(frame))
        frame[at:] = other[self.random.randrange(len(other)) :]

    def noise(self, frame: bytearray) -> None:
        frame[:] = self.random.randbytes(self.random.randrange(200))

    def one(self, role: str) -> bytes:
        rnd = self.random
        frame = bytearray(rnd.choice(self.valid[role]))
        changes = (self.bytes_changed, self.bit_flipped, self.cut, self.grown, self.spliced)
        for _ in range(rnd.choice((0, 1, 1, 1, 2, 3))):
            if frame:
                rnd.choice(changes)(frame)
        if rnd.random() < 0.02:
            self.noise(frame)
        if rnd.random() < 0.8:
            self.mend(frame, role)
        return bytes(frame[:LONGEST])

    def mend(self, frame: bytearray, role: str) -> None:
        if role == "downlink":
            if self.random.random() < 0.5:
                fitted(frame)
            if len(frame) >= 42:
                frame[40:42] = b"\0\0"  # no UDP checksum
            mended(frame, INNER)
        mended(frame)

    def batches(self, frames: int, size: int = 256) -> Iterator[tuple[str, list[bytes]]]:
        for at in range(0, frames, size):
            role = self.random.choice(("uplink", "downlink"))
            yield role, [self.one(role) for _ in range(min(size, frames - at))]
