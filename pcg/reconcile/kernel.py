"""Interface set-up as the kernel's objects: addresses, routes and rules, each with our mark. Pure.

Each interface has a routing table of its own, chosen by source address, so that every address is
answered from its own interface, whatever the main table says. The main table is left alone; when
it knows no way out, the management interface's gateway is asked last.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pcg.reconcile.host import ROLES, Setup

PROTO = 80  # "protocol" of our addresses, routes and rules: only what bears it is ever removed
TABLES = {role: 50801 + i for i, role in enumerate(ROLES)}
BY_SOURCE = 5080  # priority of the rules; those of the main table are at 32766
LAST_RESORT = 32800
DEFAULT = "0.0.0.0/0"


class Address(NamedTuple):
    index: int  # of the interface
    address: str
    length: int


class Route(NamedTuple):
    table: int
    prefix: str
    gateway: str  # "": on the link
    index: int
    source: str  # that the kernel should prefer


class Rule(NamedTuple):
    priority: int
    source: str  # "": any
    table: int


class Objects(NamedTuple):
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[Rule, ...] = ()


def wanted(setups: Iterable[Setup], index_of: Mapping[str, int]) -> Objects:
    """What the interfaces that exist should have; those without an index are left out."""
    addresses: list[Address] = []
    routes: list[Route] = []
    rules: list[Rule] = []
    for setup in setups:
        index = index_of.get(setup.name)
        if index is None:
            continue
        table = TABLES[setup.role]
        for text in setup.addresses:
            interface = ipaddress.IPv4Interface(text)
            source = str(interface.ip)
            addresses.append(Address(index, source, interface.network.prefixlen))
            routes.append(Route(table, str(interface.network), "", index, source))
            rules.append(Rule(BY_SOURCE + ROLES.index(setup.role), source, table))
        if setup.gateway:
            source = setup.addresses[0].partition("/")[0] if setup.addresses else ""
            routes.append(Route(table, DEFAULT, setup.gateway, index, source))
            if setup.role == "management":
                rules.append(Rule(LAST_RESORT, "", table))
    return Objects(_once(addresses), _once(_first_route(routes)), _once(rules))


def _first_route(routes: Iterable[Route]) -> list[Route]:
    """Of two addresses in one subnet the first one's route: a table holds a prefix once."""
    made: dict[tuple[int, str], Route] = {}
    for route in routes:
        made.setdefault((route.table, route.prefix), route)
    return list(made.values())


def _once(items: Iterable) -> tuple:
    return tuple(dict.fromkeys(items))
