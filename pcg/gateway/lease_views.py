"""What others see of the book of leases: pcgctl, the controller, metrics, names in logs."""

import threading
from collections import Counter
from typing import Any

from pcg.gateway.leases import LeaseBook
from pcg.reconcile.addresses import text

Owners = tuple[tuple[str, str, str], ...]  # VRF, address, port of each lease


class LeaseViews:
    """Safe to ask from any thread; whoever changes the book holds `lock`."""

    def __init__(self, book: LeaseBook) -> None:
        self.book, self.lock = book, threading.RLock()
        self.ready = False  # it is known who there is
        self._told = False
        self._owners: Owners = ()

    def changes(self) -> dict[tuple[str, str], dict[str, Any] | None] | None:
        """Leases that came, changed or ended (None) since last time; None: nothing is known yet."""
        if not self.book.changed and self._told:
            return {}
        with self.lock:
            if not self.ready:
                return None
            changed, self.book.changed = self.book.changed, {}
            self._told = True
            held = self.book.leases
            return {
                (vrf, text(be)): held[vrf, be].view() if (vrf, be) in held else None
                for vrf, be in changed
            }

    def owners(self) -> Owners:
        """The very object of last time while no lease came or ended."""
        if self.book.moved:
            with self.lock:
                self.book.moved = False
                leases = self.book.leases.items()
                self._owners = tuple((vrf, text(be), lease.port) for (vrf, be), lease in leases)
        return self._owners

    def counts(self) -> Counter[str]:
        """Segment -> leases."""
        with self.lock:
            return Counter(lease.site.segment for lease in self.book.leases.values())

    def view(self) -> list[dict[str, Any]]:
        with self.lock:
            return [lease.view() for lease in self.book.leases.values()]
