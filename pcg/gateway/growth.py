"""Counts that only grow, told by how much they grew, and not too often. Pure: no clock, no I/O.

The session logs say by it what they left out or lost.
"""

LEFT_OUT_S = 10.0  # between two lines of a log about what is not in it
LOG_S = 60.0  # between two that the gateway's own log has about it


class Growth:
    def __init__(self, every_s: float) -> None:
        """`every_s`: between two that are told."""
        self._every_s, self._due_at = every_s, float("-inf")
        self._told: tuple[int, ...] = ()

    def since(self, now: float, *counts: int) -> tuple[int, ...]:
        """Of each by how much, since that was told; () while none grew, or it is too early.

        >>> missed = Growth(60.0)
        >>> missed.since(0.0, 0, 0), missed.since(1.0, 3, 0), missed.since(2.0, 4, 7)
        ((), (3, 0), ())
        >>> missed.since(61.0, 5, 7)
        (2, 7)
        """
        told = self._told or (0,) * len(counts)
        if counts == told or now < self._due_at:
            return ()
        self._told, self._due_at = counts, now + self._every_s
        return tuple(n - before for n, before in zip(counts, told, strict=True))
