"""A thread that asks the datapath who was refused sessions: for the log, and whoever asks it."""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from pcg.datapath import views
from pcg.gateway.facts import Facts
from pcg.gateway.fair_use import QUIET_S, FairUse, refusals
from pcg.gateway.periodic import Periodic
from pcg.model.errors import BackendError
from pcg.wire import limits
from pcg.wire.messages import Shortage

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
        self._fair = FairUse()
        self._seen: int | None = None  # refusals; None: we have not looked yet
        # for other threads: replaced whole, never changed in place
        self.latest: tuple[Shortage, ...] = ()
        self.by_rule: Counter[str] = Counter()  # how many began, ever

    def look(self) -> None:
        with contextlib.suppress(BackendError):  # the control loop tells that nobody answers
            self.turn(time.monotonic())

    def turn(self, now: float) -> None:
        """The table is long, so it is read only when somebody was refused something.

        And at our first look: what is over was told by the gateway of that time. The table may
        outlive the datapath, whose own counts do not, so these do not say whether there is any.
        Until there is a desired state nobody has a name.
        """
        facts = self._facts()
        if facts.desired is None or not facts.policy:
            return
        count, seen = refusals(self._client.drops()), self._seen
        if count == seen:
            return
        ledger = self._client.ledger()  # first: of what it has examples, the table has counted
        rows: list[dict[str, Any]] = [
            views.view("usage", u) for u in self._client.read("usage") if u.refused
        ]
        self._seen = count
        if seen is None:
            late = {d["reason"] for d in ledger if now - d["last_ns"] / 1e9 < QUIET_S}
            self._fair.begin(row for row in rows if row["reason"] not in late)
        began = self._fair.look(rows, facts, now, ledger, time.time() - time.monotonic())
        for shortage in began:
            log.warning("%s", shortage.text)
        self.by_rule = self.by_rule + Counter(one.rule for one in began)
        self.latest = (*self.latest, *began)[-limits.MAX_SHORTAGES :]
