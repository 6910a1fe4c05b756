"""How large a packet passes a tunnel, there and back: ICMP echo to workloads behind its endpoint.

It is sent as the datapath would send it, but by the kernel, from our TEP's address: a Geneve packet
on the workload's segment. The answer comes as everything of that workload does, and is found where
it ends in the datapath, which drops it: a capture shows it.

A host without distributed routing sends to us what is for the segment's gateway. One with it keeps
that, and sends to us what is for addresses elsewhere; so our TEP's address is tried as the sender,
too.
"""

import contextlib
import random
import socket
import struct
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from pcg.cli import bpf
from pcg.cli.kinds import GENEVE_PORT
from pcg.cli.look import Look
from pcg.cli.packets import ETHERNET, OPTION_CLASS, OPTION_TYPE
from pcg.cli.probe import (
    IP_MTU_DISCOVER,
    IP_PMTUDISC_PROBE,
    Prober,
    Search,
    checksum,
    echo,
)
from pcg.datapath.captured import Captured
from pcg.datapath.pack import CaptureWanted

SMALL = 128  # bytes of the tunnel packet
OVERHEAD, OPTION = 50, 8  # IPv4, UDP, Geneve, inner Ethernet; ours
WORKLOADS = 4  # behind one endpoint that are asked: some may be off, or answer no ping
HEADS = 400  # bytes of a captured frame: all headers, and which echo it answers
LOOK_S = 0.01
SPORTS = range(0xC000, 0x10000)  # RFC 8926 section 3.3


@dataclass(frozen=True)
class Door:
    """One way to be answered: a workload behind the endpoint, and as whom it is asked."""

    workload: str
    sender: str
    vni: int
    option: bytes
    mac: bytes
    gateway_mac: bytes
    mtu: int  # of the tunnel packet

    def packet(self, size: int, ident: int, sequence: int, number: int) -> bytes:
        """What the outer UDP header carries, in an outer packet of `size` bytes."""
        length = size - OVERHEAD - len(self.option)
        addresses = socket.inet_aton(self.sender) + socket.inet_aton(self.workload)
        ip = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0x4000, 64, 1, 0) + addresses
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        flags = 0x40 if self.option else 0  # a critical option is there
        geneve = struct.pack("!BBHI", len(self.option) // 4, flags, ETHERNET, self.vni << 8)
        frame = self.mac + self.gateway_mac + b"\x08\0" + ip
        return (
            geneve + self.option + frame + echo(ident, sequence, length, struct.pack("!I", number))
        )


def mac_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def doors(look: Look, mtus: Mapping[str, int]) -> dict[str, list[Door]]:
    """By endpoint; none for one that no workload with an address is behind. mtus: of each."""
    (local,) = look.table("local")
    segments = {s["vni"]: s for s in look.table("segments")}
    options = {t["address"]: t["option"] for t in look.table("teps")}
    ours = struct.pack("!HBBI", OPTION_CLASS, OPTION_TYPE, 1, local["label"])
    found: dict[str, list[Door]] = {tep: [] for tep in mtus}
    for port in look.table("ports"):
        segment = segments.get(port["vni"])
        if segment is None or port["tep"] not in found:
            continue
        option = ours if options[port["tep"]] else b""
        most = min(mtus[port["tep"]], segment["mtu"] + OVERHEAD + len(option))
        macs = mac_bytes(port["mac"]), mac_bytes(segment["gateway_mac"])
        for sender in segment["gateway"], local["tep"]:
            door = Door(port["address"], sender, port["vni"], option, *macs, most)
            found[port["tep"]].append(door)
    return {tep: widest(some) for tep, some in found.items()}


def widest(found: Sequence[Door]) -> list[Door]:
    """Those that the longest packets may be asked through."""
    most = max((door.mtu for door in found), default=0)
    return [door for door in found if door.mtu == most][: 2 * WORKLOADS]


def bind(sock: socket.socket, source: str) -> None:
    """To a port that the datapath could have taken: it believes ICMP about such packets alone, and
    so learns the path MTU that a router tells of ours."""
    for port in random.sample(SPORTS, 8):
        with contextlib.suppress(OSError):  # another program's
            sock.bind((source, port))
            return
    sock.bind((source, 0))  # says what is wrong


class TunnelProber(Prober):
    """Use it as a context: while it is open, the datapath captures. BackendError: somebody else
    does. OSError: our TEP's address is not here."""

    def __init__(self, look: Look, source: str, found: Mapping[str, list[Door]], **given) -> None:
        super().__init__(**given)
        self.client, self.doors = look.client, dict(found)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        bind(self.socket, source)
        wanted = CaptureWanted(roles=1, directions=1, inner=1, snaplen=HEADS)
        words = f"icmp[icmptype] = icmp-echoreply and icmp[4:2] = {self.ident}"
        self.token = self.client.capture_start(wanted, bpf.compiled(words))

    def __enter__(self) -> "TunnelProber":
        return self

    def __exit__(self, kind, *_exc) -> None:
        self.socket.close()
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
            self.client.capture_stop(self.token)

    def searches(self) -> dict[str, Search]:
        """For run(); an endpoint that has nobody to ask is not in it."""
        return {t: Search(some[0].mtu, small=SMALL) for t, some in self.doors.items() if some}

    def answered(self, address: str) -> str:
        """By which workload."""
        return self.doors[address][0].workload

    def send(self, address: str, size: int) -> None:
        for number, door in enumerate(self.doors[address]):
            data = door.packet(size, self.ident, self.sequence, number)
            self.socket.sendto(data, (address, GENEVE_PORT))

    def collect(self, addresses: Set[str]) -> set[str]:
        end, came = time.monotonic() + self.wait_s, set()
        while came < addresses and time.monotonic() < end:
            frames, _ = self.client.capture_read(self.token)
            for tep, number in filter(None, map(self.answer, frames)):
                if tep in addresses and tep not in came and number < len(self.doors[tep]):
                    came.add(tep)
                    self.doors[tep] = [self.doors[tep][number]]  # whoever answered is asked on
            if not frames:
                time.sleep(LOOK_S)
        return came

    def answer(self, seen: Captured) -> tuple[str, int] | None:
        """Whose, and by which door; None: to an earlier question."""
        icmp = seen.inner + 14 + 20
        _, _, sequence, number = struct.unpack_from("!HHHI", seen.frame.ljust(HEADS), icmp + 2)
        if not seen.inner or sequence != self.sequence:
            return None
        return socket.inet_ntoa(seen.frame[26:30]), number
