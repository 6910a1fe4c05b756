"""What a check is."""

from collections.abc import Callable
from dataclasses import dataclass

from pcg.lab.lab import Lab


class Failed(Exception):  # noqa: N818 - it reads as what it says
    """Something else was seen than must be; the text says what."""


@dataclass(frozen=True)
class Check:
    point: int  # of the scenario
    tried: str
    run: Callable[[Lab], str]

    @property
    def name(self) -> str:
        return self.run.__name__


CHECKS: list[Check] = []


def check(point: int, tried: str) -> Callable[[Callable[[Lab], str]], Callable[[Lab], str]]:
    def register(run: Callable[[Lab], str]) -> Callable[[Lab], str]:
        CHECKS.append(Check(point, tried, run))
        return run

    return register


def expect(true: object, otherwise: str) -> None:
    if not true:
        raise Failed(otherwise)


def equal(what: str, seen: object, wanted: object) -> None:
    expect(seen == wanted, f"{what} is {seen}, not {wanted}")
