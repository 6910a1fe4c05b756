"""A thread that asks the DHCP engines what they remember, and tells them what an operator released.

An engine may be away or hang; nobody else waits for it. What could not be asked is asked again.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from pcg.gateway.grants import Grants, Remembered
from pcg.gateway.periodic import Periodic
from pcg.model.errors import BackendError

EVERY_S = 1.0


class Fleet(Protocol):
    """What we need of pcg.drivers.kea.Fleet."""

    def servers(self) -> Mapping[str, tuple[str, int]]: ...
    def leases(self, vrf: str) -> Iterable[Remembered]: ...
    def release(self, vrf: str, address: str) -> None: ...


class Engines(Periodic):
    def __init__(self, fleet: Fleet, grants: Grants) -> None:
        super().__init__("engines", EVERY_S)
        self._fleet, self._grants = fleet, grants
        self._known: set[str] = set()  # VRFs whose leases were read since they are served
        self._releases: dict[tuple[str, str], None] = {}  # VRF, address: still to be told

    def release(self, vrf: str, address: str) -> None:
        """From any thread: the engine forgets that lease, as soon as it can be told."""
        self._releases[vrf, address] = None

    def look(self) -> None:
        servers = list(self._fleet.servers())
        self._known.intersection_update(servers)
        for vrf in servers:
            try:
                self._engine(vrf)
            except BackendError:
                continue  # the control loop tells what is wrong with it

    def _engine(self, vrf: str) -> None:
        for key in [key for key in list(self._releases) if key[0] == vrf]:
            self._fleet.release(*key)
            del self._releases[key]
        if vrf not in self._known and self._grants.ready:
            self._grants.remember(vrf, lambda: self._fleet.leases(vrf))
            self._known.add(vrf)
