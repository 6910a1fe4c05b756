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

CONTACTS = 5  # how many remote addresses a mapping remembers

Drawn = Callable[[], tuple[int, int]]  # the outside address and port that the path gave


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
    contacted: list[int]
    sessions: int = 0
    retired: bool = False

    def contact(self, remote: int) -> None:
        if remote not in self.contacted:
            self.contacted = [*self.contacted, remote][-CONTACTS:]


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


def allowed(of_rule: int, of_all: int) -> float:
    return of_rule or of_all or float("inf")


@dataclass
class Mappings:
    """`index`: every tuple that a session answers to, as Table fills it."""

    index: dict[Key, tuple] = field(default_factory=dict)
    mappings: list[Mapping] = field(default_factory=list)
    overflows: Counter[int] = field(default_factory=Counter)  # by rule

    def outside(self, address: int, port: int, proto: int) -> Mapping | None:
        for m in self.mappings:
            if (m.address, m.port, m.key.proto) == (address, port, proto):
                return m
        return None

    def ports_of(self, vrf: int, address: int) -> int:
        """How many outside endpoints a workload's address holds."""
        return sum((m.key.vrf, m.key.src) == (vrf, address) for m in self.mappings)

    def free(self, policy: Policy, rule: r.Nat, pub: r.Publics, proto: int) -> bool:
        """Has this public address a port left for the rule?"""
        low, high = policy.range_of(rule)
        used = {m.port for m in self.mappings if (m.public, m.key.proto) == (pub.index, proto)}
        if high - low > len(used) + 20:  # the rules of these tests promise fewer
            return True
        return any(
            port not in used and not policy.promised(pub, port) for port in range(low, high + 1)
        )

    def outside_for(self, policy: Policy, d: Decision, key: Key, drawn: Drawn) -> Outside | str:
        """Found or made (RFC 4787 REQ-1 to 3), or why there is none."""
        inside = Inside(key.vrf, key.src, key.sport, key.proto, d.nat.id)
        for m in self.mappings:
            if m.key != inside or m.retired:
                continue
            if not policy.fits(d.nat, m):
                m.retired = True
            elif d.nat.overflow and reply(key, d, m.address, m.port) in self.index:
                return self._shared(policy, d, key, drawn)  # its own port leads there already
            else:
                return Outside(m, m.address, m.port)
        most = allowed(d.nat.ports_each, policy.local.ports_each)
        if self.ports_of(key.vrf, key.src) >= most:
            return "QUOTA_PORTS"
        for pub in d.pool:
            if self.free(policy, d.nat, pub, key.proto):
                return self._made(policy, d, inside, pub, *drawn())
        return self._shared(policy, d, key, drawn) if d.nat.overflow else "NAT_PORTS_EXHAUSTED"

    def _held(self, policy: Policy, d: Decision, pub: r.Publics, address: int, port: int) -> None:
        low, high = policy.range_of(d.nat)
        assert address == num(pub.secondary_be), "RFC 4787 REQ-2: paired address"
        assert low <= port <= high, "a port out of the rule's range"
        assert not policy.promised(pub, port), "a port that a DNAT rule promises"

    def _made(self, policy: Policy, d: Decision, inside: Inside, pub, address, port) -> Outside:
        self._held(policy, d, pub, address, port)
        assert not self.outside(address, port, inside.proto), "RFC 4787 REQ-3: port shared"
        self.mappings.append(Mapping(inside, pub.index, address, port, []))
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
