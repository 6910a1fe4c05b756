"""What a gateway tells its controller of leases: a batch at a time, each until it was heard.

A batch says how things are, not what happened, so a repeated one does no harm. The first to a
controller that knows nothing says so, and what it had of us before counts no longer.
"""

from collections.abc import Mapping

from pcg.wire import limits
from pcg.wire import messages as m

Key = tuple[str, str]  # VRF, address


class LeaseReports:
    def __init__(self) -> None:
        self._held: dict[Key, m.Lease] = {}
        self._changed: dict[Key, None] = {}  # not in any batch yet
        self._first, self._told = True, False
        self._number = 0
        self._sent: m.Leases | None = None  # not heard yet

    def tell(self, changes: Mapping[Key, m.Lease | None]) -> None:
        """How leases are now; None: it ended. Until the first call there is nothing to say."""
        self._told = True
        for key, lease in changes.items():
            if lease is None:
                self._held.pop(key, None)
            else:
                self._held[key] = lease
            self._changed[key] = None

    def restart(self) -> None:
        """The peer knows nothing of us."""
        self._changed = dict.fromkeys(self._held)
        self._first, self._sent = True, None

    def next(self) -> m.Leases | None:
        """The batch to send now; None: nothing is new, or one is on its way."""
        if self._sent or not self._told or not (self._changed or self._first):
            return None
        keys = list(self._changed)[: limits.MAX_LEASES]
        for key in keys:
            del self._changed[key]
        self._number += 1
        self._sent = m.Leases(
            number=self._number,
            first=self._first,
            held=tuple(self._held[key] for key in keys if key in self._held),
            gone=tuple(key for key in keys if key not in self._held),
        )
        self._first = False
        return self._sent

    def again(self) -> m.Leases | None:
        """The batch that may have been lost."""
        return self._sent

    def heard(self, number: int) -> None:
        if self._sent and number == self._sent.number:
            self._sent = None
