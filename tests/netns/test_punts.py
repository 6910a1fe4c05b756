"""DHCP between a workload and the gateway's relay, through the datapath process and real wires.

Either side may start again without a word to the other. test_datapath_process.py draws the place.
"""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import zmq
from scapy.layers.dhcp import BOOTP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from pcg.datapath.parcels import Punt
from pcg.datapath.punts import Punts, endpoint_of
from tests.c import dhcp
from tests.c.places import NEWCOMER, TEP2, WEB, ip, mac
from tests.c.world import TEPS, Policy
from tests.netns.ports import Wire, at_work, first, prepare
from tests.netns.process import Place
from tests.oracle.fragments import cut
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("built")
BOOTP_AT = 14 + 20 + 8


class Site:
    """A datapath process that serves NEWCOMER, and NEWCOMER's host."""

    def __init__(self, place: Place) -> None:
        self.place, self.settings = place, place.settings()
        self.wire = Wire(place.far_end(), "peer-down0")
        self.start()

    def start(self) -> None:
        self.process, self.client = self.place.ready(self.settings)
        self.client.put("teps", TEPS)
        self.client.put("clients", [dhcp.client(NEWCOMER)])
        self.commit()
        nics = {nic["role"]: nic["mac"] for nic in self.client.nics()}
        self.mac = nics["downlink"]

    def end(self, how: int = signal.SIGTERM) -> None:
        self.client.close()
        self.process.send_signal(how)
        self.process.wait(timeout=20)

    def commit(self, **rates) -> None:
        policy = Policy(segments=dhcp.served_segments(), quota=rates)
        self.client.commit(policy.tables())

    def frame(self, data: int = 0, **given) -> bytes:
        return dhcp.asked(packet=dhcp.ask(**given) / Raw(bytes(data)), eth={"dst": self.mac})

    def ask(self, **given) -> None:
        self.wire.send(self.frame(**given))

    def drops(self, reason: str) -> int:
        return self.client.drops().get(reason, 0)

    def answers(self) -> list[BOOTP]:
        """DHCP in the tunnels that came to NEWCOMER's host since the last call."""
        return [BOOTP(frame[58 + BOOTP_AT :]) for frame in self.wire.received()]


@pytest.fixture
def site(place) -> Iterator[Site]:
    made = Site(place)
    yield made
    made.client.close()


def relay(site: Site) -> contextlib.AbstractContextManager[Punts]:
    return Punts(endpoint_of(site.settings["control"]))


def xids(punts: list[Punt]) -> list[int]:
    return [BOOTP(p.frame[BOOTP_AT:]).xid for p in punts]


def hears(site: Site, relay: Punts, xid: int) -> Punt:
    """A request that reaches the relay, asked again until it does."""

    def heard() -> Punt | None:
        site.ask(xid=xid)
        punts = relay.receive()
        found = [p for p, seen in zip(punts, xids(punts), strict=True) if seen == xid]
        return found[0] if found else None

    return wait_until(heard, f"request {xid} is heard")


def test_there_and_back(site):
    with relay(site) as there:
        punt = hears(site, there, 1)
        assert (punt.vni, punt.mac, punt.tep) == (WEB, mac(NEWCOMER.mac), ip(NEWCOMER.tep))
        assert Ether(punt.frame).src == NEWCOMER.mac
        answers = [dhcp.answer(xid=5), dhcp.answer(xid=6, eth_dst=dhcp.ALL_MACS)]
        assert there.send(answers) == 2
        seen = []
        wait_until(lambda: seen.extend(site.answers()) or len(seen) == 2, "both come")
    assert [one.xid for one in seen] == [5, 6]


def test_a_relay_that_starts_again(site):
    with relay(site) as first:
        hears(site, first, 1)
    wait_until(lambda: site.ask() or site.drops("PUNT_NOBODY"), "nobody is noticed")
    with relay(site) as second:
        hears(site, second, 2)
        with relay(site) as third:  # who comes last takes over, without a word of the other
            hears(site, third, 3)
            second.receive()
            hears(site, third, 4)
            assert second.receive() == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_datapath_that_starts_again(site, how):
    with relay(site) as there:
        hears(site, there, 1)
        site.end(how)
        assert there.send([dhcp.answer()]) in (0, 1)  # it may not have noticed yet
        site.start()
        hears(site, there, 2)
        seen = []
        wait_until(lambda: there.send([dhcp.answer(xid=9)]), "answers are taken again")
        wait_until(lambda: seen.extend(site.answers()) or seen, "one comes")
        assert seen[-1].xid == 9


