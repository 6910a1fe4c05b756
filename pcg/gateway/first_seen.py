"""A log of destinations that a workload speaks to for the first time, from the datapath's events.

A destination is an address, a protocol and a port (0 where the protocol has none) to which a
workload opened a session: everything beyond the uplink, and Elastic IPs. Traffic from workload to
workload has no sessions and does not come here.

A workload has so many lines a second: a scanner shall not push out of the file what others dialled.
What is more is counted and not remembered, so it is told when it is dialled again in calmer times.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pcg.gateway.destinations import Destinations
from pcg.gateway.growth import LEFT_OUT_S, LOG_S, Growth
from pcg.gateway.names import Names, dotted, headed, peer_port, protocol

log = logging.getLogger(__name__)

BEGAN = 1  # enum pcgdp_event_kind
Workload = tuple[int, bytes]  # VRF and address


class FirstSeen:
    """`now` is monotonic seconds; `offset_s` leads from the path's clock to the time since 1970."""

    name = "first_seen"

    def __init__(self, gateway: str, known: Destinations, per_second: int, names: Names) -> None:
        """`per_second`: lines of one workload."""
        self.gateway, self.known, self.per_second, self._names = gateway, known, per_second, names
        self._lost = self._forgotten = 0
        self._told: Counter[Workload] = Counter()  # this second
        self._second = 0
        self._left_out: dict[Workload, tuple[Any, int]] = {}  # not said yet: an event, how many
        self.left_out, self._say_at = 0, float("-inf")  # ever
        self._logged = Growth(LOG_S)

    def begins(self, at_s: float) -> dict[str, Any]:
        """The first line of a life: nothing is known, so what follows may have been told before."""
        return headed(at_s, self.gateway, "began")

    def wanted(self) -> bool:
        """Whether it needs events at all."""
        return True

    def lines(self, events: Iterable[Any], now: float, offset_s: float) -> list[dict[str, Any]]:
        """What is to be logged of these events, in their order."""
        self._names.follow(now)
        if self._second != int(now):
            self._second, self._told = int(now), Counter()
        made = [self._line(e, offset_s) for e in events if self._is_told(e)]
        return made + self._overdue(now, offset_s)

    def counts(self) -> dict[str, int]:
        return {f"{self.name}_rate": self.left_out}

    def _is_told(self, e: Any) -> bool:
        if e.kind != BEGAN or e.from_uplink or e.continued:
            return False
        there = e.peer_be + bytes([e.protocol]) + peer_port(e).to_bytes(2, "big")
        who = e.vrf, e.inside_be
        if self._told[who] >= self.per_second and not self.known.has(who, there):
            self._left_out[who] = e, self._left_out.get(who, (e, 0))[1] + 1
            self.left_out += 1
            return False
        new = self.known.is_new(who, there)
        self._told[who] += new
        return new

    def _overdue(self, now: float, offset_s: float) -> list[dict[str, Any]]:
        """A line for each workload of which something was left out, unless that was said just now.
        In the gateway's log, too, how many: whoever reads only that shall know."""
        what = "sessions to new destinations left out, more than its per_second allows"
        for n in self._logged.since(now, self.left_out):
            log.warning(f"first-seen log: %d {what}", n)
        if not self._left_out or now < self._say_at:
            return []
        left_out, self._left_out = self._left_out, {}
        self._say_at = now + LEFT_OUT_S
        at_s = now + offset_s
        return [self._head(at_s, "left out", e) | {"starts": n} for e, n in left_out.values()]

    def _head(self, at_s: float, event: str, e: Any) -> dict[str, Any]:
        names, inside = self._names, dotted(e.inside_be)
        return headed(at_s, self.gateway, event) | {
            "vrf": names.vrf(e),
            "workload": names.workload(e, inside),
            "address": inside,
        }

    def _line(self, e: Any, offset_s: float) -> dict[str, Any]:
        names = self._names
        return self._head(e.at_ns / 1e9 + offset_s, "first seen", e) | {
            "destination": dotted(e.peer_be),
            "protocol": protocol(e),
            "port": peer_port(e),
            "as": dotted(names.public(e)),
            "nat": names.nat(e.nat_id),
        }

    def shortfall(self, lost: int, at_s: float) -> list[dict[str, Any]]:
        """A line when something was lost or forgotten since the last call. `lost`: events, ever."""
        lost_before, self._lost = self._lost, lost
        forgotten_before, self._forgotten = self._forgotten, self.known.forgotten
        missing = lost - lost_before
        forgotten = self._forgotten - forgotten_before
        if not missing and not forgotten:
            return []
        counts = {"events_lost": missing, "forgotten": forgotten, "held": self.known.held}
        return [headed(at_s, self.gateway, "shortfall") | counts]
