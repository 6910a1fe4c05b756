"""What the numbers in the datapath's events are called, and how their values are written."""

from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any

from pcg.gateway.facts import Facts
from pcg.reconcile.numbers import Numbers

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 51: "ah", 132: "sctp"}
WITH_PORTS = (6, 17)
NAMES_S = 5.0  # names of workloads are gathered anew at most that often


def dotted(address_be: bytes) -> str:
    return str(IPv4Address(address_be))


def written(at_s: float) -> str:
    """RFC 3339, UTC. `at_s`: since 1970."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")


def headed(at_s: float, gateway: str, event: str) -> dict[str, Any]:
    """How every line of every log begins. `at_s`: since 1970."""
    return {"time": written(at_s), "gateway": gateway, "event": event}


def protocol(e: Any) -> str:
    return PROTOCOLS.get(e.protocol, str(e.protocol))


def peer_port(e: Any) -> int:
    """0 where the protocol has none: a ping's identifier is the workload's, translated."""
    return e.peer_port if e.protocol in WITH_PORTS else 0


class Names:
    """Gathered from the desired state now and then; for one thread."""

    def __init__(self, facts: Callable[[], Facts]) -> None:
        self.facts = facts
        self._numbers: tuple[Numbers, Numbers] | None = None
        self._of, self._gathered_at = None, float("-inf")
        self._workloads: dict[tuple[int, str], str] = {}
        self._gone: dict[tuple[int, str], str] = {}  # their sessions end a little later
        self._vrfs: dict[int, str] = {}
        self._nat: dict[int, str] = {}
        self._firewall: dict[int, str] = {}
        self._publics: dict[bytes, bytes] = {}

    def follow(self, now: float) -> None:
        """`now`: monotonic seconds."""
        facts = self.facts()
        self._follow_numbers(facts.numbers, facts.gone)
        inputs = (facts.desired, facts.numbers, facts.leased)
        known = self._of and all(a is b for a, b in zip(self._of, inputs, strict=True))
        if facts.desired is None or known or now < self._gathered_at + NAMES_S:
            return
        self._of, self._gathered_at = inputs, now
        numbers, desired = facts.numbers, facts.desired
        vrf_of = {s.id: numbers.vrfs.get(s.vrf) for s in desired.segments}
        ports = [(vrf_of.get(p.segment), a, p.id) for p in desired.ports for a in p.addresses]
        ports += [(numbers.vrfs.get(vrf), a, port) for vrf, a, port in facts.leased]
        before, self._workloads = self._workloads, {(v, address): id_ for v, address, id_ in ports}
        self._gone = {key: id_ for key, id_ in before.items() if key not in self._workloads}
        publics = facts.policy.get("publics", [])
        self._publics = {p.secondary_be: p.address_be for p in publics}

    def _follow_numbers(self, numbers: Numbers, gone: Numbers) -> None:
        """At once: a rule may be met as soon as it is there. The ends of a rule's sessions are met
        when it is there no more."""
        if self._numbers and numbers is self._numbers[0] and gone is self._numbers[1]:
            return
        self._numbers = numbers, gone
        self._vrfs = {index: name for name, index in numbers.vrfs.items()}
        self._nat, self._firewall = (
            {number: name for name, number in (*left.items(), *there.items())}
            for left, there in ((gone.nat, numbers.nat), (gone.firewall, numbers.firewall))
        )

    def vrf(self, e: Any) -> str:
        return self._vrfs.get(e.vrf, str(e.vrf))

    def workload(self, e: Any, inside: str) -> str:
        key = e.vrf, inside
        return self._workloads.get(key) or self._gone.get(key, "")

    def public(self, e: Any) -> bytes:
        """What the Internet sees instead of the secondary address."""
        return self._publics.get(e.outside_be, e.outside_be)

    def nat(self, number: int) -> str:
        return self._nat.get(number, str(number)) if number else ""

    def firewall(self, number: int) -> str:
        return self._firewall.get(number, str(number)) if number else ""
