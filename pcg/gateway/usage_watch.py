"""A thread that asks the datapath who was refused sessions, and puts it in the log."""

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from pcg.datapath import views
from pcg.gateway.facts import Facts
from pcg.gateway.fair_use import FairUse, refusals
from pcg.gateway.periodic import Periodic
from pcg.model.errors import BackendError

log = logging.getLogger(__name__)

EVERY_S = 2.0


class Client(Protocol):
    """What we need of pcg.datapath.client.Client."""

    def drops(self) -> dict[str, int]: ...
    def read(self, table: str) -> list: ...
    def ledger(self) -> list[dict[str, Any]]: ...


class UsageWatch(Periodic):
    def __init__(self, client: Client, facts: Callable[[], Facts]) -> None:
        super().__init__("usage", EVERY_S)
        self._client, self._facts = client, facts
        self._fair, self._seen = FairUse(), 0

    def look(self) -> None:
        with contextlib.suppress(BackendError):  # the control loop tells that nobody answers
            self.turn(time.monotonic())

    def turn(self, now: float) -> None:
        """The table is long, so it is read only when somebody was refused something. Until there
        is a desired state nobody has a name: a datapath that ran before us has counted already."""
        facts = self._facts()
        count = refusals(self._client.drops())
        if count == self._seen or facts.desired is None or not facts.policy:
            return
        ledger = self._client.ledger()  # first: of what it has examples, the table has counted
        rows: list[dict[str, Any]] = [
            views.view("usage", u) for u in self._client.read("usage") if u.refused
        ]
        self._seen = count
        for refusal in self._fair.look(rows, facts, now, ledger):
            log.warning("%s", refusal.text)
