"""A thread that reads what sessions began and ended, once, for all the logs made from it.

It has a client of its own, so that neither it nor the control loop waits for the other. Nor does
the datapath wait for it: what it does not read in time is lost, and counted.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

from pcg.datapath.client import Client
from pcg.gateway.first_seen import FirstSeen
from pcg.gateway.growth import LOG_S, Growth
from pcg.gateway.json_log import JsonLog
from pcg.gateway.periodic import Periodic
from pcg.gateway.rule_log import RuleLog
from pcg.model.errors import BackendError

log = logging.getLogger(__name__)

EVERY_S = 0.5
KEEP = 65_536  # events that each worker of the datapath holds ready in between: 6 MiB
PAGES = 8  # of events, before the thread lets others run
SHORTFALL_S = 60.0  # what was lost or forgotten is said at most that often
# Without an error until all is well. Only the next message to a collector hears of a refusal, and
# not of each one; at the latest its templates are one (ipfix.RESEND_S).
AGAIN_S = 90.0


class Log(Protocol):
    """One log. `now` is monotonic seconds; `offset_s` leads from the path's clock to 1970's."""

    def wanted(self) -> bool:
        """Whether it needs events at all."""

    def take(self, events: Sequence[Any], now: float, offset_s: float) -> None:
        """Note what these events give to write."""

    def settle(self, now: float, at_s: float, lost: int) -> None:
        """Write what was noted. `lost`: events, since the thread began. Raises BackendError."""

    def counts(self) -> dict[str, int]:
        """For the metrics, from any thread."""

    def close(self) -> None: ...


class Part:
    """One log of JSON lines: who makes them, and where they go."""

    def __init__(self, maker: FirstSeen | RuleLog, out: JsonLog) -> None:
        self._maker, self._out = maker, out
        self._shortfall_at = time.monotonic() + SHORTFALL_S
        out.put([maker.begins(time.time())])

    def wanted(self) -> bool:
        return self._maker.wanted()

    def take(self, events: Sequence[Any], now: float, offset_s: float) -> None:
        self._out.put(self._maker.lines(events, now, offset_s))

    def settle(self, now: float, at_s: float, lost: int) -> None:
        if now >= self._shortfall_at:
            self._shortfall_at = now + SHORTFALL_S
            self._out.put(self._maker.shortfall(lost + self._out.dropped, at_s))
        self._out.flush()

    def counts(self) -> dict[str, int]:
        return {f"{self._maker.name}_unwritten": self._out.dropped} | self._maker.counts()

    def close(self) -> None:
        """The file is closed after each batch."""


class SessionLog(Periodic):
    def __init__(self, client: Client, *logs: Log) -> None:
        super().__init__("session log", EVERY_S)
        self._client, self._logs = client, logs
        self._told: set[str] = set()  # errors, since all was well
        self._failed_at = 0.0
        self.lost, self._counted = 0, 0  # since we began; as the datapath counted last
        self._missed = Growth(LOG_S)

    def close(self) -> None:
        """The datapath is told to keep no more of them, if it is there."""
        super().close()
        try:
            self._client.events(0)
        except BackendError as error:
            log.info("session events stay on: %s", error)
        for one in self._logs:
            one.close()

    def counts(self) -> dict[str, int]:
        """What was lost and left out, by where; for the metrics."""
        found = {"unread": self.lost}
        for one in self._logs:
            found |= one.counts()
        return found

    def look(self) -> None:
        now, error = time.monotonic(), ""
        try:
            self.turn(now)
        except BackendError as failed:
            error = str(failed)
        self.say(error, now)

    def say(self, error: str, now: float) -> None:
        """Each error once, until all was well for a while. `error`: of this turn; "": none."""
        if error:
            self._failed_at = now
            if error not in self._told:
                log.warning("session log: %s", error)
                self._told.add(error)
        elif self._told and now >= self._failed_at + AGAIN_S:
            log.warning("session log: is written again")
            self._told.clear()

    def turn(self, now: float) -> None:
        """Read what there is, and have it written: each log by itself, whatever became of the
        others. Raises BackendError: the first of them."""
        at_s = time.time()
        errors = [e for e in (self._read(now, at_s - time.monotonic()),) if e]
        for one in self._logs:
            try:
                one.settle(now, at_s, self.lost)
            except BackendError as error:
                errors.append(error)
        for lost in self._missed.since(now, self.lost):
            log.warning("session log: %d events came too fast and are lost", lost)
        if errors:
            raise errors[0]

    def _read(self, now: float, offset_s: float) -> BackendError | None:
        keep = KEEP if any(one.wanted() for one in self._logs) else 0
        try:
            for _ in range(PAGES):
                events, lost = self._client.events(keep)
                # a datapath that was started again counts from zero
                self.lost += lost - self._counted if lost >= self._counted else lost
                self._counted = lost
                for one in self._logs:
                    one.take(events, now, offset_s)
                if not events:
                    break
        except BackendError as error:
            return error
        return None
