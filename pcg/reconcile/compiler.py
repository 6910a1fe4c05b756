"""Keeps what it compiled and compiles again only what changed. No I/O.

A delta replaces the lists it changes and leaves the others the same objects, so "is it the same
object" tells what to do again. One moved workload must not cost the NAT rules a second look.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pcg.model.desired import Desired
from pcg.model.errors import BackendError
from pcg.reconcile import compile as c
from pcg.reconcile.numbers import Numbers, gone_from, merged, numbers_for
from pcg.reconcile.ports import ClientKey, Home, Key, PortTable


class Tables(NamedTuple):
    """All that the datapath should hold."""

    policy: c.Policy
    teps: Mapping[bytes, Any]
    nexthops: Mapping[bytes, Any]
    ports: Mapping[Key, Any]
    touched: set[Key]  # of `ports`: may differ from the last time
    homes: Mapping[str, Home]  # segment -> where its ports live
    clients: Mapping[ClientKey, Any]
    touched_clients: set[ClientKey]  # likewise of `clients`


class Compiler:
    def __init__(self) -> None:
        self.numbers = Numbers()
        self.gone = Numbers()  # of rules that are no more
        self._ports = PortTable()
        self._kept: dict[str, tuple[tuple, Any]] = {}

    def tables(self, desired: Desired, hops: c.Hops, known: Numbers) -> Tables:
        """`known`: numbers of the names that the datapath holds."""
        d = desired
        named = (d.vrfs, d.public_addresses, d.nat, d.firewall, d.groups)
        self._once("numbers", (*named, known), lambda: self._number(desired, known))
        inputs = (d.gateway, d.segments, d.routes, *named, self.numbers)
        policy = self._once("policy", inputs, lambda: c.compile_policy(desired, self.numbers))
        inputs = (d.segments, self.numbers)
        homes = self._once("homes", inputs, lambda: c.homes(desired, self.numbers))
        touched, touched_clients = self._ports.update(d.ports, homes)
        inputs = (d.gateway, d.teps, hops)
        teps = self._once("teps", inputs, lambda: c.teps(desired, hops))
        nexthops = self._once("nexthops", (d.routes, hops), lambda: c.nexthops(desired, hops))
        ports, clients = self._ports.records, self._ports.clients
        return Tables(policy, teps, nexthops, ports, touched, homes, clients, touched_clients)

    def _number(self, desired: Desired, known: Numbers) -> None:
        """Names we gave a number that did not reach the datapath yet keep it as well."""
        held = merged(known, self.numbers)
        before = merged(held, self.gone)
        try:
            numbers = numbers_for(desired, before)
        except BackendError:  # so many rules that those which are gone cannot keep theirs
            numbers, before = numbers_for(desired, held), held
        self.gone = gone_from(before, numbers)
        if numbers != self.numbers:  # an equal one stays the same object, for _once
            self.numbers = numbers

    def _once(self, name: str, inputs: tuple, make: Callable[[], Any]) -> Any:
        before = self._kept.get(name)
        if before and all(a is b for a, b in zip(before[0], inputs, strict=True)):
            return before[1]
        made = make()
        self._kept[name] = (inputs, made)
        return made
