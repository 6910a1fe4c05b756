"""Firewall rules and the groups of addresses that they name, as records.

A rule whose sources and destinations are few is multiplied out, as NAT rules are: what it matches
can then be read in its records. A longer list is kept once, as a group of that rule alone, and so
is one that names a group beside other things. A group by itself is named by its number.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pcg.model.desired import (
    Desired,
    Direction,
    FirewallAction,
    FirewallRule,
    Match,
    Protocol,
    Service,
)
from pcg.reconcile import records as r
from pcg.reconcile.addresses import ANY
from pcg.reconcile.compile_rules import FIREWALL_FACES, Publics, matches_of, prefixes
from pcg.reconcile.numbers import Numbers

FW_ACTIONS = {FirewallAction.ALLOW: 0, FirewallAction.DROP: 1, FirewallAction.REJECT: 2}
DIRECTIONS = {Direction.IN: 1, Direction.OUT: 2, Direction.IN_OUT: 3}
MULTIPLIED_MAX = 16  # pairs of a source and a destination that one rule is multiplied out to
LISTS = 1 << 31  # of rule n: its source is group LISTS + 2n, its destination the next one
ANY_SERVICE = (Service(protocol=Protocol.ANY),)

Prefixes = list[tuple[bytes, int]]


class Side(NamedTuple):
    """What a rule says of one end."""

    group: int  # 0: `prefixes` it is
    prefixes: Prefixes  # with a group: its members, as far as nobody else names them
    own: bool  # a list that must become a group, since it names one


class FirewallRecords(NamedTuple):
    firewall: list[r.Firewall]
    groups: list[r.Groups]
    members: list[r.Members]


def firewall(desired: Desired, numbers: Numbers, publics: Publics) -> FirewallRecords:
    """Rules in order of the document: sections, rules, services; the rest is sorted."""
    of = _Groups(desired, numbers, publics)
    rules = [
        record
        for section in desired.firewall.sections
        for rule in section.rules
        if rule.enabled
        for record in _rule(rule, section.vrf, of)
    ]
    groups = [r.Groups(numbers.groups[g.id], numbers.vrfs[g.vrf], g.id) for g in desired.groups]
    return FirewallRecords(rules, sorted(groups), sorted(of.members))


class _Groups:
    """The groups of one desired state; rules add those that they need."""

    def __init__(self, desired: Desired, numbers: Numbers, publics: Publics) -> None:
        self.numbers, self.publics = numbers, publics
        self.named: dict[str, Prefixes] = {}
        self.members: list[r.Members] = []
        for group in desired.groups:
            vrf = numbers.vrfs[group.vrf]
            found = prefixes(group.members, vrf, publics, FIREWALL_FACES) if group.members else []
            self.named[group.id] = found
            self.add(vrf, numbers.groups[group.id], found)

    def add(self, vrf: int, number: int, found: Iterable[tuple[bytes, int]]) -> None:
        self.members += [r.Members(vrf, number, be, length) for be, length in set(found)]

    def side(self, items: Sequence[str], vrf: int) -> Side:
        if not items:
            return Side(0, [ANY], False)
        if len(items) == 1 and items[0] in self.named:
            return Side(self.numbers.groups[items[0]], [ANY], False)
        groups = [item for item in items if item in self.named]
        rest = [item for item in items if item not in self.named] if groups else items
        found = prefixes(rest, vrf, self.publics, FIREWALL_FACES) if rest else []
        for group in groups:
            found += self.named[group]
        return Side(0, found, bool(groups))


def _rule(rule: FirewallRule, vrf_name: str, of: _Groups) -> Iterator[r.Firewall]:
    vrf, number = of.numbers.vrfs[vrf_name], of.numbers.firewall[rule.id]
    sides = [of.side(items, vrf) for items in (rule.source, rule.destination)]
    many = len(sides[0].prefixes) * len(sides[1].prefixes) > MULTIPLIED_MAX
    for index, side in enumerate(sides):
        if side.own or (many and len(side.prefixes) > 1):
            made = LISTS + 2 * number + index
            of.add(vrf, made, side.prefixes)
            sides[index] = Side(made, [ANY], False)
    for match in _matches(rule, sides):
        yield r.Firewall(
            id=number,
            vrf=vrf,
            action=FW_ACTIONS[rule.action],
            direction=DIRECTIONS[rule.direction],
            log=int(rule.log),
            match=match,
            name=rule.id,
            src_group=sides[0].group,
            dst_group=sides[1].group,
            stateless=int(not rule.stateful),
        )


def _matches(rule: FirewallRule, sides: Sequence[Side]) -> Iterator[r.Match]:
    for service in rule.services or ANY_SERVICE:
        match = Match(
            protocol=service.protocol,
            source_ports=service.source_ports,
            destination_ports=service.destination_ports,
        )
        yield from matches_of(match, sides[0].prefixes, sides[1].prefixes)
