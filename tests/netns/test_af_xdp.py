"""af_xdp ports: what of theirs differs from af_packet's (test_af_packet.py has what does not).

namespace `peer`          namespace `gw`
u1 -------- veth -------- up0    [the datapath of this test, in this process]
d1 -------- veth -------- down0

veth takes XDP programs in its driver, but knows no zero copy.
"""

import dataclasses
import os
import re
from socket import inet_aton as ip

import pytest
from scapy.layers.inet import IP, UDP, fragment

from pcg.datapath.lib import Datapath
from pcg.model.errors import BackendError
from tests.c import wire
from tests.c.packets import udp
from tests.c.places import NET, PLAIN, PUBLICS, SERVER, TEP, A
from tests.c.world import Policy, over
from tests.netns.ports import Wire, at_work, first, prepare
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("built")


@pytest.fixture
def bench(inside):
    prepare(inside)
    with at_work(inside, "af_xdp") as made:
        yield made


def info(dp: Datapath, role: str = "uplink") -> dict:
    return next(nic for nic in dp.nics() if nic["role"] == role)


def all_of(wire_: Wire, n: int) -> list[bytes]:
    got: list[bytes] = []
    wait_until(lambda: got.extend(wire_.received()) or len(got) >= n, f"{n} frames come")
    return got


def program_of(wires, name: str = "up0") -> bool:
    return "prog/xdp" in wires.gw.run(f"ip link show {name}")


# ---- what is ours, and what the kernel keeps ----


def test_it_says_how_it_works(bench):
    assert info(bench.dp)["driver"] == "af_xdp"
    assert info(bench.dp)["note"] == "driver XDP, copy, 1 queue, 1 of 1 worker"


def test_the_kernel_keeps_its_own_address(bench):
    """ARP and ping of the interface's address, on both sides, while owned frames go by."""
    bench.wires.gw.run("ip addr add 10.0.1.2/24 dev up0")
    bench.wires.gw.run("ip addr add 10.0.2.2/24 dev down0")
    assert bench.wires.peer.works("ping -c 2 -W 5 10.0.1.2")
    assert bench.wires.peer.works("ping -c 2 -W 5 10.0.2.2")
    assert bench.dp.totals()["rx"] == 0
    bench.up.send(bench.from_net(udp(NET, SERVER.secondary, dport=7000)))
    first(bench.down)


def test_arp_requests_for_owned_addresses(bench):
    """We answer them; the kernel, which has none of these addresses, would not."""
    peer = bench.wires.peer
    peer.run("ip addr add 10.99.1.1/24 dev u1")

    def answered():
        peer.works(f"ping -c 1 -W 1 {SERVER.secondary}")  # no rule takes it, but it asks
        return bench.macs["uplink"] in peer.run(f"ip neigh show {SERVER.secondary}")

    wait_until(answered, "the ARP request is answered")


def test_routed_prefix(bench):
    bench.up.send(bench.from_net(udp(NET, PLAIN.address)))
    assert wire.IP(first(bench.down)[14:34]).dst == PLAIN.tep


def test_fragments_of_the_tunnel_are_ours(bench):
    """Their first has the port, the others have none: the kernel must not keep half of them."""
    whole = over(A, udp(data=bytes(2000)), eth={"dst": bench.macs["downlink"]})
    pieces = fragment(IP(whole[14:]), fragsize=800)
    assert len(pieces) == 3
    for piece in pieces:
        bench.down.send(whole[:14] + bytes(piece))
    wait_until(lambda: bench.dp.totals()["rx"] == 3, "each fragment is taken")


def test_other_udp_to_the_tep_is_the_kernels(bench):
    bench.wires.gw.run(f"ip addr add {TEP}/24 dev down0")
    bench.down.send(over(A, udp(), udp={"dport": 6082}, eth={"dst": bench.macs["downlink"]}))
    bench.down.send(bench.from_vm(A, udp()))
    first(bench.up)
    assert bench.dp.totals()["rx"] == 1


