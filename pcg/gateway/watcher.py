"""A thread that reads what kernel, driver, cloud and nftables count, and keeps when it grew.

It has sockets of its own and takes nothing from the control loop but names of interfaces, so that
neither waits for the other.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pyroute2 import IPRoute

from pcg.drivers import nft_counters
from pcg.drivers.counters import Count, read_links, read_stack
from pcg.drivers.netlink import said
from pcg.drivers.nft_rules import COUNTERS
from pcg.gateway.book import Book
from pcg.gateway.periodic import Periodic
from pcg.model.errors import BackendError

log = logging.getLogger(__name__)

EVERY_S = 1.0


class Watcher(Periodic):
    def __init__(
        self,
        interfaces: Callable[[], Iterable[str]],
        others: Callable[[], Iterable[Count]] = tuple,
    ) -> None:
        """Both are called from the thread.

        interfaces  names of those of the gateway
        others      what programs count: the DHCP relay, the datapath's rings, Away
        """
        super().__init__("watcher", EVERY_S)
        self._interfaces, self._others, self._ip = interfaces, others, None
        self._book, self._lock = Book(), threading.Lock()
        self._error = ""

    def view(self) -> dict[str, Any]:
        """What pcgctl shows: `counters`, and why some could not be read ("")."""
        with self._lock:
            return {"counters": self._book.view(), "error": self._error}

    def look(self) -> None:
        try:
            if self._ip is None:
                with said("netlink"):
                    self._ip = IPRoute()
            self._note([*read(self._ip, self._interfaces()), *self._others()], "")
        except BackendError as error:
            self._note([], str(error))

    def ended(self) -> None:
        if self._ip is not None:
            self._ip.close()

    def _note(self, counts: list[Count], error: str) -> None:
        with self._lock:
            if error and error != self._error:
                log.warning("counters: %s", error)
            self._error = error
            if not error:
                self._book.note(counts, time.monotonic(), time.time())


def read(ip: IPRoute, interfaces: Iterable[str]) -> Iterator[Count]:
    """Everything that is counted outside the datapath. Raises BackendError."""
    yield from read_links(ip, interfaces)
    yield from read_stack()
    for name, packets in nft_counters.read().items():
        yield Count("nftables", name.split("_")[0], name, packets, COUNTERS[name].ends)
