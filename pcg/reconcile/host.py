"""Desired state -> what the kernel beside the datapath should be. Pure.

`Setup`: how each interface is set up. `Steering`: what the kernel must keep its hands off,
since the datapath answers for it (DESIGN section 6.1).
"""

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

from pcg.model.desired import Desired

ROLES = ("uplink", "downlink", "management")


class Setup(NamedTuple):
    """One interface. What is not named here (other addresses, routes) is somebody else's."""

    role: str
    name: str
    mtu: int
    addresses: tuple[str, ...]  # with their prefix lengths, the primary one first
    gateway: str  # "": none
    taken: bool  # the datapath reads its frames: no offload may merge, split or leave unfinished


class Steering(NamedTuple):
    uplink: str  # interface names
    downlink: str
    management: str
    tep: str
    kept: tuple[str, ...]  # addresses that stay the kernel's, whatever else is owned
    owned: tuple[str, ...]  # prefixes on the uplink, disjoint, sorted; "10.9.0.0/24", "10.1.0.9/32"
    metrics: int = 0  # TCP port that is served on management beside SSH; 0: none
    ingress: bool = True  # False: the firewall of this host alone, while an interface is missing


def setups(desired: Desired) -> list[Setup]:
    made = []
    for role in ROLES:
        i = getattr(desired.gateway.interfaces, role)
        made.append(Setup(role, i.name, i.mtu, i.addresses, i.gateway, role != "management"))
    return made


def steering(desired: Desired, metrics: int = 0) -> Steering:
    gateway = desired.gateway
    interfaces = gateway.interfaces
    owned = [p.secondary.get(gateway.id, "") for p in desired.public_addresses]
    owned += [s.subnet for s in desired.segments if s.routed]
    kept = [a for role in ROLES for a in getattr(interfaces, role).addresses]
    return Steering(
        uplink=interfaces.uplink.name,
        downlink=interfaces.downlink.name,
        management=interfaces.management.name,
        tep=gateway.tep,
        kept=tuple(sorted({a.partition("/")[0] for a in kept})),
        owned=disjoint(filter(None, owned)),
        metrics=metrics,
    )


def disjoint(prefixes: Iterable[str]) -> tuple[str, ...]:
    """Merged, since a set of intervals refuses overlaps.

    >>> disjoint(["10.0.0.1", "10.9.0.0/25", "10.9.0.128/25", "10.9.0.7"])
    ('10.0.0.1/32', '10.9.0.0/24')
    """
    nets = (ipaddress.IPv4Network(p, strict=False) for p in prefixes)
    return tuple(str(n) for n in ipaddress.collapse_addresses(nets))


def common(old: Steering, new: Steering) -> Steering:
    """What both keep from the kernel, where `old` keeps it: between taking away and adding."""
    kept = tuple(sorted({*old.kept, *new.kept}))
    return old._replace(kept=kept, owned=shared(old.owned, new.owned))


def shared(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    """Prefixes of what lies in both, of disjoint sorted ones.

    >>> shared(["10.0.0.0/31", "10.9.0.0/24"], ["10.0.0.1/32", "10.8.0.0/15", "10.20.0.0/16"])
    ('10.0.0.1/32', '10.9.0.0/24')
    """
    left, right = ([ipaddress.IPv4Network(p) for p in side] for side in (one, other))
    found, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        a, b = left[i], right[j]
        if a.overlaps(b):  # then one holds the other
            found.append(max(a, b, key=lambda net: net.prefixlen))
        if a.broadcast_address <= b.broadcast_address:
            i += 1
        else:
            j += 1
    return tuple(map(str, found))
