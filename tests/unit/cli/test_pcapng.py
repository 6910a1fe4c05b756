"""pcapng: read back by two programs that have nothing of ours."""

import io
import subprocess

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgReader, RawPcapNgReader

from pcg.cli.pcapng import Counted, Interface, Packet, Writer

BEGAN = 1_700_000_000_123_456_789
FRAME = bytes(Ether(dst="02:00:00:00:00:02") / IP(dst="8.8.8.8") / UDP() / b"x")
INTERFACES = [
    Interface("down0", "PCG downlink", bytes.fromhex("020000000001")),
    Interface("up0", "PCG uplink", bytes.fromhex("020000000002")),
]
FATE = "dropped: NO_ROUTE (no route, naïve), NAT rule snat-all"
PACKETS = [
    Packet(0, BEGAN, FRAME, len(FRAME), True, 7, 0, 0, "sent, session 4"),
    Packet(1, BEGAN + 1, FRAME, len(FRAME), False, 7, 0, 0, "sent, session 4"),
    Packet(1, BEGAN + 10**9, FRAME[:41], 1500, True, 1 << 60, 15, 12, FATE),
]


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "x.pcapng"
    with open(path, "wb") as out:
        writer = Writer(out, INTERFACES, "pcgctl", "Linux", "what was asked", "udp", 0)
        writer.packets(PACKETS[:1])
        writer.packets(PACKETS[1:])
        counted = [Counted(10, 1, 0, 1), Counted(20, 14, 12, 2)]
        writer.end(BEGAN, BEGAN + 2 * 10**9, counted)
    return path


def test_scapy_reads_it(written):
    with PcapNgReader(str(written)) as reader:
        packets = list(reader)
    assert [bytes(p) for p in packets] == [p.frame for p in PACKETS]
    assert [p.comment for p in packets] == [p.comment.encode() for p in PACKETS]
    assert [p.direction for p in packets] == [1, 2, 1]
    assert [p.sniffed_on for p in packets] == ["down0", "up0", "up0"]
    assert [p.wirelen for p in packets] == [p.length for p in PACKETS]
    assert [int(p.time * 10**9) for p in packets] == [p.at_ns for p in PACKETS]


def tshark(path, *fields: str) -> list[list[str]]:
    argv = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=|"]
    argv += [word for field in fields for word in ("-e", field)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [line.split("|") for line in done.stdout.splitlines()]


def test_wireshark_reads_it(written):
    rows = tshark(
        written,
        "frame.interface_name",
        "frame.packet_flags_direction",
        "frame.len",
        "frame.time_epoch",
        "frame.comment",
        "frame.packet_id",
        "frame.interface_queue",
    )
    assert [row[:3] for row in rows] == [
        ["down0", "0x00000001", str(len(FRAME))],
        ["up0", "0x00000002", str(len(FRAME))],
        ["up0", "0x00000001", "1500"],
    ]
    assert [row[3].replace(".", "") for row in rows] == [str(p.at_ns) for p in PACKETS]
    assert [row[4] for row in rows] == [p.comment for p in PACKETS]
    assert [row[5:] for row in rows] == [["7", "0"], ["7", "0"], [str(1 << 60), "15"]]


def test_capinfos_tells_the_interfaces_apart(written):
    said = subprocess.run(["capinfos", str(written)], capture_output=True, text=True, check=True)
    said = said.stdout
    for words in ("Number of packets:   3", "Name = down0", "Name = up0", "Filter string = udp"):
        assert words in said
    assert said.count("Number of stat entries = 1") == 2
    assert "Capture comment:     what was asked" in said


def test_every_block_stands_whole_in_the_file(written):
    """Cut between two blocks it is still a capture, as after a machine that lost its power."""
    data, at, ends = written.read_bytes(), 0, []
    while at < len(data):
        at += int.from_bytes(data[at + 4 : at + 8], "little")
        assert data[at - 4 : at] == data[ends[-1] + 4 : ends[-1] + 8] if ends else True
        ends.append(at)
    assert at == len(data)
    for end in ends[3:]:
        assert len(list(RawPcapNgReader(io.BytesIO(data[:end])))) in (1, 2, 3)


def test_a_long_comment_is_cut_to_what_an_option_holds():
    out = io.BytesIO()
    Writer(out, INTERFACES, "pcgctl", "Linux").packets([PACKETS[0]._replace(comment="x" * 70_000)])
    out.seek(0)
    (packet,) = PcapNgReader(out)
    assert len(packet.comment) == 0xFFFF
