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


def setups(desired: Desired) -> list[Setup]:
    made = []
    for role in ROLES:
        i = getattr(desired.gateway.interfaces, role)
        made.append(Setup(role, i.name, i.mtu, i.addresses, i.gateway, role != "management"))
    return made


def steering(desired: Desired) -> Steering:
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
    )


def disjoint(prefixes: Iterable[str]) -> tuple[str, ...]:
    """Merged, since a set of intervals refuses overlaps.

    >>> disjoint(["10.0.0.1", "10.9.0.0/25", "10.9.0.128/25", "10.9.0.7"])
    ('10.0.0.1/32', '10.9.0.0/24')
    """
    nets = (ipaddress.IPv4Network(p, strict=False) for p in prefixes)
    return tuple(str(n) for n in ipaddress.collapse_addresses(nets))


def common(old: Steering, new: Steering) -> Steering:
    """What both keep from the kernel: the state between taking away and adding."""
    return new._replace(owned=tuple(sorted(set(old.owned) & set(new.owned))))
