"""A thread that reads what sessions began and ended, for the logs made from it.

It has a client of its own, so that neither it nor the control loop waits for the other.
"""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from pcg.datapath.client import Client
from pcg.gateway.first_seen import FirstSeen
from pcg.gateway.json_log import JsonLog
from pcg.gateway.rule_log import RuleLog
from pcg.model.errors import BackendError

log = logging.getLogger(__name__)

EVERY_S = 0.5
KEEP = 65_536  # events that each worker of the datapath holds ready in between: 6 MiB
PAGES = 8  # of events, before the thread lets others run
UNWRITTEN_MAX = 10_000  # lines that wait for a disk which takes nothing
SHORTFALL_S = 60.0  # what was lost or forgotten is said at most that often


class Part:
    """One log: who makes its lines, and where they go."""

    def __init__(self, maker: FirstSeen | RuleLog, out: JsonLog) -> None:
        self.maker, self._out, self._dropped = maker, out, 0
        self._unwritten = [maker.begins(time.time())]

    def take(self, events: Sequence[Any], now: float, offset_s: float) -> None:
        self._unwritten += self.maker.lines(events, now, offset_s)

    def shortfall(self, lost: int) -> None:
        self._unwritten += self.maker.shortfall(lost + self._dropped, time.time())

    def write(self) -> None:
        """Raises BackendError; lines that could not be written are tried again, the oldest
        UNWRITTEN_MAX of them."""
        try:
            if self._unwritten:
                self._out.write(self._unwritten)
                self._unwritten.clear()
        finally:
            self._dropped += max(0, len(self._unwritten) - UNWRITTEN_MAX)
            del self._unwritten[UNWRITTEN_MAX:]


class SessionLog:
    def __init__(self, client: Client, *parts: Part) -> None:
        self._client, self._parts, self._error = client, parts, ""
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
        """Read what there is, write what is new. Raises BackendError, of the last log that failed;
        one that fails keeps no other from being written."""
        try:
            self._read(now)
        finally:
            failed = None
            for part in self._parts:
                try:
                    part.write()
                except BackendError as error:
                    failed = error
            if failed:
                raise failed

    def _read(self, now: float) -> None:
        offset_s = time.time() - time.monotonic()
        keep = KEEP if any(part.maker.wanted() for part in self._parts) else 0
        for _ in range(PAGES):
            events, lost = self._client.events(keep)
            for part in self._parts:
                part.take(events, now, offset_s)
            if not events:
                break
        if now >= self._shortfall_at:
            self._shortfall_at = now + SHORTFALL_S
            for part in self._parts:
                part.shortfall(lost)
