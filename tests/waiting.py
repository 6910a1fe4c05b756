"""Conditions with a deadline, instead of sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
LOOK_S = 0.01


def until(condition: Callable[[], T], what: str, timeout_s: float = 10.0) -> T:
    """The first true value of `condition`; AssertionError that says `what` when time is up.

    An AssertionError of the condition itself counts as not yet; the last one is shown.
    """
    deadline, last = time.monotonic() + timeout_s, None
    while True:
        try:
            value = condition()
            last = value if value is not None else last
            if value:
                return value
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what} (last seen: {last!r})")
        time.sleep(LOOK_S)
