"""A thread that asks the datapath who was refused sessions, and puts it in the log."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from pcg.datapath import views
from pcg.gateway.facts import Facts
from pcg.gateway.fair_use import FairUse, refusals
from pcg.model.errors import BackendError

log = logging.getLogger(__name__)

EVERY_S = 2.0


class Client(Protocol):
    """What we need of pcg.datapath.client.Client."""

    def drops(self) -> dict[str, int]: ...
    def read(self, table: str) -> list: ...


class UsageWatch:
    def __init__(
        self, client: Client, facts: Callable[[], Facts], every_s: float = EVERY_S
    ) -> None:
        self._client, self._facts, self._every_s = client, facts, every_s
        self._fair, self._seen = FairUse(), 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * self._every_s)

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            try:
                self.turn(time.monotonic())
            except BackendError:
                continue  # the control loop tells that the datapath does not answer

    def turn(self, now: float) -> None:
        """The table is long, so it is read only when somebody was refused something."""
        count = refusals(self._client.drops())
        if count == self._seen:
            return
        rows: list[dict[str, Any]] = [
            views.view("usage", u) for u in self._client.read("usage") if u.refused
        ]
        self._seen = count
        for refusal in self._fair.look(rows, self._facts(), now):
            log.warning("%s", refusal.text)
