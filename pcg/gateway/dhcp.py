"""DHCP in the gateway: who relays, who keeps the engines, and what all of them share."""

import time
from typing import Any

from pcg.datapath.parcels import Answer
from pcg.datapath.punts import Punts, endpoint_of
from pcg.drivers.counters import Count
from pcg.drivers.datapath import Datapath
from pcg.drivers.kea import Fleet
from pcg.gateway.engines import Engines
from pcg.gateway.grants import Grants
from pcg.gateway.metrics_dhcp import Figures
from pcg.gateway.relay import Relay
from pcg.model.errors import BackendError
from pcg.model.settings import GatewaySettings
from pcg.reconcile.addresses import address
from pcg.wire import messages as m


class Dhcp:
    def __init__(self, settings: GatewaySettings, datapath: Datapath) -> None:
        """The relay's port is taken first: engines are told it. Raises BackendError."""
        self.grants = Grants(datapath, wall=time.time)
        self._punts = Punts(endpoint_of(settings.datapath))
        self.relay = Relay(self._punts, self.grants, Answer, settings.dhcp.relay_port)
        folder = settings.dhcp.folder or f"{settings.state}-dhcp"
        self.fleet = Fleet(settings.dhcp, folder, self.relay.port)
        self.grants.store = self.fleet.commit
        self._engines = Engines(self.fleet, self.grants)
        self.relay.start()
        self._engines.start()

    def close(self) -> None:
        self.relay.close()
        self._punts.close()
        self._engines.close()
        self.fleet.close()

    def step(self) -> dict[tuple[str, str], m.Lease | None] | None:
        """Of the control loop: leases that changed since last time; None: not known yet."""
        self.relay.serve(self.fleet.servers())
        changes = self.grants.changes()
        if changes is None:
            return None
        return {key: m.Lease(**view) if view else None for key, view in changes.items()}

    def release(self, words: dict[str, Any]) -> None:
        """What an operator asked for, by `vrf` and `address`. Raises BackendError."""
        vrf, text = str(words.get("vrf")), str(words.get("address"))
        try:
            lease = self.grants.forget(vrf, address(text))
        except OSError:
            lease = None
        if lease is None:
            raise BackendError(f"lease {text} in VRF {vrf}", "there is none")
        self._engines.release(vrf, text)

    def _refused(self) -> dict[tuple[str, str], int]:
        went_without = self.fleet.exhausted().items()
        told = {(segment, "POOL_EXHAUSTED"): n for segment, n in went_without if n}
        return self.grants.refused.copy() | told

    def counts(self) -> list[Count]:
        """What ended in the relay."""
        return [
            Count("relay", segment, reason, n)
            for (segment, reason), n in sorted(self._refused().items())
        ]

    def figures(self) -> Figures:
        """For metrics."""
        return Figures(
            refused=self._refused(),
            messages=self.relay.messages.copy(),
            leases=self.grants.counts(),
        )
