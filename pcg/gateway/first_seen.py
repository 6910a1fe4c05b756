"""A log of destinations that a workload speaks to for the first time, from the datapath's events.

A destination is an address, a protocol and a port (0 where the protocol has none) to which a
workload opened a session: everything beyond the uplink, and Elastic IPs. Traffic from workload to
workload has no sessions and does not come here.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any

from pcg.gateway.destinations import Destinations
from pcg.gateway.facts import Facts
from pcg.reconcile.numbers import Numbers

BEGAN = 1  # enum pcgdp_event_kind
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 51: "ah", 132: "sctp"}
WITH_PORTS = (6, 17)
NAMES_S = 5.0  # names of workloads are gathered anew at most that often


def dotted(address_be: bytes) -> str:
    return str(IPv4Address(address_be))


class Names:
    """What the numbers in events are called; gathered from the desired state now and then."""

    def __init__(self) -> None:
        self._of, self._gathered_at = None, float("-inf")
        self._numbers: Numbers | None = None
        self.workloads: dict[tuple[int, str], str] = {}
        self.vrfs: dict[int, str] = {}
        self.rules: dict[int, str] = {}  # NAT
        self.firewall: dict[int, str] = {}
        self.publics: dict[str, str] = {}

    def follow(self, facts: Facts, now: float) -> None:
        if facts.numbers is not self._numbers:
            self._follow_numbers(facts.numbers)
        inputs = (facts.desired, facts.numbers)
        known = self._of and all(a is b for a, b in zip(self._of, inputs, strict=True))
        if facts.desired is None or known or now < self._gathered_at + NAMES_S:
            return
        self._of, self._gathered_at = inputs, now
        numbers, desired = facts.numbers, facts.desired
        vrf_of = {s.id: numbers.vrfs.get(s.vrf) for s in desired.segments}
        ports = [(vrf_of.get(p.segment), a, p.id) for p in desired.ports for a in p.addresses]
        self.workloads = {(vrf, address): id_ for vrf, address, id_ in ports}
        self.publics = {dotted(p.secondary_be): dotted(p.address_be) for p in _publics(facts)}

    def _follow_numbers(self, numbers: Numbers) -> None:
        """At once: a rule may be met as soon as it is there."""
        self._numbers = numbers
        self.vrfs = {index: name for name, index in numbers.vrfs.items()}
        self.rules = {number: name for name, number in numbers.nat.items()}
        self.firewall = {number: name for name, number in numbers.firewall.items()}


def _publics(facts: Facts) -> list:
    return facts.policy.get("publics", [])


class FirstSeen:
    """`now` is monotonic seconds; `offset_s` leads from the path's clock to the time since 1970."""

    def __init__(self, gateway: str, total: int, each: int, facts: Callable[[], Facts]) -> None:
        self.gateway, self._facts = gateway, facts
        self.known, self._names = Destinations(total, each), Names()
        self._lost = self._forgotten = 0

    def begins(self, at_s: float) -> dict[str, Any]:
        """The first line of a life: nothing is known, so what follows may have been told before."""
        return {"time": time_text(at_s), "gateway": self.gateway, "event": "began"}

    def wanted(self) -> bool:
        """Whether it needs events at all."""
        return True

    def lines(self, events: Iterable[Any], now: float, offset_s: float) -> list[dict[str, Any]]:
        """What is to be logged of these events, in their order."""
        self._names.follow(self._facts(), now)
        return [self._line(e, offset_s) for e in events if self._is_new(e)]

    def _is_new(self, e: Any) -> bool:
        if e.kind != BEGAN or e.from_uplink or e.continued:
            return False
        port = e.peer_port if e.protocol in WITH_PORTS else 0
        there = e.peer_be + bytes([e.protocol]) + port.to_bytes(2, "big")
        return self.known.is_new((e.vrf, e.inside_be), there)

    def _line(self, e: Any, offset_s: float) -> dict[str, Any]:
        names, inside, outside = self._names, dotted(e.inside_be), dotted(e.outside_be)
        return {
            "time": time_text(e.at_ns / 1e9 + offset_s),
            "gateway": self.gateway,
            "event": "first seen",
            "vrf": names.vrfs.get(e.vrf, str(e.vrf)),
            "workload": names.workloads.get((e.vrf, inside), ""),
            "address": inside,
            "destination": dotted(e.peer_be),
            "protocol": PROTOCOLS.get(e.protocol, str(e.protocol)),
            "port": e.peer_port if e.protocol in WITH_PORTS else 0,
            "as": names.publics.get(outside, outside),
            "nat": names.rules.get(e.nat_id, str(e.nat_id)) if e.nat_id else "",
        }

    def shortfall(self, lost: int, at_s: float) -> list[dict[str, Any]]:
        """A line when something was lost or forgotten since the last call. `lost`: events, ever."""
        lost_before, self._lost = self._lost, lost
        forgotten_before, self._forgotten = self._forgotten, self.known.forgotten
        missing = max(0, lost - lost_before)  # a datapath that was started again counts from zero
        forgotten = self._forgotten - forgotten_before
        if not missing and not forgotten:
            return []
        counts = {"events_lost": missing, "forgotten": forgotten, "held": self.known.held}
        return [{"time": time_text(at_s), "gateway": self.gateway, "event": "shortfall", **counts}]


def time_text(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")
