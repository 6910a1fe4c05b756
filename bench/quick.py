"""Figures of the packet path in a minute: TSC cycles per packet on one core, no NIC, no kernel.

    python -m bench.quick [--sessions 1000 100000] [--passes 9]

Frames carry 64 bytes inside the tunnel. The median pass counts; the first ones warm the caches up.
"""

import argparse
import struct
from statistics import median
from typing import NamedTuple

from pcg.datapath import build
from pcg.datapath.lib import Datapath
from pcg.reconcile import records as r

MAC = bytes.fromhex("020000000005")
TEP, OURS, HOP = b"\x0a\x63\x00\x02", b"\x0a\x63\x00\x01", b"\x0a\x63\x01\x01"
SECONDARIES = [bytes([10, 99, 1, 10 + i]) for i in range(4)]
WORKLOADS = [bytes([10, 1, 0, 10 + i]) for i in range(200)]
INNER_LEN = 64
ROUND = 256  # frames of one inject call


class Flow(NamedTuple):
    source: bytes
    destination: bytes
    sport: int
    dport: int


def checksum(header: bytes) -> bytes:
    """RFC 1071, of an IPv4 header with a zero checksum."""
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ((total & 0xFFFF) + (total >> 16) ^ 0xFFFF).to_bytes(2, "big")


def ip_udp(flow: Flow, payload: bytes) -> bytes:
    """An IPv4/UDP packet; UDP without checksum."""
    udp = struct.pack("!4H", flow.sport, flow.dport, 8 + len(payload), 0)
    head = struct.pack("!BBHHHBB", 0x45, 0, 28 + len(payload), 0, 0x4000, 64, 17)
    ends = flow.source + flow.destination
    return head + checksum(head + bytes(2) + ends) + ends + udp + payload


def ethernet(destination: bytes, packet: bytes) -> bytes:
    return destination + MAC + b"\x08\x00" + packet


def from_overlay(mac: bytes, flow: Flow, vni: int = 5000) -> bytes:
    inner = ethernet(MAC, ip_udp(flow, bytes(INNER_LEN - 14 - 28)))
    geneve = struct.pack("!BBHIHBBI", 2, 0x40, 0x6558, vni << 8, 0x0104, 0x80, 1, 0)
    outer = Flow(TEP, OURS, 49152 + flow.sport % 16384, 6081)
    return ethernet(mac, ip_udp(outer, geneve + inner))


def flows(n: int) -> list[Flow]:
    """n different flows of all workloads to the north."""
    remote = [bytes([8, 8, i >> 8, i & 255]) for i in range(n // len(WORKLOADS) + 1)]
    return [
        Flow(WORKLOADS[i % len(WORKLOADS)], remote[i // len(WORKLOADS)], 5000 + i % 997, 53)
        for i in range(n)
    ]


def program(dp: Datapath) -> None:
    dp.put("teps", [r.Teps(TEP, MAC, 1, 1, 9001)])
    dp.put("nexthops", [r.Nexthops(HOP, MAC, 1)])
    dp.put("ports", [r.Ports(0, address, 1001, TEP, MAC) for address in WORKLOADS])
    pool = (*range(1, 1 + len(SECONDARIES)), *[0] * (16 - len(SECONDARIES)))
    out = r.Nat(1, 0, 1, 0, 0, len(SECONDARIES), 0, 0, bytes(4), 0, r.Match(), pool, "out")
    publics = [r.Publics(i + 1, 0, bytes([52, 1, 1, i]), s, "") for i, s in enumerate(SECONDARIES)]
    policy = {
        "local": [r.Local(OURS, 1, 1500, 9001, 1024, 65535, 7)],
        "vrfs": [r.Vrfs(0, 0, 0, "bench")],
        "segments": [
            r.Segments(1001, 0, 0, b"\x0a\x01\0\0", b"\x0a\x01\0\x01", 8943, 24, 0, MAC, "a"),
            r.Segments(5000, 0, 1, bytes(4), bytes(4), 8943, 0, 0, MAC, "transit"),
        ],
        "publics": publics,
        "routes": [r.Routes(0, bytes(4), 0, 0, HOP, 0)],
        "nat": [out],
    }
    dp.commit(policy, 1)


def reply(mac: bytes, sent: bytes) -> bytes:
    """What the remote answers to a frame that left by the uplink."""
    source, destination = sent[26:30], sent[30:34]
    sport, dport = struct.unpack("!HH", sent[34:38])
    return ethernet(mac, ip_udp(Flow(destination, source, dport, sport), bytes(INNER_LEN - 42)))


def measure(sessions: int, passes: int) -> dict[str, float]:
    """Cycles per packet of both directions, with so many sessions live."""
    with Datapath(sessions=max(2 * sessions, 4096), workload_addresses=1024) as dp:
        dp.nic_add("up0", "uplink")
        dp.nic_add("down0", "downlink")
        program(dp)
        macs = {nic["role"]: bytes.fromhex(nic["mac"].replace(":", "")) for nic in dp.nics()}
        outwards = [from_overlay(macs["downlink"], flow) for flow in flows(sessions)]
        sent = []
        for at in range(0, sessions, ROUND):
            sent += dp.inject("downlink", outwards[at : at + ROUND])
        if len(sent) != sessions:
            raise SystemExit(f"{sessions - len(sent)} flows got no session: {dp.drops()}")
        inwards = [reply(macs["uplink"], frame) for _, frame in sent]
        cycles = {
            "Geneve -> SNAT -> plain": median(dp.replay("downlink", outwards, passes)),
            "plain -> SNAT back -> Geneve": median(dp.replay("uplink", inwards, passes)),
        }
        if dp.drops():
            raise SystemExit(f"not what was to be measured: {dp.drops()}")
        return cycles


def main() -> None:
    parser = argparse.ArgumentParser(description="Cycles per packet of the packet path.")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--passes", type=int, default=9)
    args = parser.parse_args()
    build.build()
    print(f"{'64 bytes inside, one core':<32} {'sessions':>10} {'cycles/packet':>14}")
    for sessions in args.sessions:
        for what, cycles in measure(sessions, args.passes).items():
            print(f"{what:<32} {sessions:>10,} {cycles:>14.0f}")


if __name__ == "__main__":
    main()
