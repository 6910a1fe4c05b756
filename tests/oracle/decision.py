"""What is to become of a first packet: DNAT, route, firewall, SNAT, next hop, in that order.

The slow twin of decide.c, written from DESIGN 3 and 6 and from the RFCs that are named. It reads
the records as lists and looks at each of them every time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pcg.reconcile import records as r
from tests.oracle.ipv4 import ICMP, TCP, UDP
from tests.oracle.policy import (
    BLACKHOLE,
    DNAT,
    NO_DNAT,
    NO_SNAT,
    REFLEXIVE,
    SEGMENT,
    SNAT,
    UPLINK,
    Records,
    num,
    place_of,
)
from tests.oracle.rules import ALLOW, REJECT, Flow, first, ruling

EXTERNAL, INTERNAL, BYPASS = range(3)
IN, OUT = 1, 2
PORTS = (TCP, UDP)
DRAWS = (TCP, UDP, ICMP)  # what has a port or an identifier that a mapping can change


def spread(address: int, n: int) -> int:
    """Which of n equals serves this address. RFC 4787 REQ-2 asks for always the same one; which it
    is, is the path's free choice, so this is its formula."""
    return ((address * 0x9E3779B1 & 0xFFFFFFFF) >> 8) % n


@dataclass(frozen=True, slots=True)
class Key:
    """A tuple where it lives: the overlay or the uplink of one VRF."""

    vrf: int
    uplink: bool
    src: int
    dst: int
    sport: int
    dport: int
    proto: int


@dataclass(slots=True)
class Decision:
    reason: str | None = None
    kind: int | None = None  # NAT action; None: not translated
    nat: r.Nat | None = None
    nat_id: int = 0
    fw_id: int = 0
    reject: bool = False
    by_default: bool = False
    stateless: bool = False
    open: bool = False  # to strangers, too: endpoint-independent filtering
    to_gateway: bool = False
    pool: tuple[r.Publics, ...] = ()  # SNAT with a port to draw: in the order they are asked
    rulings: dict[int, int] = field(default_factory=dict)  # by which address: which firewall rule
    mapping: Any = None  # inwards to a mapping's outside endpoint
    address: int = 0  # what is put in
    port: int | None = None
    way: tuple | None = None  # ("port", place_of() it), ("hop", address) or ("hairpin",)
    back: tuple | None = None
    src_port: r.Ports | None = None
    dst_port: r.Ports | None = None


