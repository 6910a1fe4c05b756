"""A golden scenario on disk: NAME.in.pcap, what came; NAME.out.pcap, what left; NAME.txt, in words.

A frame that came is stamped with the second of the scenario's clock and its number in tens of
microseconds; what left because of it has the same time and one microsecond more for each. So the
two merge into one capture in the order in which things happened.
"""

import struct
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.utils import PcapReader, PcapWriter

from tests.c.places import DOWN_MAC, UP_MAC, mac
from tests.golden.scenarios import DOWN, UP, Frame
from tests.oracle.checksum import checksum, pseudo

HERE = Path(__file__).parent
STEP_US = 100
KINDS = {1: "ICMP", 6: "TCP", 17: "UDP", 47: "GRE"}
ANY_SPORT = (
    0xC000  # of a tunnel's outer header: the hash is keyed, and its value is nobody's concern
)


class Out(NamedTuple):
    role: str
    data: bytes


class Story(NamedTuple):
    """What one frame led to."""

    sent: list[Out]
    why: list[str]  # reasons, of it and of what was made


def _sum_at(frame: bytearray, at: int, to: int, start: int, where: int) -> None:
    frame[where : where + 2] = bytes(2)
    frame[where : where + 2] = struct.pack("!H", checksum(bytes(frame[at:to]), start) or 0xFFFF)


def _unnumbered(frame: bytearray, at: int) -> None:
    """A piece that we cut gets an identification of ours, at random: 0 for all of them."""
    if int.from_bytes(frame[at + 6 : at + 8]) & 0x3FFF:
        frame[at + 4 : at + 6] = bytes(2)
        frame[at + 10 : at + 12] = bytes(2)
        frame[at + 10 : at + 12] = struct.pack("!H", checksum(bytes(frame[at : at + 20])))


def settled(out: Out) -> Out:
    """With what is drawn at random set to one value, and the checksums over it made new."""
    frame = bytearray(out.data)
    if out.role == UP:
        _unnumbered(frame, 14)
        return Out(out.role, bytes(frame))
    assert int.from_bytes(frame[34:36]) >= ANY_SPORT
    _unnumbered(frame, 64 + 4 * (frame[42] & 0x3F))
    frame[34:36] = struct.pack("!H", ANY_SPORT)
    start = pseudo(bytes(frame[26:30]), bytes(frame[30:34]), 17, len(frame) - 34)
    _sum_at(frame, 34, len(frame), start, 40)
    return Out(out.role, bytes(frame))


def write(name: str, frames: list[Frame], stories: list[Story], totals: dict[str, int]) -> None:
    with _writer(name, "in") as came, _writer(name, "out") as left:
        for n, (frame, story) in enumerate(zip(frames, stories, strict=True)):
            _put(came, frame.data, frame.at_s, n * STEP_US)
            for i, out in enumerate(story.sent):
                _put(left, out.data, frame.at_s, n * STEP_US + 1 + i)
    (HERE / f"{name}.txt").write_text(in_words(frames, stories, totals))


def _writer(name: str, which: str) -> PcapWriter:
    writer = PcapWriter(str(HERE / f"{name}.{which}.pcap"), linktype=1, sync=True)
    writer.write_header(None)
    return writer


def _put(writer: PcapWriter, data: bytes, second: int, us: int) -> None:
    writer.write_packet(data, sec=second, usec=us)


def in_words(frames: list[Frame], stories: list[Story], totals: dict[str, int]) -> str:
    lines = []
    for n, (frame, story) in enumerate(zip(frames, stories, strict=True), 1):
        lines.append(f"{n:3} {frame.at_s:4} s  {frame.role:8}    {words(frame.data)}")
        lines += [f"             -> {out.role:8} {words(out.data)}" for out in story.sent]
        lines += [f"             -- {reason}" for reason in story.why]
        if not story.sent and not story.why:
            lines.append("             .. waits for other pieces")
    lines.append(", ".join(f"{name} {n}" for name, n in totals.items()))
    return "\n".join(lines) + "\n"


def words(frame: bytes) -> str:
    """Of the innermost packet, and its length."""
    if frame[12:14] == b"\x08\0" and frame[23] == 17 and frame[36:38] == b"\x17\xc1":
        if not int.from_bytes(frame[20:22]) & 0x1FFF:
            vni, options = int.from_bytes(frame[46:49]), 4 * (frame[42] & 0x3F)
            marks = f", outer tos {frame[15]:#04x}" if frame[15] else ""
            return f"VNI {vni:5} {packet(IP(frame[64 + options :]))}{marks}"
    return f"          {packet(IP(frame[14:]))}"


def packet(ip: IP) -> str:
    kind, at = KINDS.get(ip.proto, str(ip.proto)), ("", "")
    if ip.frag:
        kind += f" piece at {ip.frag * 8}"
    elif UDP in ip or TCP in ip:
        at = f":{ip.payload.sport}", f":{ip.payload.dport}"
    if not ip.frag and TCP in ip:
        kind += f" {ip[TCP].flags} " + " ".join(
            f"MSS {v}" for k, v in ip[TCP].options if k == "MSS"
        )
    elif not ip.frag and ICMP in ip:
        kind += f" {ip[ICMP].type}/{ip[ICMP].code}"
    more = f" {ip.flags}" if "MF" in str(ip.flags) else ""
    tos = f" tos {ip.tos:#04x}" if ip.tos else ""
    return (
        f"{ip.src}{at[0]} > {ip.dst}{at[1]} {kind.strip()}{more}{tos}, {ip.len} bytes, TTL {ip.ttl}"
    )


def reasons(name: str) -> tuple[list[list[str]], dict[str, int]]:
    """By frame, why packets ended; and the totals at the end."""
    *lines, last = (HERE / f"{name}.txt").read_text().splitlines()
    found: list[list[str]] = []
    for line in lines:
        if line[:3].strip():
            found.append([])
        elif line.strip().startswith("-- "):
            found[-1].append(line.split()[1])
    return found, {word.split()[0]: int(word.split()[1]) for word in last.split(", ")}


def read(name: str) -> tuple[list[Frame], dict[int, list[Out]]]:
    """The frames that came; what left, by the number of the frame that it was for."""
    frames = [Frame(_role(data, came=True), data, second) for second, _, data in _read(name, "in")]
    left = defaultdict(list)
    for _, us, data in _read(name, "out"):
        left[us // STEP_US].append(Out(_role(data, came=False), data))
    return frames, left


def _role(frame: bytes, came: bool) -> str:
    ours = frame[:6] if came else frame[6:12]
    assert ours in (mac(UP_MAC), mac(DOWN_MAC))
    return UP if ours == mac(UP_MAC) else DOWN


def _read(name: str, which: str) -> list[tuple[int, int, bytes]]:
    with PcapReader(str(HERE / f"{name}.{which}.pcap")) as packets:
        return [(int(p.time), round(float(p.time % 1) * 1e6), bytes(p)) for p in packets]
