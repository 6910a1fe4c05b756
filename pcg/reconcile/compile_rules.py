"""NAT rules, multiplied out into records that match one thing each.

A rule lists sources, destinations, protocols and port ranges; a record has one of each. All
records of a rule carry its number, so that counters and sessions speak of the rule.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pcg.model.desired import (
    Desired,
    FirewallMatch,
    Match,
    Nat,
    NatAction,
    PortRange,
    Protocol,
)
from pcg.model.sizes import POOL_MAX
from pcg.model.terms import Filtering, Timers
from pcg.reconcile import records as r
from pcg.reconcile.addresses import ANY, address, prefix
from pcg.reconcile.numbers import Numbers

# IANA protocol numbers; 0 is "any" in a record.
PROTOCOLS = {
    Protocol.ANY: 0,
    Protocol.ICMP: 1,
    Protocol.TCP: 6,
    Protocol.UDP: 17,
    Protocol.GRE: 47,
    Protocol.ESP: 50,
    Protocol.AH: 51,
    Protocol.SCTP: 132,
}
NAT_ACTIONS = {
    NatAction.DNAT: 0,
    NatAction.SNAT: 1,
    NatAction.REFLEXIVE: 2,
    NatAction.NO_SNAT: 3,
    NatAction.NO_DNAT: 4,
}
FW_MATCHES = {
    FirewallMatch.EXTERNAL_ADDRESS: 0,
    FirewallMatch.INTERNAL_ADDRESS: 1,
    FirewallMatch.BYPASS: 2,
}
FILTERINGS = {Filtering.ADDRESS_DEPENDENT: 0, Filtering.ENDPOINT_INDEPENDENT: 1}
RESET_CHANGE, RESET_IDLE = 1, 2  # enum pcgdp_reset
ANY_PORTS = (PortRange(0, 65535),)

# By which of its two addresses a rule finds a public address. What comes from the uplink has the
# secondary one, since the cloud replaced the other before; what workloads dial is the Elastic IP.
# The firewall meets both.
Faces = tuple[str, ...]
ELASTIC, SECONDARY = "address_be", "secondary_be"
NAT_FACES: dict[NatAction, Faces] = {
    NatAction.DNAT: (SECONDARY,),
    NatAction.NO_DNAT: (SECONDARY,),
    NatAction.SNAT: (ELASTIC,),
    NatAction.NO_SNAT: (ELASTIC,),
    NatAction.REFLEXIVE: (ELASTIC,),
}
FIREWALL_FACES: Faces = (ELASTIC, SECONDARY)


@dataclass(frozen=True)
class Publics:
    """Public addresses as this gateway has them."""

    records: list[r.Publics]
    by_id: dict[str, r.Publics]
    by_elastic: dict[tuple[int, bytes], r.Publics]  # VRF, Elastic IP

    @classmethod
    def of(cls, desired: Desired, numbers: Numbers) -> "Publics":
        made = {}
        for p in desired.public_addresses:
            secondary = p.secondary.get(desired.gateway.id)
            if secondary:  # else it lives on other gateways only
                vrf, index = numbers.vrfs[p.vrf], numbers.publics[p.id]
                made[p.id] = r.Publics(index, vrf, address(p.address), address(secondary), p.id)
        by_elastic = {(p.vrf, p.address_be): p for p in made.values()}
        return cls(list(made.values()), made, by_elastic)


def nat_records(desired: Desired, numbers: Numbers, publics: Publics) -> list[r.Nat]:
    """In the order in which they decide: priority, then id. Disabled ones are left out."""
    rules = [n for n in desired.nat if n.enabled]
    rules.sort(key=lambda n: (n.priority, n.id))
    return [record for n in rules for record in _nat_rule(n, numbers, publics)]


def _nat_rule(rule: Nat, numbers: Numbers, publics: Publics) -> Iterator[r.Nat]:
    vrf = numbers.vrfs[rule.vrf]
    target_be, n_targets, pool = bytes(4), 0, []
    if rule.action is NatAction.DNAT:
        target_be, n_targets = _targets(rule.translated)
    else:
        pool = [publics.by_id[p].index for p in rule.translated if p in publics.by_id]
    for match, ports in _matches_with_ports(rule, vrf, publics):
        yield r.Nat(
            id=numbers.nat[rule.id],
            vrf=vrf,
            action=NAT_ACTIONS[rule.action],
            fw_match=FW_MATCHES[rule.firewall_match],
            log=int(rule.log),
            n_pool=len(pool),
            port_first=ports[0],
            port_last=ports[1],
            target_be=target_be,
            n_targets=n_targets,
            match=match,
            pool=tuple(pool + [0] * (POOL_MAX - len(pool))),
            name=rule.id,
            sessions_each=rule.quota.sessions or 0,
            ports_each=rule.quota.ports or 0,
            timeouts=tuple(getattr(rule.timers, f) or 0 for f in Timers.__struct_fields__),
            filtering=FILTERINGS[rule.filtering],
            overflow=int(rule.overflow),
            reset=RESET_CHANGE * rule.reset | RESET_IDLE * rule.reset_idle,
        )


def _targets(translated: Sequence[str]) -> tuple[bytes, int]:
    """First address and how many follow; `validate` saw to it that they are neighbours."""
    nets = sorted(prefix(t) for t in translated)
    return nets[0].be, sum(1 << (32 - n.length) for n in nets)


def _matches_with_ports(
    rule: Nat, vrf: int, publics: Publics
) -> Iterator[tuple[r.Match, tuple[int, int]]]:
    """Each match beside the ports it becomes; (0, 0): kept, or drawn from the default range."""
    to = rule.translated_ports
    ports = (to.first, to.last) if to else (0, 0)
    for match in matches(rule.match, vrf, publics, NAT_FACES[rule.action]):
        yield match, ports


def matches(match: Match, vrf: int, publics: Publics, faces: Faces) -> Iterator[r.Match]:
    """One record match for each combination of what the lists name."""
    sources, destinations = (
        prefixes(items, vrf, publics, faces) for items in (match.source, match.destination)
    )
    return matches_of(match, sources, destinations)


def matches_of(
    match: Match, sources: Iterable[tuple[bytes, int]], destinations: Iterable[tuple[bytes, int]]
) -> Iterator[r.Match]:
    """The same, of prefixes in place of what `match` says."""
    protocol = PROTOCOLS[match.protocol]
    for source, destination, sports, dports in itertools.product(
        sources,
        destinations,
        match.source_ports or ANY_PORTS,
        match.destination_ports or ANY_PORTS,
    ):
        yield r.Match(
            src_be=source[0],
            dst_be=destination[0],
            src_len=source[1],
            dst_len=destination[1],
            protocol=protocol,
            sport_first=sports.first,
            sport_last=sports.last,
            dport_first=dports.first,
            dport_last=dports.last,
        )


def prefixes(
    items: Sequence[str], vrf: int, publics: Publics, faces: Faces
) -> list[tuple[bytes, int]]:
    """Prefixes, addresses and ids of public addresses -> (bytes, length); none: anything.

    An Elastic IP written out is the same as the id of its public address. A longer prefix is
    taken as it stands: it names the Internet, not us.
    """
    made: list[tuple[bytes, int]] = []
    for item in items:
        public = publics.by_id.get(item)
        if public is None and item[0].isdigit():
            net = prefix(item)
            public = publics.by_elastic.get((vrf, net.be)) if net.length == 32 else None
            if public is None:
                made.append(net)
        if public:
            made += [(getattr(public, face), 32) for face in faces]
    # A list of which nothing is here matches nothing; only an empty list matches all.
    return made if items else [ANY]
