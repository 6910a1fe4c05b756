"""Outside endpoints as a list: the slow twin of mapping.c, natport.c, outside.c and fair.c.

Ports that the path draws at random are learnt from what it made, and then held to: in the rule's
range, promised to no DNAT rule, not shared, the same for the same inside endpoint. With `overflow`
they may be shared once they have run out, between sessions to different destinations.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from pcg.reconcile import records as r
from tests.oracle.decision import Decision, Key, Policy, num
from tests.oracle.ipv4 import ICMP

DRAWS = 5  # how many ports are drawn, until answers by one of them are nobody's
FEW = 64  # of so many ports one that is somebody's may be drawn by chance

Drawn = Callable[[], tuple[int, int]]  # the outside address and port that the path gave


class UnknownPortError(Exception):
    """The path may have drawn a port and kept nothing that would tell which."""


class Inside(NamedTuple):
    """Whose a mapping is: an endpoint, and the rule it was made by."""

    vrf: int
    src: int
    sport: int
    proto: int
    rule: int


@dataclass(eq=False, slots=True)
class Mapping:
    key: Inside
    public: int
    address: int
    port: int
    peer: int  # whom it was made for
    open: Counter[int] = field(default_factory=Counter)  # by peer, sessions that live
    sessions: int = 0
    retired: bool = False

    @property
    def further(self) -> int:
        """With how many others a session lives."""
        return sum(n > 0 for peer, n in self.open.items() if peer != self.peer)


class Outside(NamedTuple):
    """What an inside endpoint gets; without a mapping when it shares a port."""

    mapping: Mapping | None
    address: int
    port: int


def reply(key: Key, d: Decision, address: int, port: int) -> Key:
    """What the other side answers to."""
    src, dst, sport, dport = key.dst, key.src, key.dport, key.sport
    if d.kind is not None and key.uplink:
        src, sport = address, port
    elif d.kind is not None:
        dst, dport = address, port
    if key.proto == ICMP:
        sport = dport = port if d.kind is not None else key.dport
    return Key(key.vrf, not key.uplink, src, dst, sport, dport, key.proto)


def lands(key: Key, d: Decision, address: int) -> bool:
    """Translated to this, would it be from an address to itself?"""
    return (
        d.kind is not None
        and d.way != ("hairpin",)
        and address == (key.src if key.uplink else key.dst)
    )


def allowed(of_rule: int, of_all: int) -> float:
    return of_rule or of_all or float("inf")


@dataclass
class Mappings:
    """`index`: every tuple that a session answers to, as Table fills it."""

    index: dict[Key, tuple] = field(default_factory=dict)
    mappings: list[Mapping] = field(default_factory=list)
    held: list[Mapping] = field(default_factory=list)  # by what ended, until housekeeping
    overflows: Counter[int] = field(default_factory=Counter)  # by rule
    in_vain = 0  # ports drawn by which answers would have been another's

    def outside(self, address: int, port: int, proto: int) -> Mapping | None:
        for m in self.mappings:
            if (m.address, m.port, m.key.proto) == (address, port, proto):
                return m
        return None

    def ports_of(self, vrf: int, address: int) -> int:
        """How many outside endpoints a workload's address holds."""
        return sum((m.key.vrf, m.key.src) == (vrf, address) for m in self.mappings)

    def left(self, policy: Policy, rule: r.Nat, pub: r.Publics, proto: int) -> list[int]:
        """The rule's ports that this public address has left; of a long range a few."""
        low, high = policy.range_of(rule)
        used = {m.port for m in self.mappings if (m.public, m.key.proto) == (pub.index, proto)}
        ports = range(low, min(high + 1, low + len(used) + FEW))
        return [port for port in ports if port not in used and not policy.promised(pub, port)]

    def leaves_as(self, policy: Policy, d: Decision, key: Key) -> int | None:
        inside = Inside(key.vrf, key.src, key.sport, key.proto, d.nat.id)
        mine = (m for m in self.mappings if m.key == inside and not m.retired)
        return next((m.address for m in mine if policy.fits(d.nat, m)), None)

    def outside_for(self, policy: Policy, d: Decision, key: Key, drawn: Drawn) -> Outside | str:
        """Found or made (RFC 4787 REQ-1 to 3), or why there is none."""
        inside = Inside(key.vrf, key.src, key.sport, key.proto, d.nat.id)
        for m in self.mappings:
            if m.key != inside or m.retired:
                continue
            if not policy.fits(d.nat, m):
                m.retired = True
            elif m.address not in d.rulings:  # made since the decision, on another address
                return "FIREWALL_DENIED"
            elif d.nat.overflow and reply(key, d, m.address, m.port) in self.index:
                return self._shared(policy, d, key, drawn)  # its own port leads there already
            else:
                return Outside(m, m.address, m.port)
        return self._drawn(policy, d, key, inside, drawn)

    def _drawn(self, policy, d: Decision, key: Key, inside: Inside, drawn: Drawn) -> Outside | str:
        """A port by which answers reach somebody already (a DNAT rule let the peer in by it, or it
        is shared) is drawn in vain: it stays taken until housekeeping, and another is drawn."""
        low, high = policy.range_of(d.nat)
        most = allowed(d.nat.ports_each, policy.local.ports_each)
        for _ in range(DRAWS):
            if self.ports_of(key.vrf, key.src) >= most:
                return "QUOTA_PORTS"
            left = ((pub, self.left(policy, d.nat, pub, key.proto)) for pub in d.pool)
            pub, ports = next(((pub, ports) for pub, ports in left if ports), (None, []))
            if not pub:
                break
            address = num(pub.secondary_be)
            vain = [port for port in ports if reply(key, d, address, port) in self.index]
            if high - low >= FEW or not vain:
                return self._made(policy, d, key, inside, pub, drawn())
            if len(ports) > 1:
                raise UnknownPortError
            one = Mapping(inside, pub.index, address, vain[0], key.dst, sessions=1, retired=True)
            self.mappings.append(one)
            self.held.append(one)
            self.in_vain += 1
        else:
            return "SESSION_CONFLICT"
        return self._shared(policy, d, key, drawn) if d.nat.overflow else "NAT_PORTS_EXHAUSTED"

    def _held(self, policy: Policy, d: Decision, pub: r.Publics, address: int, port: int) -> None:
        low, high = policy.range_of(d.nat)
        assert address == num(pub.secondary_be), "RFC 4787 REQ-2: paired address"
        assert low <= port <= high, "a port out of the rule's range"
        assert not policy.promised(pub, port), "a port that a DNAT rule promises"

    def _made(self, policy: Policy, d: Decision, key: Key, inside: Inside, pub, drawn) -> Outside:
        address, port = drawn
        self._held(policy, d, pub, address, port)
        assert not self.outside(address, port, inside.proto), "RFC 4787 REQ-3: port shared"
        self.mappings.append(Mapping(inside, pub.index, address, port, key.dst))
        return Outside(self.mappings[-1], address, port)

    def _shared(self, policy: Policy, d: Decision, key: Key, drawn: Drawn) -> Outside | str:
        """A port whose answers from there are nobody's yet. The path looks at a few ports only;
        the ranges that run out here are not longer than that."""
        low, high = policy.range_of(d.nat)
        for pub in d.pool:
            ports = [port for port in range(low, high + 1) if not policy.promised(pub, port)]
            keys = [reply(key, d, num(pub.secondary_be), port) for port in ports]
            if any(one not in self.index for one in keys):
                address, port = drawn()
                self._held(policy, d, pub, address, port)
                assert reply(key, d, address, port) not in self.index, "answers would be another's"
                return Outside(None, address, port)
        return "NAT_PORTS_EXHAUSTED"
