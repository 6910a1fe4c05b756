"""af_packet ports on real interfaces: frames as they come from a wire, and what a kernel refuses.

namespace `peer`          namespace `gw`
u1 -------- veth -------- up0    [the datapath of this test, in this process]
d1 -------- veth -------- down0
"""

import re
import socket
from collections.abc import Iterator

import pytest

from pcg.datapath.lib import Datapath
from pcg.model.errors import BackendError
from tests.c import wire
from tests.c.conftest import assert_accounted
from tests.c.packets import udp
from tests.c.places import HOP_MAC, NET, SERVER, VMS, A, B, mac
from tests.c.world import NEXTHOPS, TEPS, Policy, over
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("built")
PROVOKES = {"TX_FAILED", "FRAME_TRUNCATED"}
ETH_P_ALL, MTU = 3, 1500


class Wire:
    """The far end of one veth: send a frame, read what came."""

    def __init__(self, space, name: str) -> None:
        with space.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.socket.bind((name, ETH_P_ALL))
        self.socket.setblocking(False)

    def send(self, frame: bytes) -> None:
        self.socket.send(frame)

    def received(self, ethertype: int = 0x0800) -> list[bytes]:
        """What came from the other end; the kernel's own chatter is left out."""
        frames = []
        while True:
            try:
                frame, where = self.socket.recvfrom(65536)
            except BlockingIOError:
                return frames
            kind = int.from_bytes(frame[12:14])
            if where[2] != socket.PACKET_OUTGOING and kind == ethertype:
                frames.append(frame)


class Bench:
    """The running datapath with both its wires."""

    def __init__(self, wires, dp: Datapath) -> None:
        self.wires, self.dp = wires, dp
        self.up, self.down = Wire(wires.peer, "u1"), Wire(wires.peer, "d1")
        self.macs = {nic["role"]: nic["mac"] for nic in dp.nics()}

    def from_net(self, packet) -> bytes:
        return wire.plain(packet, dst=self.macs["uplink"])

    def from_vm(self, vm, packet) -> bytes:
        return over(vm, packet, eth={"dst": self.macs["downlink"]})

    def dropped(self, reason: str, n: int = 1) -> None:
        wait_until(lambda: self.dp.drops().get(reason) == n, f"{reason} is counted")
        assert self.dp.drops() == {reason: n}

    def close(self) -> None:
        self.up.socket.close()
        self.down.socket.close()


@pytest.fixture
def bench(inside) -> Iterator[Bench]:
    for name in ("up0", "down0"):
        inside.gw.run(f"ip link set {name} mtu {MTU} up")
        inside.gw.run(f"ethtool -K {name} tx off rx off gso off gro off tso off")
    with Datapath(sessions=4096, workload_addresses=1024, fresh=True) as dp:
        dp.nic_add("up0", "uplink", "af_packet")
        dp.nic_add("down0", "downlink", "af_packet")
        dp.put("teps", TEPS)
        dp.put("nexthops", NEXTHOPS)
        dp.put("ports", [vm.record for vm in VMS])
        dp.commit(Policy(uplink_mtu=9000).tables())
        dp.start()
        made = Bench(inside, dp)
        yield made
        made.close()
        dp.stop()
        assert_accounted(dp)


def first(wire_: Wire) -> bytes:
    return wait_until(wire_.received, "a frame comes")[0]


def test_both_ways(bench):
    bench.up.send(bench.from_net(udp(NET, SERVER.secondary, dport=7000)))
    got = first(bench.down)
    assert got[6:12] == mac(bench.macs["downlink"])
    assert wire.IP(got[14:34]).dst == B.tep
    bench.down.send(bench.from_vm(A, udp()))
    got = first(bench.up)
    assert (got[:6], got[6:12]) == (mac(HOP_MAC), mac(bench.macs["uplink"]))
    assert bench.dp.drops() == {}


def test_only_owned_frames_are_taken(bench):
    """The kernel's frames never reach us, so they are neither counted nor dropped."""
    bench.up.send(bench.from_net(udp(NET, "10.99.1.2")))
    bench.down.send(over(A, udp(), udp={"dport": 6082}, eth={"dst": bench.macs["downlink"]}))
    bench.up.send(bench.from_net(udp(NET, SERVER.secondary, dport=7000)))
    first(bench.down)
    assert bench.dp.totals()["rx"] == 1


def test_frame_longer_than_a_ring_slot(bench):
    """The MTU was raised after the datapath had opened the interface."""
    bench.wires.gw.run("ip link set up0 mtu 9000")
    bench.up.send(bench.from_net(udp(NET, SERVER.secondary, dport=7000, data=bytes(5000))))
    bench.dropped("FRAME_TRUNCATED")


def test_frame_that_the_kernel_refuses(bench):
    """A frame above the interface's MTU; those behind it still go."""
    bench.wires.gw.run("ip link set up0 mtu 600")
    bench.down.send(bench.from_vm(A, udp(data=bytes(1000))))
    bench.dropped("TX_FAILED")
    bench.down.send(bench.from_vm(A, udp(data=b"small")))
    assert b"small" in first(bench.up)


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
def test_open_says_what_is_wrong(inside, what, name, before, said):
    inside.gw.run(before)
    with Datapath(sessions=4096, workload_addresses=1024, fresh=True) as dp:
        with pytest.raises(BackendError, match=re.escape(said)):
            dp.nic_add(name, "uplink", "af_packet")
