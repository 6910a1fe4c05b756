"""A log of destinations that a workload speaks to for the first time, from the datapath's events.

A destination is an address, a protocol and a port (0 where the protocol has none) to which a
workload opened a session: everything beyond the uplink, and Elastic IPs. Traffic from workload to
workload has no sessions and does not come here.
"""

from collections.abc import Iterable
from typing import Any

from pcg.gateway.destinations import Destinations
from pcg.gateway.names import PROTOCOLS, WITH_PORTS, Names, dotted, written

BEGAN = 1  # enum pcgdp_event_kind


class FirstSeen:
    """`now` is monotonic seconds; `offset_s` leads from the path's clock to the time since 1970."""

    name = "first_seen"

    def __init__(self, gateway: str, total: int, each: int, names: Names) -> None:
        self.gateway, self._names = gateway, names
        self.known = Destinations(total, each)
        self._lost = self._forgotten = 0

    def begins(self, at_s: float) -> dict[str, Any]:
        """The first line of a life: nothing is known, so what follows may have been told before."""
        return {"time": written(at_s), "gateway": self.gateway, "event": "began"}

    def wanted(self) -> bool:
        """Whether it needs events at all."""
        return True

    def lines(self, events: Iterable[Any], now: float, offset_s: float) -> list[dict[str, Any]]:
        """What is to be logged of these events, in their order."""
        self._names.follow(now)
        return [self._line(e, offset_s) for e in events if self._is_new(e)]

    def _is_new(self, e: Any) -> bool:
        if e.kind != BEGAN or e.from_uplink or e.continued:
            return False
        port = e.peer_port if e.protocol in WITH_PORTS else 0
        there = e.peer_be + bytes([e.protocol]) + port.to_bytes(2, "big")
        return self.known.is_new((e.vrf, e.inside_be), there)

    def _line(self, e: Any, offset_s: float) -> dict[str, Any]:
        names, inside = self._names, dotted(e.inside_be)
        return {
            "time": written(e.at_ns / 1e9 + offset_s),
            "gateway": self.gateway,
            "event": "first seen",
            "vrf": names.vrf(e),
            "workload": names.workload(e, inside),
            "address": inside,
            "destination": dotted(e.peer_be),
            "protocol": PROTOCOLS.get(e.protocol, str(e.protocol)),
            "port": e.peer_port if e.protocol in WITH_PORTS else 0,
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
        return [{"time": written(at_s), "gateway": self.gateway, "event": "shortfall", **counts}]
