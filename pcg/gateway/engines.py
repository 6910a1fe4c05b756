"""A thread that asks the DHCP engines what they remember, who went without, and tells them things.

An engine may be away or hang; nobody else waits for it. What could not be asked is asked again.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from pcg.gateway.grants import Grants, Remembered
from pcg.gateway.periodic import Periodic
from pcg.model.errors import BackendError

log = logging.getLogger(__name__)

EVERY_S = 1.0
QUIET_S = 60.0  # an exhausted pool is told once, until nobody went without for so long


class Fleet(Protocol):
    """What we need of pcg.drivers.kea.Fleet."""

    def servers(self) -> Mapping[str, tuple[str, int]]: ...
    def leases(self, vrf: str) -> Iterable[Remembered]: ...
    def release(self, vrf: str, address: str) -> None: ...
    def failures(self, vrf: str) -> int: ...
    def failed(self, vrf: str) -> Mapping[str, int]: ...


class Engines(Periodic):
    def __init__(self, fleet: Fleet, grants: Grants) -> None:
        super().__init__("engines", EVERY_S)
        self._fleet, self._grants = fleet, grants
        self._known: set[str] = set()  # VRFs whose leases were read
        self._pools: dict[str, Pools] = {}
        self._releases: dict[tuple[str, str], None] = {}  # VRF, address: still to be told

    def release(self, vrf: str, address: str) -> None:
        """From any thread: the engine forgets that lease, as soon as it can be told."""
        self._releases[vrf, address] = None

    def look(self) -> None:
        self.turn(time.monotonic())

    def turn(self, now: float) -> None:
        for vrf in list(self._fleet.servers()):
            try:
                self._engine(vrf, now)
            except BackendError:
                continue  # the control loop tells what is wrong with it

    def _engine(self, vrf: str, now: float) -> None:
        for key in [key for key in list(self._releases) if key[0] == vrf]:
            self._fleet.release(*key)
            del self._releases[key]
        if vrf not in self._known and self._grants.ready:
            self._grants.remember(vrf, self._fleet.leases(vrf))
            self._known.add(vrf)
        pools = self._pools.setdefault(vrf, Pools())
        if (total := self._fleet.failures(vrf)) == pools.total:
            return
        for segment, more in pools.look(self._fleet.failed(vrf), now).items():
            self._grants.refused[segment, "POOL_EXHAUSTED"] += more
        pools.total = total
        for segment in pools.news():
            log.warning("segment %s: no address is free in the pools of its DHCP scope", segment)


class Pools:
    """Whose pools are exhausted: one piece of news an episode. `now`: monotonic seconds."""

    def __init__(self) -> None:
        self.total: int | None = None  # of all segments, as last seen
        self._counted: dict[str, int] = {}  # segment -> requests that got no address, so far
        self._open: dict[str, float] = {}  # segment -> last of its episode
        self._news: list[str] = []

    def look(self, counts: Mapping[str, int], now: float) -> dict[str, int]:
        """What came on top, by segment. The first look is where counting begins."""
        grew = {}
        for segment, n in counts.items():
            before = self._counted.get(segment, n if self.total is None else 0)
            self._counted[segment] = n
            more = n - before if n >= before else n  # started anew, it counts from zero
            if more:
                grew[segment] = more
        for segment in grew:
            if now - self._open.get(segment, float("-inf")) > QUIET_S:
                self._news.append(segment)
            self._open[segment] = now
        return grew

    def news(self) -> list[str]:
        told, self._news = self._news, []
        return told
