"""Frames of UDP against scapy, both ways; checksums against the sum of words."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from pcg.wire import udp
from pcg.wire.udp import Datagram, FrameError

MACS = st.binary(min_size=6, max_size=6)
ADDRESSES = st.binary(min_size=4, max_size=4)
PORTS = st.integers(0, 65535)
datagrams = st.builds(
    Datagram, MACS, MACS, ADDRESSES, ADDRESSES, PORTS, PORTS, st.binary(max_size=700)
)


def dotted(be):
    return ".".join(map(str, be))


def by_scapy(d, options=b""):
    """`options`: of IP, a multiple of 4 bytes."""
    from scapy.layers.inet import IPOption

    head = Ether(dst=d.dst_mac.hex(":"), src=d.src_mac.hex(":"), type=0x0800)
    ip = IP(src=dotted(d.src), dst=dotted(d.dst), id=0, flags="DF", ttl=udp.TTL, proto=17)
    if options:
        ip.options = [IPOption(b"\1") for _ in options]
    return bytes(head / ip / UDP(sport=d.sport, dport=d.dport) / d.payload)


@given(datagrams)
def test_builds_the_bytes_that_scapy_builds(d):
    assert udp.build(d) == by_scapy(d)


@given(datagrams, st.integers(0, 10), st.binary(max_size=20))
def test_reads_what_scapy_builds_with_options_and_padding(d, words, padding):
    assert udp.parse(by_scapy(d, bytes(4 * words)) + padding) == d


@given(st.binary(max_size=400))
def test_checksum_is_the_complement_of_the_sum_of_words(data):
    padded = data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    assert udp.checksum(data) in {0xFFFF - total, 0}
    assert (udp.checksum(data) + total) % 0xFFFF == 0


def test_a_checksum_of_zero_is_sent_as_ones():
    for word in range(65536):
        d = Datagram(bytes(6), bytes(6), bytes(4), bytes(4), 0, 0, word.to_bytes(2, "big"))
        if udp.checksum(udp.build(d)[26:34] + b"\0\x11\0\x0a" + udp.build(d)[34:40] + d.payload):
            continue
        assert udp.build(d)[40:42] == b"\xff\xff"
        return
    raise AssertionError("no such datagram was found")


@given(datagrams, st.data())
def test_cut_or_changed_anywhere_it_is_a_datagram_or_a_frame_error(d, data):
    whole = bytearray(udp.build(d))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FrameError):
        udp.parse(bytes(whole[: data.draw(st.integers(0, len(whole)))]))


def test_fragments_and_what_is_not_udp_are_refused():
    d = Datagram(bytes(6), bytes(6), b"abcd", b"efgh", 68, 67, b"hello")
    frame = udp.build(d)
    for at, byte in ((12, 0x86), (14, 0x65), (14, 0x44), (20, 0x20), (21, 1), (23, 6), (38, 9)):
        broken = bytearray(frame)
        broken[at] = byte
        try:
            udp.parse(bytes(broken))
        except FrameError:
            continue
        raise AssertionError(f"byte {at} = {byte} was let pass")
