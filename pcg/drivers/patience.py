"""Something that was asked of another thread: worth waiting for, but not for long.

Who asks withholds what it has to tell until all have answered. One that hangs must not keep the
others' answers back, so after a while that it has not answered is the answer.
"""

import time

from pcg.model.errors import BackendError

LATE_S = 5.0


class Patience:
    """`late`: what is told of it once it takes too long."""

    def __init__(self, late: BackendError) -> None:
        self._late = late
        self._since: float | None = None  # monotonic

    def begin(self) -> None:
        """Asked for. What was asked for before and is not done counts from then."""
        if self._since is None:
            self._since = time.monotonic()

    def done(self) -> None:
        self._since = None

    def pending(self) -> bool:
        """To be waited for."""
        since = self._since
        return since is not None and time.monotonic() - since < LATE_S

    def error(self) -> BackendError | None:
        """Always the same one, so that who compares sees no news."""
        since = self._since
        return self._late if since is not None and time.monotonic() - since >= LATE_S else None
