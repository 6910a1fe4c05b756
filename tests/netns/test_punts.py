"""DHCP between a workload and the gateway's relay, through the datapath process and real wires.

Either side may start again without a word to the other. test_datapath_process.py draws the place.
"""

import contextlib
import signal
from collections.abc import Iterator

import pytest
from scapy.layers.dhcp import BOOTP
from scapy.layers.l2 import Ether

from pcg.datapath.parcels import Punt
from pcg.datapath.punts import Punts, endpoint_of
from tests.c import dhcp
from tests.c.places import NEWCOMER, WEB, ip, mac
from tests.c.world import TEPS, Policy
from tests.netns.ports import Wire
from tests.netns.process import Place
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
        policy = Policy(segments=dhcp.served_segments())
        self.client.commit(policy.tables())
        nics = {nic["role"]: nic["mac"] for nic in self.client.nics()}
        self.mac = nics["downlink"]

    def end(self, how: int = signal.SIGTERM) -> None:
        self.client.close()
        self.process.send_signal(how)
        self.process.wait(timeout=20)

    def ask(self, **given) -> None:
        frame = dhcp.asked(packet=dhcp.ask(**given), eth={"dst": self.mac})
        self.wire.send(frame)

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


def hears(site: Site, relay: Punts, xid: int) -> Punt:
    """A request that reaches the relay, asked again until it does."""

    def heard() -> Punt | None:
        site.ask(xid=xid)
        found = [p for p in relay.receive() if BOOTP(p.frame[BOOTP_AT:]).xid == xid]
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
