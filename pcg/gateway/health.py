"""How one backend is doing: when its turn is, what failed, since when it is as desired."""

import logging
from collections.abc import Sequence
from typing import Any

from pcg.gateway.backoff import ABSENT_S, LONGEST_S, delay_s
from pcg.model.errors import AbsentError, BackendError

log = logging.getLogger(__name__)

NEVER = float("inf")


class Health:
    def __init__(self, name: str) -> None:
        self.name = name
        self.due = NEVER  # monotonic seconds
        self.failures = 0  # in a row
        self.turns = self.failed_turns = 0  # since this process began
        self.errors: Sequence[BackendError] = ()
        self.applied_at = 0.0  # wall clock, seconds since 1970; 0: never
        self.tried = False

    def want(self, at: float) -> None:
        """Its turn is at `at`, or before when it was already so."""
        self.due = min(self.due, at)

    def wait(self, until: float) -> None:
        """Its turn, if it has one, is not before `until`."""
        self.due = max(self.due, until)

    def is_due(self, now: float) -> bool:
        return now >= self.due

    def done(self, errors: Sequence[BackendError], now: float, wall: float) -> None:
        """It had its turn. What failed is tried again, later each time."""
        said = [str(e) for e in errors]
        if said != [str(e) for e in self.errors]:
            for text in said:
                log.warning("%s: %s", self.name, text)
            if not said:
                log.info("%s: as desired again", self.name)
        elif not self.tried:
            log.info("%s: as desired", self.name)
        self.errors, self.tried = errors, True
        self.turns += 1
        self.failed_turns += bool(errors)
        self.failures = self.failures + 1 if errors else 0
        longest_s = ABSENT_S if all(isinstance(e, AbsentError) for e in errors) else LONGEST_S
        self.due = now + delay_s(self.failures, longest_s) if errors else NEVER
        if not errors:
            self.applied_at = wall

    def view(self, now: float) -> dict[str, Any]:
        """For people: msgpack-able."""
        if not self.tried:
            state = "waiting"
        else:
            state = "failing" if self.errors else "applied"
        return {
            "state": state,
            "applied_at": self.applied_at or None,
            "failures": self.failures,
            "next_try_s": round(max(0.0, self.due - now), 3) if self.errors else None,
            "errors": [{"thing": e.thing, "why": e.why, "mend": e.mend} for e in self.errors],
        }
