"""Drops as the workers noted them, added up."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pcg.datapath import border

SEVERAL = "several"  # the side of what shares a line, as there are too many kinds
OF_SEVERAL = 0xFFFFFFFF  # its VNI
KIND = ("reason", "role", "vni", "fw_id", "nat_id")
FLOW = (*KIND, "vrf", "outer_src", "src", "dst", "dport", "protocol")


def merged(drops: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each kind, the most frequent first; the example is the youngest there is.

    >>> one = {"reason": "X", "role": "uplink", "vni": 1, "fw_id": 0, "nat_id": 0, "unlisted": 0}
    >>> (row,) = merged([
    ...     one | {"packets": 1, "first_ns": 5, "last_ns": 5, "at_ns": 5, "src": "a"},
    ...     one | {"packets": 2, "first_ns": 3, "last_ns": 9, "at_ns": 8, "src": "b"},
    ... ])
    >>> row["packets"], row["first_ns"], row["last_ns"], row["src"]
    (3, 3, 9, 'b')
    """
    found: dict[tuple, dict[str, Any]] = {}
    for drop in drops:
        if drop["vni"] is None:
            drop["role"] = SEVERAL
        kind = tuple(drop[key] for key in KIND)
        known = found.get(kind)
        found[kind] = _added(known, drop, "at_ns", "packets", "unlisted") if known else drop
    return sorted(found.values(), key=lambda drop: -drop["packets"])


def _added(a: dict[str, Any], b: dict[str, Any], at: str, *counts: str) -> dict[str, Any]:
    """One row of the two. What is neither a count nor a first or last time is of the later `at`."""
    return max(a, b, key=lambda row: row[at]) | {
        "first_ns": min(a["first_ns"], b["first_ns"]),
        "last_ns": max(a["last_ns"], b["last_ns"]),
        **{name: a[name] + b[name] for name in counts},
    }


def by_side(lines: Iterable[Any]) -> Counter[tuple[str, str]]:
    """Packets by reason and side: "downlink", "uplink" or SEVERAL. `lines`: records of the path."""
    reasons, sides = border.reason_names(), border.words("pcgdp_role")
    found: Counter[tuple[str, str]] = Counter()
    for line in lines:
        side = SEVERAL if line.vni == OF_SEVERAL else sides[line.role].lower()
        found[reasons[line.reason], side] += line.packets
    return found


def recent(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each flow, the latest first; source port and length are of its latest packet.

    A flow may stand twice among them: it lost its place and got another while the table was read.

    >>> flow = dict.fromkeys(FLOW, 0)
    >>> (row,) = recent([
    ...     flow | {"worker": 0, "packets": 1, "first_ns": 5, "last_ns": 5, "sport": 7},
    ...     flow | {"worker": 1, "packets": 2, "first_ns": 3, "last_ns": 9, "sport": 8},
    ...     flow | {"worker": 0, "packets": 1, "first_ns": 5, "last_ns": 5, "sport": 7},
    ... ])
    >>> row["packets"], row["first_ns"], row["last_ns"], row["sport"]
    (3, 3, 9, 8)
    """
    once = {(r["worker"], *(r[key] for key in FLOW)): r for r in records}
    found: dict[tuple, dict[str, Any]] = {}
    for (_, *flow), record in once.items():
        row = {key: value for key, value in record.items() if key != "worker"}
        known = found.get(tuple(flow))
        found[tuple(flow)] = _added(known, row, "last_ns", "packets") if known else row
    return sorted(found.values(), key=lambda row: -row["last_ns"])