def test_what_is_no_longer_owned_goes_back_to_the_kernel(bench):
    """Another commit: one address less, the others stay."""
    less = [p for p in PUBLICS if p.secondary != SERVER.secondary]
    policy = Policy(uplink_mtu=9000)
    nat = {id_: row for id_, row in policy.nat.items() if not uses(row, SERVER)}
    bench.dp.commit(dataclasses.replace(policy, publics=tuple(less), nat=nat).tables())
    bench.up.send(bench.from_net(udp(NET, SERVER.secondary, dport=7000)))
    bench.up.send(bench.from_net(udp(NET, PLAIN.address)))
    first(bench.down)
    assert bench.dp.totals()["rx"] == 1


def uses(row, public) -> bool:
    return public.index in row.pool[: row.n_pool] or row.match.dst_be == ip(public.secondary)


# ---- frames of every size, and many ----


@pytest.mark.parametrize(
    "mtu, pieces", [(1500, False), (1774, False), (3822, False), (3823, True), (9001, True)]
)
def test_the_longest_frame_of_an_mtu(inside, mtu, pieces):
    prepare(inside, mtu)
    with at_work(inside, "af_xdp") as bench:
        assert ("pieces" in info(bench.dp)["note"]) == pieces
        data = bytes(i % 251 for i in range(mtu - 28 - 66))
        bench.down.send(bench.from_vm(A, udp(data=data)))
        assert data in first(bench.up)
        bench.up.send(bench.from_net(udp(NET, PLAIN.address, data=data)))
        assert data in first(bench.down)


@pytest.mark.parametrize("mtu, size", [(1500, 100), (9001, 8000)])
def test_more_frames_than_there_are_buffers(inside, mtu, size):
    """Every buffer of both halves goes round; each frame comes out once and in order."""
    prepare(inside, mtu)
    rounds, each = 160, 64
    with at_work(inside, "af_xdp") as bench:
        packet = udp(NET, PLAIN.address, data=b"<000000>".ljust(size))
        packet[UDP].chksum = 0  # none, so that only the mark differs
        frame = bench.from_net(packet)
        for turn in range(rounds):
            marks = [f"<{turn * each + i:06}>".encode() for i in range(each)]
            for mark in marks:
                bench.up.send(frame.replace(b"<000000>", mark))
            got = all_of(bench.down, each)
            assert [re.search(rb"<\d{6}>", frame)[0] for frame in got] == marks
        assert bench.dp.totals()["tx"] == rounds * each
        assert [nic["rx_missed"] for nic in bench.dp.nics()] == [0, 0]


def test_frame_longer_than_the_mtu_of_the_start(bench):
    """The kernel drops it, and says so in the interface's count."""
    bench.wires.gw.run("ip link set up0 mtu 9000")
    bench.up.send(bench.from_net(udp(NET, SERVER.secondary, dport=7000, data=bytes(5000))))
    wait_until(lambda: info(bench.dp)["rx_missed"] == 1, "it is counted as missed")
    bench.up.send(bench.from_net(udp(NET, SERVER.secondary, dport=7000)))
    first(bench.down)


def test_interface_that_is_down(bench):
    """One burst waits in the ring, what comes after it is refused; then all goes on."""
    bench.wires.gw.run("ip link set up0 down")
    bench.down.send(bench.from_vm(A, udp(data=b"waits")))
    wait_until(lambda: bench.dp.totals()["tx"] == 1, "it lies in the ring")
    bench.down.send(bench.from_vm(A, udp(data=b"refused")))
    bench.dropped("TX_FAILED")
    assert not info(bench.dp)["up"]
    bench.wires.gw.run("ip link set up0 up")
    assert b"waits" in first(bench.up)
    bench.down.send(bench.from_vm(A, udp(data=b"goes on")))
    assert b"goes on" in first(bench.up)


# ---- queues and workers ----


def with_queues(wires, ours: int, theirs: int) -> None:
    """up0 and u1 anew, with so many queues."""
    wires.gw.run("ip link del up0")
    far = f"peer name u1 netns /proc/{os.getpid()}/fd/{wires.peer.fd}"
    ours, theirs = (f"numrxqueues {n} numtxqueues {n}" for n in (ours, theirs))
    wires.gw.run(f"ip link add up0 {ours} type veth {far} {theirs}")
    wires.peer.run("ip link set u1 mtu 9001 up")


