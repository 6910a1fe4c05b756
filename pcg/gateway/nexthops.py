"""Which MAC leads to each TEP and each next hop on the uplink: the kernel's word, put together."""

from collections.abc import Mapping

from pcg.drivers.neighbours import Neighbours, Ways, known
from pcg.drivers.netlink import Link
from pcg.model.desired import Desired
from pcg.reconcile.addresses import address
from pcg.reconcile.compile import Hops, uplink_next_hops


class NextHops:
    """`hops` is the same object until something in it changes."""

    def __init__(self, neighbours: Neighbours) -> None:
        self.neighbours = neighbours
        self.hops = Hops()
        self._ways = Ways()
        self._uplink_keys: dict[bytes, tuple[int, bytes]] = {}
        self._downlink_mtu = 0

    def look_up(
        self, desired: Desired, links: Mapping[str, Link], held: Mapping[str, Mapping]
    ) -> None:
        """Ask the kernel for the way to each. `held`: the datapath's records, by table."""
        interfaces = desired.gateway.interfaces
        uplink, downlink = links.get(interfaces.uplink.name), links.get(interfaces.downlink.name)
        if uplink is None or downlink is None:
            return  # the netlink backend says so; what was known stays
        teps = [address(t.address) for t in desired.teps]
        self._ways.look_up(teps, address(desired.gateway.tep), downlink.index)
        self._downlink_mtu = interfaces.downlink.mtu
        next_hops = uplink_next_hops(desired.routes)
        self._uplink_keys = {be: (uplink.index, be) for be in next_hops}
        self.neighbours.use([*self._ways.keys.values(), *self._uplink_keys.values()])
        for keys, table in ((self._ways.keys, "teps"), (self._uplink_keys, "nexthops")):
            for be, key in keys.items():
                record = held.get(table, {}).get(be)
                if record and (record.resolved or record.silent):
                    self.neighbours.suggest(key, record.mac)
        self.neighbours.refresh()
        self.gather()

    def gather(self) -> bool:
        """Take over what the neighbours say now. True when that changed anything."""
        uplink = {be: (key, 0) for be, key in self._uplink_keys.items()}
        hops = Hops(
            teps=self._ways.known(self.neighbours, self._downlink_mtu),
            nexthops=known(self.neighbours, uplink),
        )
        if hops == self.hops:
            return False
        self.hops = hops
        return True
