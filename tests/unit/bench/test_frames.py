"""Frames for the wire, as scapy reads them: every length and checksum right, also once stamped."""

import struct

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from bench import frames
from bench.frames import Macs, Tunnel
from bench.rows import IMIX_SIZES
from bench.world import FLOW, TRANSIT, World

MACS = Macs(bytes([2, 0, 0, 0, 0, 1]), bytes([2, 0, 0, 0, 0, 2]), bytes([2, 0, 0, 0, 0, 3]))
TUNNEL = Tunnel(bytes([10, 99, 0, 1]), frames.geneve(TRANSIT))


def made(way: str, size: int) -> bytes:
    flow = FLOW.unpack(next(getattr(World(), way)(1)))
    return next(frames.frames([flow], (size,), MACS, TUNNEL))


def stamped(frame: bytes) -> bytes:
    return frame[:-16] + struct.pack("=QQ", 12345678901234567, ~12345678901234567 & (2**64 - 1))


def assert_right(packet: IP) -> None:
    """Scapy makes both sums anew; they must be what was there."""
    anew = IP(bytes(packet))
    del anew.chksum, anew[UDP].chksum, anew.len, anew[UDP].len
    anew = IP(bytes(anew))
    assert (packet.chksum, packet.len) == (anew.chksum, anew.len)
    assert (packet[UDP].chksum, packet[UDP].len) == (anew[UDP].chksum, anew[UDP].len)


@pytest.mark.parametrize("size", [44, 64, 1500, 8942])
def test_plain(size):
    frame = stamped(made("south", size))
    assert frame[:6] == MACS.uplink
    assert len(frame) == 14 + size
    assert_right(Ether(frame)[IP])


@pytest.mark.parametrize("size", [44, 64, 1500, 8942])
def test_tunnelled(size):
    frame = stamped(made("north", size))
    outer = Ether(frame)[IP]
    assert len(frame) == 14 + 58 + size
    assert_right(outer)
    geneve = GENEVE(bytes(outer[UDP].payload))
    assert (geneve.vni, geneve.proto) == (TRANSIT, 0x6558)
    assert_right(Ether(frame[-size - 14 :])[IP])


@pytest.mark.parametrize("size", [42, 43, 65])
def test_sizes_that_cannot_be(size):
    with pytest.raises(ValueError, match="even and at least 44"):
        made("north", size)


def test_sizes_come_in_turn():
    flows = FLOW.iter_unpack(b"".join(World().south(20)))
    found = [len(frame) - 14 for frame in frames.frames(flows, IMIX_SIZES, MACS, TUNNEL)]
    assert found == [*IMIX_SIZES, *IMIX_SIZES[:8]]


def test_file():
    assert frames.as_file([b"abc", b""]) == struct.pack("=I3sI", 3, b"abc", 0)[:7] + bytes(4)
