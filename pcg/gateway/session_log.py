"""A thread that reads what sessions began and ended, for the logs made from it.

It has a client of its own, so that neither it nor the control loop waits for the other.
"""

import logging
import threading
import time

from pcg.datapath.client import Client
from pcg.gateway.first_seen import FirstSeen
from pcg.gateway.json_log import JsonLog
from pcg.model.errors import BackendError

log = logging.getLogger(__name__)

EVERY_S = 0.5
KEEP = 65_536  # events that each worker of the datapath holds ready in between: 6 MiB
PAGES = 8  # of events, before the thread lets others run
UNWRITTEN_MAX = 10_000  # lines that wait for a disk which takes nothing
SHORTFALL_S = 60.0  # what was lost or forgotten is said at most that often


class SessionLog:
    def __init__(self, client: Client, first_seen: FirstSeen, out: JsonLog) -> None:
        self._client, self._first_seen, self._out = client, first_seen, out
        self._error, self._dropped = "", 0
        self._unwritten = [first_seen.begins(time.time())]
        self._shortfall_at = time.monotonic() + SHORTFALL_S
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="session log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """The datapath is told to keep no more of them, if it is there."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            self._client.events(0)
        except BackendError as error:
            log.info("session events stay on: %s", error)

    def _run(self) -> None:
        while not self._end.wait(EVERY_S):
            try:
                self.turn(time.monotonic())
                self._say("")
            except BackendError as error:
                self._say(str(error))

    def _say(self, error: str) -> None:
        if error != self._error:
            log.warning("session log: %s", error or "is written again")
        self._error = error

    def turn(self, now: float) -> None:
        """Read what there is, write what is new. Raises BackendError; lines that could not be
        written are tried again, the oldest UNWRITTEN_MAX of them."""
        offset_s = time.time() - time.monotonic()
        try:
            for _ in range(PAGES):
                events, lost = self._client.events(KEEP)
                self._unwritten += self._first_seen.lines(events, now, offset_s)
                if not events:
                    break
            if now >= self._shortfall_at:
                self._shortfall_at = now + SHORTFALL_S
                missing = lost + self._dropped
                self._unwritten += self._first_seen.shortfall(missing, time.time())
            if self._unwritten:
                self._out.write(self._unwritten)
                self._unwritten.clear()
        finally:
            self._dropped += max(0, len(self._unwritten) - UNWRITTEN_MAX)
            del self._unwritten[UNWRITTEN_MAX:]
