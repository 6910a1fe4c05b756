"""Random frames: whatever comes, the path neither reads past a frame nor loses one.

Half of them are good frames with a few bytes changed, and most of those get their checksums
mended, so that the change reaches the code behind the checks. FRAMES says how many, SEED which.
Made for the sanitized build (`make fuzz`), harmless without.
"""

import os
import random
import struct

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from tests.c.conftest import assert_accounted

FRAMES = int(os.environ.get("FRAMES", "200000"))
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
BATCH = 256
LONGEST = 9216
# 1:1 and through SNAT to the north, routed between segments, to our own Elastic IP, to where no
# route leads, to a firewall's REJECT. The last address of ours is behind the other TEP.
PAIRS = (
    ("10.1.0.11", "8.8.8.8"),
    ("10.1.0.10", "8.8.8.8"),
    ("10.1.0.11", "10.2.0.10"),
    ("10.1.0.11", "52.1.1.1"),
    ("10.1.0.11", "9.9.9.9"),
    ("10.1.0.11", "6.6.6.6"),
)
TEPS = {"10.1.0.11": "10.99.0.3", "10.1.0.10": "10.99.0.2"}


def overlay(packet, vni=5000, dst="02:00:00:00:00:05", **geneve):
    """A frame in the tunnel of its source's TEP; the option is ours."""
    tep = TEPS.get(getattr(packet, "src", ""), "10.99.0.3")
    option = GeneveOptions(classid=0x0104, type=0x80, length=1, data=b"\0\0\0\7")
    tunnel = GENEVE(vni=vni, proto=0x6558, critical=1, options=[option], **geneve)
    outer = IP(src=tep, dst="10.99.0.1", flags="DF") / UDP(sport=50000, dport=6081)
    return outer / tunnel / Ether(src="02:00:00:00:00:05", dst=dst) / packet


def inner_packets():
    data = Raw(b"x" * 40)
    for src, dst in PAIRS:
        yield IP(src=src, dst=dst, flags="DF") / TCP(sport=5000, dport=80, flags="S")
        yield IP(src=src, dst=dst) / UDP(sport=5000, dport=53) / data
        yield IP(src=src, dst=dst) / ICMP(id=7) / data
        yield IP(src=src, dst=dst, proto=47) / data
        yield IP(src=src, dst=dst, flags="MF") / UDP(sport=5000, dport=53) / data
        yield IP(src=src, dst=dst, ttl=1) / TCP(sport=5001, dport=80, flags="S")
    quoted = IPerror(src="10.99.1.11", dst="10.1.0.11") / UDPerror(sport=53, dport=5000)
    yield IP(src="10.1.0.11", dst="8.8.8.8") / ICMP(type=3, code=3) / quoted
    yield IP(src="10.1.0.11", dst="10.1.0.1") / ICMP(id=9)


def good_frames(dp) -> dict[str, list[bytes]]:
    """By role: one of each kind that the path knows."""
    mac = {nic["role"]: nic["mac"] for nic in dp.nics()}
    up, down = Ether(dst=mac["uplink"]), Ether(dst=mac["downlink"])
    answers = [
        IP(src="8.8.8.8", dst=dst) / payload
        for dst in ("10.99.1.11", "10.99.1.12", "10.2.0.10")
        for payload in (
            TCP(sport=80, dport=80, flags="S"),
            TCP(sport=80, dport=1024, flags="A"),
            UDP(sport=53, dport=5000) / Raw(b"y" * 30),
            ICMP(id=7),
            ICMP(type=3, code=4) / IPerror(src=dst, dst="8.8.8.8") / UDPerror(sport=1, dport=2),
        )
    ]
    arp = [ARP(op=1, psrc="10.99.1.1", pdst="10.99.1.11"), ARP(op=1, pdst="10.1.0.1")]
    tunnelled = [overlay(p) for p in inner_packets()] + [overlay(arp[1], vni=1001)]
    tunnelled += [overlay(p, vni=1001) for p in inner_packets()]
    return {
        "uplink": [bytes(up / p) for p in answers + arp[:1]],
        "downlink": [bytes(down / p) for p in tunnelled],
    }


def fold(data: bytes, start: int = 0) -> int:
    """Internet checksum of `data`, RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = start + sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def mend(frame: bytearray, at: int) -> None:
    """The IPv4 header's checksum at `at`, where one fits."""
    size = (frame[at] & 15) * 4 if at < len(frame) else 0
    if 20 <= size <= len(frame) - at:
        frame[at + 10 : at + 12] = bytes(2)
        frame[at + 10 : at + 12] = fold(bytes(frame[at : at + size])).to_bytes(2, "big")


def changed(rng: random.Random, seeds: list[bytes]) -> bytes:
    """A good frame with a few bytes changed, cut or lengthened; its checksums mostly mended."""
    frame = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        value = rng.choice((0, 255, rng.randrange(256), frame[rng.randrange(len(frame))] ^ 1))
        frame[rng.randrange(len(frame))] = value
    if rng.random() < 0.1:
        del frame[rng.randrange(len(frame)) :]
    elif rng.random() < 0.05:
        frame += rng.randbytes(rng.randrange(2000))
    if rng.random() < 0.9 and len(frame) > 42:
        mend(frame, 14)
        if len(frame) > 100:
            frame[40:42] = bytes(2)  # no outer UDP checksum
            mend(frame, 14 + 20 + 8 + 8 + 8 + 14)
    return bytes(frame)


def batch(rng: random.Random, seeds: list[bytes]) -> list[bytes]:
    noise = [rng.randbytes(rng.randrange(1, 200)) for _ in range(BATCH // 8)]
    noise.append(rng.randbytes(rng.randrange(LONGEST)) or b"\0")
    return [changed(rng, seeds) for _ in range(BATCH - len(noise))] + noise


@pytest.mark.timeout(1200)
def test_no_frame_is_lost_and_no_byte_read_past_it(gateway):
    print(f"SEED={SEED}")
    rng, seeds, sent = random.Random(SEED), good_frames(gateway), 0
    for n in range(0, FRAMES, BATCH):
        role = rng.choice(("uplink", "downlink"))
        now_ns = (n + 1) * 1_000_000
        out = gateway.inject(role, batch(rng, seeds[role]), now_ns)
        sent += len(out)
        assert all(14 <= len(frame) <= LONGEST for _, frame in out)
        assert_accounted(gateway)
        if n % (BATCH * 64) == 0:
            gateway.sweep(now_ns)
            gateway.explain(role, rng.choice(seeds[role]))
    assert sent > FRAMES // 100  # many got through, so the whole path was met
    assert gateway.totals()["rx"] >= FRAMES
