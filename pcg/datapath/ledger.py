"""Drops as the workers noted them, added up."""

from collections.abc import Iterable
from typing import Any

KIND = ("reason", "role", "vni", "fw_id", "nat_id")


def merged(drops: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each kind, the most frequent first; the example is the youngest there is.

    >>> one = {"reason": "X", "role": "uplink", "vni": 1, "fw_id": 0, "nat_id": 0}
    >>> (row,) = merged([
    ...     one | {"packets": 1, "first_ns": 5, "last_ns": 5, "at_ns": 5, "src": "a"},
    ...     one | {"packets": 2, "first_ns": 3, "last_ns": 9, "at_ns": 8, "src": "b"},
    ... ])
    >>> row["packets"], row["first_ns"], row["last_ns"], row["src"]
    (3, 3, 9, 'b')
    """
    found: dict[tuple, dict[str, Any]] = {}
    for drop in drops:
        kind = tuple(drop[key] for key in KIND)
        found[kind] = _both(found[kind], drop) if kind in found else drop
    return sorted(found.values(), key=lambda drop: -drop["packets"])


def _both(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    return max(a, b, key=lambda drop: drop["at_ns"]) | {
        "packets": a["packets"] + b["packets"],
        "first_ns": min(a["first_ns"], b["first_ns"]),
        "last_ns": max(a["last_ns"], b["last_ns"]),
    }
