"""What to change so that `actual` becomes `desired`. Pure: no driver, no clock."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Plan(Generic[K, V]):
    remove: list[K] = field(default_factory=list)
    write: dict[K, V] = field(default_factory=dict)  # add, or replace whole

    def __bool__(self) -> bool:
        return bool(self.remove or self.write)


def plan(desired: Mapping[K, V], actual: Mapping[K, V]) -> Plan[K, V]:
    """Empty when the two agree, so to run it again costs nothing and harms nothing.

    >>> plan({"a": 1, "b": 2}, {"b": 3, "c": 4})
    Plan(remove=['c'], write={'a': 1, 'b': 2})
    """
    return Plan(
        remove=[k for k in actual if k not in desired],
        write={k: v for k, v in desired.items() if k not in actual or actual[k] != v},
    )


def plan_keys(keys: Iterable[K], desired: Mapping[K, V], actual: Mapping[K, V]) -> Plan[K, V]:
    """The same, when only these keys can differ: what one changed port out of 100,000 costs."""
    made: Plan[K, V] = Plan()
    for key in keys:
        if key not in desired:
            if key in actual:
                made.remove.append(key)
        elif key not in actual or actual[key] != desired[key]:
            made.write[key] = desired[key]
    return made


def apply(plan: Plan[K, V], actual: dict[K, V]) -> None:
    """Bring our picture of a backend up to date after it took the plan."""
    for key in plan.remove:
        actual.pop(key, None)
    actual.update(plan.write)
