"""Segments whose pools have run out, as Kea's statistics tell: told once an episode."""

import logging
from collections.abc import Mapping

from pcg.drivers.kea_control import Control
from pcg.reconcile.compile_dhcp import Served

log = logging.getLogger(__name__)

ALL = "v4-allocation-fail"
EPISODE_S = 60.0  # without a client that got nothing: what comes then is told again


class Shortage:
    def __init__(self, control: Control, vrf: str) -> None:
        self._control, self._vrf = control, vrf
        self.failed: dict[str, int] = {}  # segment -> requests that no address was left for
        self._counted: dict[int, int] = {}  # VNI -> of the Kea that runs
        self._total = 0
        self._told: dict[str, float] = {}

    def look(self, served: Mapping[int, Served], now: float) -> None:
        """Raises BackendError."""
        total = value(self._control.ask("statistic-get", {"name": ALL}), ALL)
        if total == self._total:
            return
        statistics = self._control.ask("statistic-get-all")
        counted = {vni: value(statistics, f"subnet[{vni}].{ALL}") for vni in served}
        for vni, home in served.items():
            before = self._counted.get(vni, 0)
            # A Kea that was started anew counts from the beginning.
            more = counted[vni] - before if counted[vni] >= before else counted[vni]
            if more:
                self.failed[home.segment] = self.failed.get(home.segment, 0) + more
                self._tell(home.segment, now)
        self._total, self._counted = total, counted

    def _tell(self, segment: str, now: float) -> None:
        if now - self._told.get(segment, float("-inf")) > EPISODE_S:
            log.warning(
                "segment %s of VRF %s has no address left for a client; enlarge its scope's pools",
                segment,
                self._vrf,
            )
        self._told[segment] = now


def value(statistics: Mapping, name: str) -> int:
    """The newest of a statistic: [[value, time], ...]."""
    samples = statistics.get(name) or [[0, ""]]
    return int(samples[0][0])