def test_before_any_relay(site):
    site.ask()
    wait_until(lambda: site.drops("PUNT_NOBODY") == 1, "nobody is there")
    assert site.client.totals()["punt"] == 0


def test_a_relay_that_hangs_loses_nothing_unsaid(site):
    """What the sockets hold it still gets; what the rings do not hold is dropped, and counted."""
    site.commit(dhcp_each=1_000_000, dhcp_all=1_000_000)
    with relay(site) as there:
        hears(site, there, 1)
        site.ask(xid=7)  # one behind all that asked before: frames of one client keep their order
        wait_until(lambda: xids(there.receive())[-1:] == [7], "nothing asked before is under way")
        before, frame = site.client.totals()["punt"], site.frame(xid=2, data=1000)
        while not site.drops("PUNT_FULL"):
            with contextlib.suppress(BlockingIOError):
                for _ in range(200):
                    site.wire.send(frame)
        got = []

        def all_told() -> bool:
            got.extend(there.receive())
            return len(got) == site.client.totals()["punt"] - before

        wait_until(all_told, "all that was punted has come")
        assert site.client.drops().keys() <= {"PUNT_NOBODY", "PUNT_FULL"}
        hears(site, there, 3)


def test_another_build_is_not_listened_to(site):
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.linger = 0
        stranger.connect(endpoint_of(site.settings["control"]))
        stranger.send_multipart([b"0123456789abcdef", b"anything"])
        stranger.send(b"?")
        with relay(site) as there:
            hears(site, there, 1)
    site.end()
    assert site.process.stdout.read().count("another build") == 1  # once a connection


@pytest.mark.parametrize("workers", [1, 2])
def test_answers_wake_a_worker_that_sleeps(inside, workers):
    """Nothing comes by any interface: the first worker waits in poll."""
    prepare(inside)
    with at_work(inside, "af_packet", workers) as bench:
        bench.dp.put("clients", [dhcp.client(NEWCOMER)])
        reader = dhcp.Relay(bench.dp)
        for n in range(20):
            slept = bench.dp.performance()[0]["slept"]
            wait_until(lambda n=slept: bench.dp.performance()[0]["slept"] > n, "it sleeps")
            reader.send(dhcp.answer(xid=n))
            assert BOOTP(first(bench.down)[58 + BOOTP_AT :]).xid == n


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_pieces_of_requests_meet_at_one_worker(inside, workers):
    """Two clients without an address, and the same identification."""
    prepare(inside)
    with at_work(inside, "af_packet", workers) as bench:
        second = NEWCOMER._replace(mac="0a:00:00:00:99:ab")
        bench.dp.put("clients", [dhcp.client(NEWCOMER), dhcp.client(second)])
        bench.dp.commit(Policy(segments=dhcp.served_segments()).tables())
        reader, frames = dhcp.Relay(bench.dp), []
        for vm in (NEWCOMER, second):
            pieces = cut(bytes(dhcp.ask(vm, ip={"id": 7}) / Raw(bytes(2500))), 600)
            given = {"inner": {"type": 0x0800}, "eth": {"dst": bench.macs["downlink"]}}
            frames += [
                dhcp.asked(vm, p, udp={"sport": 50000 + 97 * i}, **given)
                for i, p in enumerate(pieces)
            ]
        for frame in frames[::2] + frames[1::2]:
            bench.down.send(frame)
        got = []
        wait_until(lambda: got.extend(reader.read()) or len(got) == 2, "both are whole")
        assert {punt.mac for punt in got} == {mac(NEWCOMER.mac), mac(second.mac)}
        assert {len(punt.frame) for punt in got} == {14 + 20 + 8 + 244 + 2500}


def test_pcgctl_explains_and_names_it(site):
    """While there is no relay, and when there is one; what was dropped has its workload's MAC."""

    def told(*words: str) -> str:
        argv = [sys.executable, "-m", "pcg.cli.pcgctl", "--datapath", site.settings["control"]]
        return subprocess.run([*argv, *words], capture_output=True, text=True).stdout

    asking = ["explain", "--dhcp", NEWCOMER.mac]
    assert "=> dropped: PUNT_NOBODY" in told(*asking)
    with relay(site) as there:
        hears(site, there, 1)
        assert "DHCP, to the relay" in told(*asking)
        assert "=> handed to the gateway's DHCP relay" in told(*asking)
        elsewhere = told("explain", "--dhcp", NEWCOMER.mac, "--from", TEP2, "--segment", "web")
        assert "=> dropped: DHCP_PORT_UNKNOWN" in elsewhere
    drops = told("drops", "--over", "0")
    assert f"udp {NEWCOMER.mac} -> 255.255.255.255:67" in drops, drops
