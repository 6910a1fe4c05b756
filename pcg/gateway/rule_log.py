"""A log of what rules that say `log` allowed and denied: first packets of sessions, and those that
make none. A rule has so many lines a second; what is more is counted and said in a line of its own.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pcg.gateway.names import WITH_PORTS, Names, dotted, headed, protocol

BEGAN, DENIED, PASSED = 1, 3, 4  # enum pcgdp_event_kind
SAID = {BEGAN: "allowed", PASSED: "allowed", DENIED: "denied"}
BY_DEFAULT = 2  # of enum pcgdp_log
DEFAULT = -1  # in a firewall rule's place
Rule = tuple[int, int]  # its firewall rule or DEFAULT, its NAT rule; 0: none


def rule_of(e: Any) -> Rule:
    return (DEFAULT if e.log & BY_DEFAULT else e.fw_id), e.nat_id


class RuleLog:
    """`now` is monotonic seconds; `offset_s` leads from the path's clock to the time since 1970."""

    name = "rule_log"

    def __init__(self, gateway: str, per_second: int, names: Names) -> None:
        self.gateway, self.per_second, self._names = gateway, per_second, names
        self._told: Counter[Rule] = Counter()  # this second
        self._untold: Counter[Rule] = Counter()  # not said yet
        self._second, self._lost = 0, 0

    def begins(self, at_s: float) -> dict[str, Any]:
        return headed(at_s, self.gateway, "began")

    def wanted(self) -> bool:
        policy = self._names.facts().policy
        if any(vrf.log_in or vrf.log_out for vrf in policy.get("vrfs", ())):
            return True
        return any(rule.log for table in ("nat", "firewall") for rule in policy.get(table, ()))

    def counts(self) -> dict[str, int]:
        """None: how much a rule leaves out is the operator's choice, and said in the log."""
        return {}

    def lines(self, events: Iterable[Any], now: float, offset_s: float) -> list[dict[str, Any]]:
        """What is to be logged of these events, in their order."""
        self._names.follow(now)
        made = self._overdue(int(now), now + offset_s)
        for e in events:
            if not e.log or e.continued or e.kind not in SAID:
                continue
            rule = rule_of(e)
            if self._told[rule] < self.per_second:
                self._told[rule] += 1
                made.append(self._line(e, offset_s))
            else:
                self._untold[rule] += 1
        return made

    def _overdue(self, second: int, at_s: float) -> list[dict[str, Any]]:
        """In a new second: what was not told in the one before."""
        if second == self._second:
            return []
        untold, self._second = self._untold, second
        self._told, self._untold = Counter(), Counter()
        head = headed(at_s, self.gateway, "not told")
        names = self._names
        return [
            head | {"firewall": self._firewall(fw), "nat": names.nat(nat), "count": n}
            for (fw, nat), n in untold.items()
        ]

    def _firewall(self, number: int) -> str:
        return "(default)" if number == DEFAULT else self._names.firewall(number)

    def _line(self, e: Any, offset_s: float) -> dict[str, Any]:
        names, inside = self._names, dotted(e.inside_be)
        line = headed(e.at_ns / 1e9 + offset_s, self.gateway, SAID[e.kind]) | {
            "firewall": self._firewall(rule_of(e)[0]),
            "nat": names.nat(e.nat_id),
            "vrf": names.vrf(e),
            "direction": "IN" if e.from_uplink else "OUT",
            "protocol": protocol(e),
            "workload": names.workload(e, inside),
            "address": inside,
            "peer": dotted(e.peer_be),
            "as": dotted(names.public(e)),
        }
        if e.protocol in WITH_PORTS:
            ports = (e.inside_port, e.peer_port, e.outside_port)
            line |= dict(zip(("port", "peer_port", "as_port"), ports, strict=True))
        return line

    def shortfall(self, lost: int, at_s: float) -> list[dict[str, Any]]:
        """A line when events were lost since the last call. `lost`: ever."""
        before, self._lost = self._lost, lost
        if lost == before:
            return []
        return [headed(at_s, self.gateway, "shortfall") | {"events_lost": lost - before}]
