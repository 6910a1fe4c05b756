"""Frames that end because no datapath is there to take them.

nftables keeps what is the datapath's from the kernel, also while the datapath is down: its four
counters of that are no loss as long as it runs, and nothing but loss while it does not. A thread
of its own looks often, as a restart takes a second.
"""

import threading
from collections.abc import Callable, Iterator

from pcg.drivers import nft_counters
from pcg.drivers.counters import Count
from pcg.drivers.nft_rules import COUNTERS
from pcg.gateway.periodic import Periodic
from pcg.model.errors import BackendError

EVERY_S = 0.2
SUFFIX = "_datapath_away"  # behind the name of the chain
KEPT = [name for name, counter in COUNTERS.items() if not counter.ends]


class Away(Periodic):
    def __init__(
        self,
        listening: Callable[[], bool],
        programmed: Callable[[], bool],
        read: Callable[[], dict[str, int]] = nft_counters.read,
    ) -> None:
        """All are called from the thread.

        listening   whether there is a process
        programmed  whether it has a policy, without which it takes nothing; asked of one that came
        read        counters of nftables by name; raises BackendError
        """
        super().__init__("away", EVERY_S)
        self._listening, self._programmed, self._read = listening, programmed, read
        self._before: dict[str, int] | None = None  # None: it was there at the last look
        self._lock = threading.Lock()
        self._lost = {f"{name.split('_')[0]}{SUFFIX}": 0 for name in KEPT}

    def counts(self) -> Iterator[Count]:
        """What was lost since this program runs, for the Watcher."""
        with self._lock:
            lost = dict(self._lost)
        for name, packets in lost.items():
            yield Count("nftables", name.split("_")[0], name, packets)

    def look(self) -> None:
        """What grew between two looks that both found it away: up to one look's time too little."""
        if self._listening() and (self._before is None or self._programmed()):
            self._before = None
            return
        try:
            now = self._read()
        except BackendError:  # the Watcher says so
            return
        if self._before is not None:
            self._add(self._before, now)
        self._before = now

    def _add(self, before: dict[str, int], now: dict[str, int]) -> None:
        with self._lock:
            for name in KEPT:
                more = now.get(name, 0) - before.get(name, 0)
                # Our tables are replaced with a change of the desired state, and begin at nought.
                grown = more if more >= 0 else now.get(name, 0)
                self._lost[f"{name.split('_')[0]}{SUFFIX}"] += grown
