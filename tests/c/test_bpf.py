"""bpf.c against libpcap: the same programs are refused, the same frames fit."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q

from pcg.cli import bpf
from pcg.datapath.lib import Datapath
from pcg.datapath.pack import CaptureWanted
from pcg.model.errors import BackendError
from tests.c import wire
from tests.c.packets import gre, ping, tcp, udp
from tests.c.places import SERVER, A, B
from tests.c.world import over
from tests.oracle import bpf as oracle

FRAMES = [
    wire.plain(udp(dst=SERVER.secondary)),
    wire.plain(tcp("S", sport=80)),
    wire.plain(tcp("A", dport=8080)),
    wire.plain(ping()),
    wire.plain(gre()),
    wire.plain(udp(frag=5)),
    wire.plain(udp(tos=0xB8, ttl=3)),
    wire.plain(ARP(pdst="10.99.1.11")),
    wire.plain(IPv6()),
    wire.plain(Dot1Q(vlan=5) / udp()),
    over(A, udp()),
    over(B, tcp("S", src=B.address, dport=443)),
    over(A, ping(), vni=9096),
    bytes(20),
    b"\xff" * 14,
    b"",
]
EXPRESSIONS = [
    "tcp",
    "not tcp",
    "udp port 53",
    "port 80 or port 8080",
    "portrange 8000-9000",
    "host 192.168.99.9",
    "src net 192.168.99.0/24 and dst port 53",
    "ether host 02:00:00:00:00:02",
    "ether multicast",
    "arp or icmp",
    "ip6",
    "vlan 5",
    "vlan 5 and udp",
    "ip proto 47",
    "tcp[tcpflags] & tcp-syn != 0 and tcp[tcpflags] & tcp-ack == 0",
    "ip[8] < 5",
    "ip[6:2] & 0x1fff != 0",
    "ip[1] & 0xfc >> 2 = 46",
    "less 60",
    "greater 100",
    "len / 4 * 4 = len",
    "(ip[2:2] - ((ip[0] & 0xf) << 2)) > 20",
    "icmp[icmptype] = icmp-echo",
    "udp[4:2] % 3 = 1",
    "geneve",
    "geneve 9000 and host 192.168.99.9",
    "udp port 6081 and udp[9:1] = 0",
]


SMALL = CaptureWanted(ring_bytes=65_536)  # quickly made


class Judge:
    """Our interpreter, asked through a capture: which of these frames does it take?"""

    def __init__(self, dp: Datapath) -> None:
        self.dp = dp

    def valid(self, program: bytes) -> bool:
        try:
            self.dp.capture_start(SMALL, program)
        except BackendError:
            return False
        return True

    def taken(self, program: bytes, frames: list[bytes]) -> list[bytes]:
        assert self.valid(program)
        self.dp.inject("uplink", frames)
        return [c.frame for c in self.dp.capture_read() if c.incoming]


@pytest.fixture
def judge(dp) -> Judge:
    return Judge(dp)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_libpcap_compiles_takes_what_libpcap_would(judge, expression):
    program = bpf.compiled(expression)
    wanted = [frame for frame in FRAMES if oracle.run(program, frame)]
    assert judge.taken(program, FRAMES) == wanted
    assert wanted != FRAMES, "it tells nothing apart"


def test_a_frame_cut_anywhere(judge):
    program = bpf.compiled("geneve 9000 and host 192.168.99.9 and udp port 53")
    frames = [FRAMES[10][:n] for n in range(len(FRAMES[10]) + 1)]
    wanted = [frame for frame in frames if oracle.run(program, frame)]
    assert wanted
    assert judge.taken(program, frames) == wanted


WORDS = [0, 1, 2, 3, 12, 15, 16, 20, 31, 255, 0x800, 0x7FFFFFFF, 0xFFFFFFFC, 0xFFFFFFFF]
LOADS = [0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x00, 0x01, 0x60, 0x61, 0x80, 0x81, 0xB1]
STORES, MISCELLANY = [0x02, 0x03], [0x07, 0x87]
ALU = [0x04 | op << 4 | x for op in range(0xB) for x in (0, 8) if (op, x) != (8, 8)]
JUMPS = [0x05, 0x15, 0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D]
CODES = LOADS + STORES + MISCELLANY + ALU + JUMPS
INSTRUCTION = st.tuples(
    st.sampled_from(CODES),
    st.integers(0, 5),
    st.integers(0, 5),
    st.one_of(st.sampled_from(WORDS), st.integers(0, 70)),
)
PROGRAM = st.lists(INSTRUCTION, max_size=30)
NOISE = st.tuples(
    st.integers(0, 0x1FF), st.integers(0, 255), st.integers(0, 255), st.sampled_from(WORDS)
)


def packed(instructions, returns=0x16) -> bytes:
    return b"".join(struct.pack("=HBBI", *i) for i in [*instructions, (returns, 0, 0, 0)])


# libpcap leaves its words as the stack had them: written first, so that both know them.
CLEARED = [(0x02, 0, 0, word) for word in range(16)]


def tame(instruction):
    """A shift by 32 or more has no meaning in libpcap's C: not asked."""
    code, jt, jf, k = instruction
    return (code, jt, jf, k & 31) if code in (0x64, 0x74) else instruction


@pytest.fixture(scope="module")
def one_judge(built):
    """For all examples: to open a datapath takes longer than to run a program."""
    with Datapath(sessions=1024, workload_addresses=1024, fresh=True) as dp:
        dp.nic_add("up0", "uplink")
        yield Judge(dp)


@settings(max_examples=300)
@given(instructions=PROGRAM)
def test_any_program_does_what_it_does_in_libpcap(one_judge, instructions):
    program = packed([*CLEARED, *map(tame, instructions)])
    if one_judge.valid(program):
        assert oracle.valid(program)
        wanted = [frame for frame in FRAMES if oracle.run(program, frame)]
        assert one_judge.taken(program, FRAMES) == wanted


@settings(max_examples=500)
@given(instructions=st.lists(st.one_of(NOISE, INSTRUCTION), max_size=8))
def test_what_libpcap_refuses_is_refused(one_judge, instructions):
    for program in (packed(instructions), packed(instructions)[:-8]):
        if program and not oracle.valid(program):
            assert not one_judge.valid(program)


BAD = {
    "does not end": [(0x30, 0, 0, 0)],
    "jumps behind its end": [(0x15, 9, 0, 0), (0x06, 0, 0, 0)],
    "jumps far behind its end": [(0x05, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)],
    "a word that is not there": [(0x02, 0, 0, 16), (0x06, 0, 0, 0)],
    "divides by zero": [(0x34, 0, 0, 0), (0x06, 0, 0, 0)],
    "no such operation": [(0xF4, 0, 0, 0), (0x06, 0, 0, 0)],
    "no such size": [(0x38, 0, 0, 0), (0x06, 0, 0, 0)],
    "too long": [(0x30, 0, 0, 0)] * 4096 + [(0x06, 0, 0, 0)],
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_bad_programs(judge, bad):
    assert not judge.valid(b"".join(struct.pack("=HBBI", *i) for i in bad))
