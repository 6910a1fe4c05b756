"""Tests wait for a condition, with a deadline, instead of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.005


def wait_until(cond: Callable[[], T], what: str, deadline_s: float = 30.0) -> T:
    """The first true value of cond(); fails naming `what` when none came before the deadline.

    A deadline is for the test that hangs, not a measurement: choose it generous.
    """
    end = time.monotonic() + deadline_s
    while not (value := cond()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_s} s for: {what}")
        time.sleep(POLL_S)
    return value
