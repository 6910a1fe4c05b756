"""Real ports at work: a running datapath in the gateway's namespace, and the far ends of its wires.

namespace `peer`          namespace `gw`
u1 -------- veth -------- up0    [the datapath of this test, in this process]
d1 -------- veth -------- down0
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pcg.datapath.lib import Datapath
from tests.c import wire
from tests.c.conftest import assert_accounted
from tests.c.places import VMS
from tests.c.world import NEXTHOPS, TEPS, Policy, over
from tests.waiting import wait_until

ETH_P_ALL, MTU = 3, 1500
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
NO_OFFLOADS = "tx off rx off gso off gro off tso off"


class Wire:
    """The far end of one veth: send a frame, read what came."""

    def __init__(self, space, name: str) -> None:
        with space.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.socket.bind((name, ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
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


def prepare(wires, mtu: int = MTU) -> None:
    """Both interfaces up, and no frame with an unfinished checksum on either side."""
    for ours, theirs in (("up0", "u1"), ("down0", "d1")):
        wires.gw.run(f"ip link set {ours} mtu {mtu} up")
        wires.gw.run(f"ethtool -K {ours} {NO_OFFLOADS}")
        wires.peer.run(f"ethtool -K {theirs} {NO_OFFLOADS}")


@contextmanager
def at_work(
    wires,
    driver: str,
    workers: int = 1,
    uplink: str = "up0",
    late: bool = False,
    running: bool = False,
) -> Iterator[Bench]:
    """The interfaces are opened when the policy is in force (`late`), when the workers run."""
    with Datapath(sessions=4096, workload_addresses=1024, fresh=True, workers=workers) as dp:
        if late:
            dp.commit(Policy(uplink_mtu=9000).tables())
        if running:
            dp.start()
        dp.nic_add(uplink, "uplink", driver)
        dp.nic_add("down0", "downlink", driver)
        dp.put("teps", TEPS)
        dp.put("nexthops", NEXTHOPS)
        dp.put("ports", [vm.record for vm in VMS])
        if not late:
            dp.commit(Policy(uplink_mtu=9000).tables())
        if not running:
            dp.start()
        made = Bench(wires, dp)
        yield made
        made.close()
        dp.stop()
        assert_accounted(dp)


def first(wire_: Wire) -> bytes:
    return wait_until(wire_.received, "a frame comes")[0]
