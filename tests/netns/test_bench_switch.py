"""The bench's Open vSwitch with DPDK: what it forwards in memory is what it was asked to."""

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import PcapReader

from bench import gateways, memory_peers, veth, world
from bench.memory_peers import MACS
from pcg.lab import ns
from tests.waiting import wait_until

N = 8


@pytest.fixture(scope="module")
def switch(tmp_path_factory):
    found = memory_peers.Switch(tmp_path_factory.mktemp("switch"))
    ns.make(veth.GW)
    try:
        with found.switching(MACS.downlink, MACS.uplink):
            yield found
    finally:
        ns.run("ip", "netns", "del", veth.GW)


def forwarded(switch, way: str, tmp_path) -> list[Ether]:
    """The first frames that came out, each of another session."""
    sent = list(memory_peers.made(memory_peers.flows(way, N), gateways.GENEVE))
    sink = tmp_path / "out.pcap"
    with switch.fed(way, sent, str(sink)):
        wait_until(lambda: min(switch.port_counts(way)) > 10 * N, "frames")
    with PcapReader(str(sink)) as read:
        return [next(read) for _ in range(N)]


def assert_right(packet: IP) -> None:
    anew = IP(bytes(packet))
    del anew.chksum, anew[UDP].chksum
    assert bytes(IP(bytes(anew))) == bytes(packet)


def test_outwards(switch, tmp_path):
    flows = list(world.FLOW.iter_unpack(memory_peers.flows("north", N)))
    first, last = (int.from_bytes(memory_peers.packed(a)) for a in gateways.POOL.split("-"))
    found = forwarded(switch, "north", tmp_path)
    for frame in found:
        assert (frame.src, frame.dst) == (MACS.uplink.hex(":"), world.MAC.hex(":"))
        assert first <= int.from_bytes(memory_peers.packed(frame[IP].src)) <= last
        assert frame[IP].ttl == 63
        assert_right(frame[IP])
    assert {frame[IP].dst for frame in found} <= {gateways.text(flow[1]) for flow in flows}


def test_inwards(switch, tmp_path):
    workloads = {gateways.text(world.workload(w)) for w in gateways.WORKLOADS}
    teps = {gateways.text(world.tep(w)) for w in gateways.WORKLOADS}
    for frame in forwarded(switch, "south", tmp_path):
        assert (frame.src, frame[IP].src) == (MACS.downlink.hex(":"), gateways.text(world.OURS))
        assert frame[IP].dst in teps
        tunnel = GENEVE(bytes(frame[IP][UDP].payload))
        assert tunnel.vni >= world.FIRST_VNI
        inner = Ether(bytes(frame)[-64 - 14 :])[IP]
        assert inner.dst in workloads
        assert_right(inner)