@pytest.mark.parametrize("queues, workers", [(2, 1), (2, 2), (1, 2), (4, 3)])
def test_queues_and_workers(inside, queues, workers):
    """Every queue is served, whoever serves it; flows take the queue that their hash says."""
    with_queues(inside, queues, queues)
    prepare(inside)
    with at_work(inside, "af_xdp", workers) as bench:
        serving = f"{min(queues, workers)} of {workers}"
        assert f"{queues} queue" in info(bench.dp)["note"]
        assert serving in info(bench.dp)["note"]
        assert "1 queue, " in info(bench.dp, "downlink")["note"]
        for port in range(64):
            bench.up.send(bench.from_net(udp(NET, PLAIN.address, sport=2000 + port)))
        all_of(bench.down, 64)
        for port in range(64):
            bench.down.send(bench.from_vm(A, udp(sport=3000 + port)))
        all_of(bench.up, 64)
        assert bench.dp.totals()["rx"] == 128


# ---- refusals, and what is left behind ----


def opened(driver: str = "af_xdp", name: str = "up0") -> Datapath:
    dp = Datapath(sessions=4096, workload_addresses=1024, fresh=True)
    try:
        dp.nic_add(name, "uplink", driver)
    except BackendError:
        dp.close()
        raise
    return dp


def test_close_takes_the_program_off(inside):
    prepare(inside)
    dp = opened()
    assert program_of(inside)
    dp.close()
    assert not program_of(inside)
    opened().close()


def test_another_program_is_there(inside):
    prepare(inside)
    with opened(), pytest.raises(BackendError, match="take it off: ip link set dev up0 xdp off"):
        opened()
    assert not program_of(inside)


def test_a_limit_of_the_driver_is_told_in_its_own_words(inside):
    with_queues(inside, 1, 2)
    prepare(inside)
    with pytest.raises(BackendError) as refused:
        opened()
    assert "refuses XDP at MTU 1500: " in str(refused.value)
    assert "XDP expects number of rx queues not less than peer tx queues" in str(refused.value)
    assert "; mend that, or use `driver: af_packet`" in str(refused.value)
    assert not program_of(inside)


def test_auto_takes_af_xdp_where_it_works(inside):
    prepare(inside, 9001)
    with opened("auto") as dp:
        assert info(dp)["driver"] == "af_xdp"
        assert info(dp)["note"].startswith("auto: driver XDP, copy, frames in pieces")


def test_auto_says_why_it_takes_af_packet(inside):
    with_queues(inside, 1, 2)
    prepare(inside)
    with opened("auto") as dp:
        assert info(dp)["driver"] == "af_packet"
        assert "auto: not af_xdp: up0: its driver refuses XDP at MTU 1500: " in info(dp)["note"]


def test_auto_on_an_interface_that_is_none(inside):
    with pytest.raises(BackendError, match="no such interface"):
        opened("auto", "nothing0")


def test_a_driver_without_xdp(inside):
    """The kernel runs the program behind it, on frames as good; auto takes af_packet there."""
    prepare(inside)
    inside.gw.run("ip link add link up0 name mv0 type macvlan mode passthru; ip link set mv0 up")
    with opened("auto", "mv0") as dp:
        assert info(dp)["driver"] == "af_packet"
        assert info(dp)["note"] == "auto: not af_xdp: the interface's driver has no XDP of its own"
    with at_work(inside, "af_xdp", uplink="mv0") as bench:
        assert info(bench.dp)["note"].startswith("generic XDP, copy, ")
        bench.up.send(bench.from_net(udp(NET, SERVER.secondary, dport=7000)))
        first(bench.down)
        bench.down.send(bench.from_vm(A, udp()))
        first(bench.up)


@pytest.mark.parametrize("driver", ["auto", "af_xdp", "af_packet"])
def test_ports_that_come_while_workers_run(inside, driver):
    """`auto` tries one driver after the other: no worker looks at one that is taken back."""
    prepare(inside)
    with at_work(inside, driver, workers=2, late=True, running=True) as bench:
        for port in range(64):
            bench.down.send(bench.from_vm(A, udp(sport=3000 + port)))
        all_of(bench.up, 64)
        bench.up.send(bench.from_net(udp(NET, PLAIN.address)))
        all_of(bench.down, 1)
