"""Ports on real interfaces: frames as they come from a wire, and what a kernel refuses.

What any driver must do is tested with each of them here; what is af_xdp's own in test_af_xdp.py.
"""

import re
from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

from pcg.datapath.lib import Datapath
from pcg.model.errors import BackendError
from tests.c import wire
from tests.c.packets import udp
from tests.c.places import HOP_MAC, NET, SERVER, TEP, A, B, mac
from tests.c.world import over
from tests.netns.ports import Bench, at_work, first, prepare
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("built")
PROVOKES = {"TX_FAILED", "FRAME_TRUNCATED"}
DRIVERS = ("af_packet", "af_xdp")


@pytest.fixture(params=DRIVERS)
def driver(request) -> str:
    return request.param


@pytest.fixture
def bench(inside, driver) -> Iterator[Bench]:
    prepare(inside)
    with at_work(inside, driver) as made:
        yield made


only_af_packet = pytest.mark.parametrize("driver", ["af_packet"])


def test_both_ways(bench):
    bench.up.send(bench.from_net(udp(NET, SERVER.secondary, dport=7000)))
    got = first(bench.down)
    assert got[6:12] == mac(bench.macs["downlink"])
    assert wire.IP(got[14:34]).dst == B.tep
    bench.down.send(bench.from_vm(A, udp()))
    got = first(bench.up)
    assert (got[:6], got[6:12]) == (mac(HOP_MAC), mac(bench.macs["uplink"]))
    assert bench.dp.drops() == {}


def test_a_port_that_comes_after_the_policy(inside, driver):
    """It takes what is owned at once, not only from the next commit on."""
    prepare(inside)
    with at_work(inside, driver, late=True) as bench:
        bench.up.send(bench.from_net(udp(NET, SERVER.secondary, dport=7000)))
        first(bench.down)
        bench.down.send(bench.from_vm(A, udp()))
        first(bench.up)


def test_only_owned_frames_are_taken(bench):
    """The kernel's frames never reach us, so they are neither counted nor dropped."""
    bench.up.send(bench.from_net(udp(NET, "10.99.1.2")))
    bench.down.send(over(A, udp(), udp={"dport": 6082}, eth={"dst": bench.macs["downlink"]}))
    bench.up.send(bench.from_net(udp(NET, SERVER.secondary, dport=7000)))
    first(bench.down)
    assert bench.dp.totals()["rx"] == 1


def test_icmp_about_a_tunnel_packet_is_ours_and_no_other(bench):
    """What says that a tunnel packet was too big; the kernel keeps all other ICMP."""
    bench.up.send(bench.from_net(udp(NET, SERVER.secondary, dport=7000, data=bytes(1200))))
    about = first(bench.down)[14:]
    to_us = {"dst": bench.macs["downlink"]}
    other = about[:22] + b"\x17\xc2" + about[24:]
    for kind, code, quoted in ((8, 0, about), (3, 1, about), (3, 4, other), (3, 4, about)):
        error = IP(src="10.99.3.1", dst=TEP) / ICMP(type=kind, code=code, nexthopmtu=1000)
        bench.down.send(wire.plain(error / Raw(quoted[:28]), **to_us))
    wait_until(lambda: bench.dp.read("path_mtu"), "it is learnt")
    assert [p.mtu for p in bench.dp.read("path_mtu")] == [1000]
    totals = bench.dp.totals()
    assert (totals["rx"], totals["punt"]) == (2, 1)


@only_af_packet
def test_frame_longer_than_a_ring_slot(bench):
    """The MTU was raised after the datapath had opened the interface."""
    bench.wires.gw.run("ip link set up0 mtu 9000")
    bench.up.send(bench.from_net(udp(NET, SERVER.secondary, dport=7000, data=bytes(5000))))
    bench.dropped("FRAME_TRUNCATED")


@only_af_packet
def test_frame_that_the_kernel_refuses(bench):
    """A frame above the interface's MTU; those behind it still go."""
    bench.wires.gw.run("ip link set up0 mtu 600")
    bench.down.send(bench.from_vm(A, udp(data=bytes(1000))))
    bench.dropped("TX_FAILED")
    bench.down.send(bench.from_vm(A, udp(data=b"small")))
    sent = first(bench.up)
    assert b"small" in sent
    wait_until(lambda: bench.dp.totals()["tx"] == 1, "it is counted")
    uplink = next(nic for nic in bench.dp.nics() if nic["role"] == "uplink")
    assert (uplink["tx_packets"], uplink["tx_bytes"]) == (1, len(sent))
    (ended,) = bench.dp.ledger()
    assert ended["length"] == 14 + 20 + 8 + 1000


@only_af_packet
def test_interface_that_is_down(bench):
    bench.wires.gw.run("ip link set up0 down")
    bench.down.send(bench.from_vm(A, udp()))
    bench.dropped("TX_FAILED")
    assert not next(nic["up"] for nic in bench.dp.nics() if nic["role"] == "uplink")
    bench.wires.gw.run("ip link set up0 up")
    wait_until(lambda: all(nic["up"] for nic in bench.dp.nics()), "the interface is up again")
    bench.down.send(bench.from_vm(A, udp()))
    first(bench.up)


def test_interface_made_again_under_the_same_name(bench):
    """Its sockets went with the old one: it is not `up` until the datapath opens it anew."""
    bench.wires.gw.run("ip link del up0")
    bench.wires.gw.run("ip link add up0 type veth peer name up1")
    bench.wires.gw.run("ip link set up1 up")
    bench.wires.gw.run("ip link set up0 up")
    assert not next(nic["up"] for nic in bench.dp.nics() if nic["role"] == "uplink")
    bench.down.send(bench.from_vm(A, udp()))
    bench.dropped("TX_FAILED")


REFUSED = [
    ("no such interface", "nothing0", "ip link set up0 up", "no such interface"),
    ("an MTU beyond our frames", "up0", "ip link set up0 mtu 9500 up", "MTU 9500"),
    ("a name too long", "interface-of-no-kernel", "true", "15 bytes"),
]


@pytest.mark.parametrize("what, name, before, said", REFUSED, ids=[row[0] for row in REFUSED])
def test_open_says_what_is_wrong(inside, driver, what, name, before, said):
    inside.gw.run(before)
    with Datapath(sessions=4096, workload_addresses=1024, fresh=True) as dp:
        with pytest.raises(BackendError, match=re.escape(said)):
            dp.nic_add(name, "uplink", driver)