class Policy(Records):
    """The records of one gateway, and what they say of a first packet."""

    def matches(self, rules, key: Key, src: int, dst: int, dport: int) -> int | None:
        sport, dport = (key.sport, dport) if key.proto in PORTS else (0, 0)
        return first(rules, src.to_bytes(4), dst.to_bytes(4), key.proto, sport, dport)

    def filter(self, d: Decision, key: Key, way: int, src: int, dst: int, dport: int) -> None:
        """One evaluation per session, on the address that the NAT rule's firewall_match says."""
        if d.nat and d.nat.fw_match == BYPASS:
            return
        rules = [row for row in self.firewall if row.vrf == key.vrf]
        vrf = self.vrfs[key.vrf]
        default = vrf.default_in if way == IN else vrf.default_out
        ports = (key.sport, dport) if key.proto in PORTS else (0, 0)
        flow = Flow(src.to_bytes(4), dst.to_bytes(4), key.proto, *ports)
        said = ruling(rules, self.members, default, way, flow, d.kind is not None)
        d.fw_id, d.by_default = said.rule, not said.rule
        if said.action == ALLOW:
            d.stateless = not said.session
        else:
            d.reason, d.reject = "FIREWALL_DENIED", said.action == REJECT

    def enter(self, d: Decision, vrf: int, dst: int) -> None:
        route = self.route(vrf, dst)
        if not route or route.kind != SEGMENT:
            d.reason = "BLACKHOLE" if route and route.kind == BLACKHOLE else "NO_ROUTE"
        elif route.vni in self.segments and num(self.segments[route.vni].gateway_be) == dst:
            d.to_gateway = True
        elif (vrf, dst) in self.ports:
            d.dst_port = self.ports[vrf, dst]
            d.way = "port", (vrf, dst)
        else:
            d.reason = "PORT_UNKNOWN"

    def translate_source(self, d: Decision, key: Key) -> None:
        rule, pool = d.nat, [self.publics[i] for i in d.nat.pool[: d.nat.n_pool]]
        d.kind = rule.action
        if rule.action == REFLEXIVE:  # 1:1, in order
            at = min(key.src - num(rule.match.src_be), len(pool) - 1)
        else:
            at = spread(key.src, len(pool))
        d.address, d.port = num(pool[at].secondary_be), key.sport
        if rule.action == REFLEXIVE:
            return
        if key.proto in DRAWS:
            d.pool = (*pool[at:], *pool[:at])
        elif rule.match.src_len != 32 or len(pool) != 1:
            d.reason = "NAT_PROTOCOL"

    def filter_pool(self, d: Decision, key: Key) -> None:
        """The others help only where the firewall lets it leave by them, in that rule's name."""
        for pub in d.pool:
            asked, address = replace(d, reason=None), num(pub.secondary_be)
            outside = d.nat.fw_match == EXTERNAL
            self.filter(asked, key, OUT, address if outside else key.src, key.dst, key.dport)
            if not asked.reason:
                d.rulings[address] = asked.fw_id
        d.pool = tuple(pub for pub in d.pool if num(pub.secondary_be) in d.rulings)

    def rule_out(self, key: Key) -> r.Nat | None:
        rules = [row for row in self.nat if row.vrf == key.vrf and row.action in (1, 2, 3)]
        found = self.matches([row.match for row in rules], key, key.src, key.dst, key.dport)
        return None if found is None else rules[found]

    def exempts(self, key: Key, src: int) -> bool:
        """Does a NO_SNAT rule let this flow's own source out?"""
        rule = None if key.uplink or key.src != src else self.rule_out(key)
        return rule is not None and rule.action == NO_SNAT

    def may_be_seen(self, port: r.Ports, key: Key) -> bool:
        """Outside, as it is: in a routed segment, and with an address of one."""
        return bool(self.segments[port.vni].flags & 1) and self.owner(key.src) == key.vrf

    def leave(self, d: Decision, key: Key, leaves_as: Callable[[Decision], int | None]) -> None:
        """leaves_as(): the address that it has outside, if it has one."""
        d.back, d.nat = ("port", place_of(d.src_port)), self.rule_out(key)
        if d.nat:
            d.nat_id = d.nat.id
        if d.nat and d.nat.action != NO_SNAT:
            self.translate_source(d, key)
        elif not d.nat and not self.may_be_seen(d.src_port, key):
            d.reason = "NO_NAT"  # nothing leaves untranslated but by a rule, or a routed segment
        if d.kind is None and d.way == ("hairpin",):
            d.reason = "NO_NAT"  # the callee's host would answer its own address past the gateway
        if d.reason:
            return
        outside = d.kind is not None and d.nat.fw_match == EXTERNAL
        address = leaves_as(d) or d.address if d.pool else d.address
        self.filter(d, key, OUT, address if outside else key.src, key.dst, key.dport)
        if not d.reason:
            self.filter_pool(d, key)
        if not d.reason and not d.way:
            d.reason = "NEIGHBOUR_UNRESOLVED"

    def from_overlay(self, key: Key, leaves_as) -> Decision:
        d = Decision(src_port=self.ports.get((key.vrf, key.src)))
        if not d.src_port:
            d.reason = "SOURCE_SPOOFED"
            return d
        route = self.route(key.vrf, key.dst)
        if route and route.kind == UPLINK:
            d.way = self.outwards(key.vrf, key.dst)
            self.leave(d, key, leaves_as)
        elif not route:
            d.reason = "NO_ROUTE"
        else:
            d.stateless = True
            if key.proto == UDP and (key.sport == 67 or key.dport == 68):
                d.reason = "DHCP_SERVER"  # only the gateway is one
            else:
                self.enter(d, key.vrf, key.dst)
        return d

    def translate_target(self, d: Decision, key: Key, held: int | None) -> bool:
        doors = [door for door in self.doors if door[1].vrf == key.vrf]
        found = self.matches([door[0] for door in doors], key, key.src, key.dst, key.dport)
        if found is None:
            return False
        match, rule, at = doors[found]
        d.nat, d.nat_id, d.port = rule, rule.id, key.dport
        if rule.action == REFLEXIVE:
            d.address = num(rule.match.src_be) + at
        elif rule.action == DNAT:
            d.address = num(rule.target_be) + spread(key.src, rule.n_targets)
            if held in range(num(rule.target_be), num(rule.target_be) + rule.n_targets):
                d.address = held  # a session stays with its target
            if rule.port_first and key.proto in PORTS:
                shift = key.dport - match.dport_first if rule.port_last > rule.port_first else 0
                d.port = rule.port_first + shift
        d.kind = None if rule.action == NO_DNAT else rule.action
        return True

    def from_uplink(self, key: Key, mapping, held: int | None) -> Decision:
        """`mapping`: whose outside endpoint the destination is, if it is one that may be used.
        `held`: where a session that lives leads."""
        d = Decision(address=key.dst)
        if self.owner(key.dst) != key.vrf:
            d.reason = "NOT_OWNED"  # any more
        elif key.dst in self.secondary:
            if self.translate_target(d, key, held):
                d.reason = "NO_DNAT" if d.kind is None else None
            elif mapping and (rule := self.still_allows(key.vrf, mapping)):
                d.nat, d.open = rule, rule.filtering == 1
                d.kind, d.mapping, d.nat_id = SNAT, mapping, mapping.key.rule
                d.address, d.port = mapping.key.src, mapping.key.sport
            else:
                d.reason = "NO_DNAT"
        if not d.reason:
            self.enter(d, key.vrf, d.address)
        if not d.reason and d.to_gateway:
            d.reason = "GATEWAY_ADDRESSED"
        if not d.reason:
            self.come_back(d, key)
        return d

    def come_back(self, d: Decision, key: Key) -> None:
        d.back = self.outwards(key.vrf, key.src)
        route = self.route(key.vrf, key.src)
        if not d.back and not (route and route.kind == UPLINK):
            d.reason = "NO_ROUTE"
            return
        inside = d.nat and d.nat.fw_match == INTERNAL
        self.filter(d, key, IN, key.src, *((d.address, d.port) if inside else (key.dst, key.dport)))
        if d.mapping:
            d.reject = False  # RFC 5382 REQ-4: its owner may be about to send a SYN itself
        if d.reason:
            return
        if not d.back:
            d.reason = "NEIGHBOUR_UNRESOLVED"
        if d.mapping and not d.open and not d.mapping.open[key.src]:  # RFC 4787 REQ-8
            d.reason = "NAT_FILTERED"
