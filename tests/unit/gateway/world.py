"""A gateway's control loop among backends that hold what they are given. Time is a number here."""

from pcg.drivers import rtnl
from pcg.drivers.datapath import Datapath
from pcg.gateway.grants import Grants
from pcg.gateway.loop import Gateway
from pcg.reconcile.addresses import address
from tests.unit.gateway import fakes
from tests.unit.reconcile.examples import DESIRED

RESYNC_S = 30.0
ROUTER = address("10.0.2.1")
NEAR, FAR = address("10.0.2.21"), address("10.0.3.22")


class World:
    def __init__(self, monkeypatch) -> None:
        self.script = fakes.Script()
        self.client = fakes.FakeClient(self.script)
        self.nft = fakes.FakeNft(self.script)
        self.netlink = fakes.FakeNetlink(self.script)
        self.store = fakes.FakeStore(self.script)
        self.dhcp = fakes.FakeFleet()
        monkeypatch.setattr(rtnl, "ways", self.ways)
        self.now = 1000.0
        self.start()

    @staticmethod
    def ways(teps, source_be, index):
        """One TEP is on the link, the others behind its router."""
        return {t: rtnl.Way(index, t if t == NEAR else ROUTER, 0) for t in teps}

    def start(self) -> None:
        """A gateway process begins; the world stays what it is."""
        self.neighbours = fakes.FakeNeighbours()
        datapath = Datapath(self.client)
        self.gateway = Gateway(
            RESYNC_S,
            datapath=datapath,
            grants=Grants(datapath, wall=lambda: 5.0),
            nft=self.nft,
            netlink=self.netlink,
            neighbours=self.neighbours,
            store=self.store,
            dhcp=self.dhcp,
            wall=lambda: 5.0,
        )

    def run(self, seconds: float = 0.5) -> list[str]:
        """Rounds, whenever one is due. What was done, apart from looking."""
        self.script.done.clear()
        until = self.now + seconds
        while self.now <= until:
            self.gateway.round(self.now)
            turn = self.gateway.next_turn()
            self.now = max(turn, self.now + 0.001)
        self.now = until
        looks = ("read", "totals", "netlink")
        return [a for a in self.script.done if not a.startswith(looks)]

    def adopt(self, desired=DESIRED, revision=1) -> None:
        self.gateway.adopt(desired, 7, revision, self.now)
