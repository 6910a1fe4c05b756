"""The one capture that a datapath may have, and who has it.

It is somebody's as long as he reads: a `pcgctl` that was killed leaves nothing running that others
would pay for.
"""

import secrets
from collections.abc import Callable
from typing import Any

from pcg.datapath.captured import Flow
from pcg.datapath.lib import Datapath
from pcg.model.errors import BackendError

LEASE_S = 10.0  # silent for longer: it ends, or another one may have it


class Tap:
    """`now` is monotonic seconds, always the caller's."""

    def __init__(self, dp: Datapath) -> None:
        self.dp, self.token, self.heard_at = dp, "", 0.0
        self._ended, self._flow = Flow(), Flow()  # of all that ended; of the one that runs

    def start(self, wanted: bytes, program: bytes, now: float) -> str:
        """A token that every later request must show. BackendError: somebody else captures."""
        self.expire(now)
        if self.token:
            mend = "one at a time: wait for its end"
            raise BackendError("capture", "somebody else's is under way", mend)
        self.dp.capture_start_raw(wanted, program)
        self.token, self.heard_at = secrets.token_hex(8), now
        return self.token

    def _mine(self, token: str, now: float) -> None:
        if not self.token or token != self.token:
            why = "it has ended: nobody read for too long, or the datapath was started again"
            raise BackendError("capture", why, "start another one")
        self.heard_at = now

    def read(self, token: str, now: float) -> tuple[list, bytes]:
        self._mine(token, now)
        data, self._flow = self.dp.capture_raw()
        return list(self._flow), data

    def stop(self, token: str, now: float) -> None:
        self._mine(token, now)
        self._end()

    def expire(self, now: float) -> None:
        """End a capture that nobody reads."""
        if self.token and now - self.heard_at > LEASE_S:
            self._end()

    def counts(self) -> tuple[bool, Flow]:
        """Whether one runs, and the counts of all, as far as they were read."""
        return bool(self.token), self._ended.plus(self._flow)

    def _end(self) -> None:
        self.token = ""
        self._ended = self._ended.plus(self.dp.capture_raw()[1])  # also of what nobody will read
        self._flow = Flow()
        self.dp.capture_stop()


def operations(tap: Tap, clock: Callable[[], float]) -> dict[str, Callable[[dict, list], Any]]:
    """Request -> (result, arrays), as the server answers it."""

    def read(args: dict, _arrays: list[bytes]):
        flow, data = tap.read(args["token"], clock())
        return flow, (data,)

    return {
        "capture_start": lambda args, arrays: (tap.start(arrays[0], arrays[1], clock()), ()),
        "capture_read": read,
        "captures": lambda _args, _arrays: (tap.counts(), ()),
        "capture_stop": lambda args, arrays: (tap.stop(args["token"], clock()), ()),
    }
