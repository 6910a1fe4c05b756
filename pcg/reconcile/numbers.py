"""Numbers of named things: VRFs, public addresses, NAT rules, firewall rules, groups.

The datapath knows them by number, in sessions and counters that outlive any restart of the
control loop. So a name that the datapath knows keeps its number, and a number is given to a new
name only when neither a wanted name nor one that is still programmed holds it: a port of a VRF
that is going must never appear, even for a moment, in the VRF that takes its place.

What the datapath counted and noted by a rule's number stays after the rule: hits, dropped flows,
ends of its sessions. So a rule that is gone keeps its number, too, and another one gets it last.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pcg.model import sizes
from pcg.model.desired import Desired
from pcg.model.errors import BackendError


class Range(NamedTuple):
    first: int
    last: int


# First to last number of each kind, as pcgdp.h bounds them; rule 0 means "no rule" in a session.
RANGES = {
    "vrfs": Range(0, sizes.VRFS_MAX - 1),
    "publics": Range(0, sizes.PUBLIC_ADDRESSES_MAX - 1),
    "nat": Range(1, sizes.NAT_RULES_MAX),
    "firewall": Range(1, (1 << 30) - 1),  # twice that many lists are numbered after them
    "groups": Range(1, (1 << 31) - 1),
}


GONE_MAX = 1000  # rules of a kind that are gone and keep their number


@dataclass(frozen=True)
class Numbers:
    vrfs: Mapping[str, int] = field(default_factory=dict)
    publics: Mapping[str, int] = field(default_factory=dict)
    nat: Mapping[str, int] = field(default_factory=dict)
    firewall: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)


def assign(names: Iterable[str], known: Mapping[str, int], span: Range) -> dict[str, int]:
    """A number for every name: the known one, or the lowest that is free.

    >>> assign(["a", "c"], {"b": 0, "c": 2}, Range(0, 9))
    {'a': 1, 'c': 2}
    """
    taken, given, free = set(known.values()), {}, span.first
    for name in names:
        if name in known:
            given[name] = known[name]
        elif name not in given:
            while free in taken:
                free += 1
            if free > span.last:
                raise BackendError("datapath", f"all {free - span.first} numbers are in use")
            given[name] = free
            taken.add(free)
    return given


def numbers_for(desired: Desired, known: Numbers) -> Numbers:
    """Numbers of every named object of the desired state; `known`: what is programmed."""
    names = {
        "vrfs": (v.id for v in desired.vrfs),
        "publics": (p.id for p in desired.public_addresses),
        "nat": (n.id for n in desired.nat),
        "firewall": (r.id for s in desired.firewall.sections for r in s.rules),
        "groups": (g.id for g in desired.groups),
    }
    return Numbers(**{k: assign(names[k], getattr(known, k), RANGES[k]) for k in names})


def gone_from(before: Numbers, now: Numbers, most: int = GONE_MAX) -> Numbers:
    """Rules of `before` that are no more: of each kind `most` at most, those that went last."""
    made = {}
    for kind in ("nat", "firewall"):
        there = getattr(now, kind)
        left = [(name, n) for name, n in getattr(before, kind).items() if name not in there]
        made[kind] = dict(left[max(0, len(left) - most) :])
    return Numbers(**made)


def merged(first: Numbers, second: Numbers) -> Numbers:
    """Where the two disagree, about a name or about who has a number, the first is right."""
    made = {}
    for kind in RANGES:
        sure, maybe = getattr(first, kind), getattr(second, kind)
        taken = set(sure.values())
        made[kind] = {**{k: n for k, n in maybe.items() if n not in taken}, **sure}
    return Numbers(**made)


def numbers_of(policy: Mapping[str, list]) -> Numbers:
    """Numbers that records read from the datapath carry beside their names."""
    return Numbers(
        vrfs={r.name: r.index for r in policy.get("vrfs", ())},
        publics={r.name: r.index for r in policy.get("publics", ())},
        nat={r.name: r.id for r in policy.get("nat", ())},
        firewall={r.name: r.id for r in policy.get("firewall", ())},
        groups={r.name: r.id for r in policy.get("groups", ())},
    )
