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
from pcg.drivers.counters import Count, read_links
from pcg.drivers.netlink import said
from pcg.drivers.nft_rules import COUNTERS
from pcg.gateway.book import Book
from pcg.model.errors import BackendError

log = logging.getLogger(__name__)

EVERY_S = 1.0


class Watcher:
    def __init__(self, interfaces: Callable[[], Iterable[str]], every_s: float = EVERY_S) -> None:
        """`interfaces`: names of those of the gateway; called from the thread."""
        self._interfaces, self._every_s = interfaces, every_s
        self._book, self._lock = Book(), threading.Lock()
        self._error = ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * self._every_s)

    def view(self) -> dict[str, Any]:
        """What pcgctl shows: `counters`, and why some could not be read ("")."""
        with self._lock:
            return {"counters": self._book.view(), "error": self._error}

    def _run(self) -> None:
        ip = None
        while not self._end.is_set():
            try:
                if ip is None:
                    with said("netlink"):
                        ip = IPRoute()
                self._note(list(read(ip, self._interfaces())), "")
            except BackendError as error:
                self._note([], str(error))
            self._end.wait(self._every_s)
        if ip is not None:
            ip.close()

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
    for name, packets in nft_counters.read().items():
        yield Count("nftables", name.split("_")[0], name, packets, COUNTERS[name].ends)
