"""Which destinations each workload has spoken to, in bounded memory. Pure: no clock, no I/O.

What is full forgets what was used longest ago. So a destination may be told as new once more, and
one that is new is always told: the error is on the side of saying too much.
"""

from collections import OrderedDict
from collections.abc import Hashable


class Destinations:
    def __init__(self, total: int, each: int) -> None:
        """`total`: kept at once, of all workloads; `each`: of one workload."""
        self.total, self.each = total, each
        self.held = self.forgotten = 0
        # least recently used first, both the workloads and what each has spoken to
        self._of: OrderedDict[Hashable, dict[Hashable, None]] = OrderedDict()

    def has(self, workload: Hashable, destination: Hashable) -> bool:
        return destination in self._of.get(workload, ())

    def is_new(self, workload: Hashable, destination: Hashable) -> bool:
        """Whether it was not there; it is from now on.

        >>> known = Destinations(total=10, each=2)
        >>> [known.is_new("web", d) for d in ("a", "b", "a", "c", "b")]
        [True, True, False, True, True]
        >>> known.forgotten, known.held
        (2, 2)
        """
        own = self._of.setdefault(workload, {})
        self._of.move_to_end(workload)
        seen = destination in own
        own.pop(destination, None)
        own[destination] = None
        if seen:
            return False
        self.held += 1
        if len(own) > self.each:
            self._forget(own)
        elif self.held > self.total:
            oldest, its = next(iter(self._of.items()))
            self._forget(its)
            if not its:
                del self._of[oldest]
        return True

    def _forget(self, own: dict[Hashable, None]) -> None:
        del own[next(iter(own))]
        self.held -= 1
        self.forgotten += 1
