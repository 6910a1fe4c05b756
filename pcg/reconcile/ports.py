"""Workload ports -> records, one per address and one for DHCP, kept up to date by difference.

100,000 ports come and go one at a time. A delta replaces only the objects it changes, so what is
the same object as before is the same port: comparing identities finds the changed one among
100,000 in about 2 ms, where compiling all of them again takes about 0.3 s.
"""

import itertools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pcg.model.desired import Port
from pcg.reconcile import records as r
from pcg.reconcile.addresses import address, mac

Key = tuple[int, bytes]  # vrf, address_be
ClientKey = tuple[int, bytes]  # vni, mac


class Touched(NamedTuple):
    """Keys of the records that may differ from before."""

    ports: set[Key]
    clients: set[ClientKey]


class Home(NamedTuple):
    """What a port takes from its segment."""

    vrf: int
    vni: int
    dhcp: bool = False  # it has a scope


def difference(old: Sequence, new: Sequence) -> tuple[list, list]:
    """(gone, come): objects of `old` not in `new` and the other way round, by identity.

    >>> a, b, c = ["a"], ["b"], ["c"]
    >>> difference((a, b), (a, c)), difference((a, b, c), (a, c))
    (([['b']], [['c']]), ([['b']], []))
    """
    if old is new:
        return [], []
    shorter = min(len(old), len(new))
    head = _same(old, new, shorter)
    tail = min(_same(reversed(old), reversed(new), shorter), shorter - head)
    old_part, new_part = old[head : len(old) - tail], new[head : len(new) - tail]
    had, has = set(map(id, old_part)), set(map(id, new_part))
    return [o for o in old_part if id(o) not in has], [o for o in new_part if id(o) not in had]


def _same(old: Iterable, new: Iterable, shorter: int) -> int:
    """How many objects from the start are the same; no Python code runs per object."""
    differ = map(operator.is_not, old, new)
    return next(itertools.compress(itertools.count(), differ), shorter)


class PortTable:
    """The records that the ports of the desired state want, by key."""

    def __init__(self) -> None:
        self.records: dict[Key, r.Ports] = {}
        self.clients: dict[ClientKey, r.Clients] = {}
        self._ports: tuple[Port, ...] = ()
        self._homes: Mapping[str, Home] = {}

    def update(self, ports: tuple[Port, ...], homes: Mapping[str, Home]) -> Touched:
        """Follow the desired state."""
        if homes != self._homes:
            gone, come = self._ports, ports
        else:
            gone, come = difference(self._ports, ports)
        touched = Touched(set(), set())
        for port in gone:
            self._forget(port, touched)
        for port in come:
            self._learn(port, homes[port.segment], touched)
        self._ports, self._homes = ports, homes
        return touched

    def _forget(self, port: Port, touched: Touched) -> None:
        home = self._homes[port.segment]
        for text in port.addresses:
            key = (home.vrf, address(text))
            self.records.pop(key, None)
            touched.ports.add(key)
        if home.dhcp:
            key = (home.vni, mac(port.mac))
            self.clients.pop(key, None)
            touched.clients.add(key)

    def _learn(self, port: Port, home: Home, touched: Touched) -> None:
        tep, mac_be = address(port.tep), mac(port.mac)
        for text in port.addresses:
            key = (home.vrf, address(text))
            self.records[key] = r.Ports(home.vrf, key[1], home.vni, tep, mac_be)
            touched.ports.add(key)
        if home.dhcp:
            key = (home.vni, mac_be)
            self.clients[key] = r.Clients(home.vni, mac_be, tep)
            touched.clients.add(key)
