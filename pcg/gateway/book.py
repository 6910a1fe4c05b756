"""Counters that only grow, remembered: since when, until when, how fast. Pure.

The kernel tells how many, not when. A counter that begins anew (an interface was replaced, our
nftables tables were) goes on from what it had.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pcg.drivers.counters import Count, words
from pcg.proto.relay_words import WORDS

# Their counters are made with the first of what they count, or with our tables: one that was not
# there at the last reading was zero then.
MADE = ("nftables", "relay")


@dataclass
class Line:
    count: Count
    packets: int  # in all, also over new beginnings
    first: float | None = None  # wall clock; None: not since we look
    last: float | None = None
    rate: float = 0.0  # packets a second, between the last two readings

    def add(self, count: Count, apart_s: float, wall: float) -> None:
        more = count.packets - self.count.packets
        more = count.packets if more < 0 else more
        self.count = count
        self.packets += more
        self.rate = more / apart_s if apart_s > 0 else 0.0
        if more:
            self.first, self.last = self.first or wall, wall


def said(count: Count) -> NamedTuple:
    """What it means and what to do about it."""
    return WORDS[count.name] if count.source == "relay" else words(count.source, count.name)


class Book:
    """One reading after the other goes in by note()."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str, str], Line] = {}
        self._noted_at: float | None = None

    def note(self, counts: Iterable[Count], now: float, wall: float) -> None:
        """`now`: monotonic seconds of this reading; `wall`: the same moment for people."""
        apart_s = now - self._noted_at if self._noted_at is not None else 0.0
        for count in counts:
            line = self.lines.get(count[:3])
            if line is None and count.source in MADE and self._noted_at is not None:
                line = self.lines[count[:3]] = Line(count._replace(packets=0), 0)
            if line:
                line.add(count, apart_s, wall)
            else:
                self.lines[count[:3]] = Line(count, count.packets)
        self._noted_at = now

    def view(self) -> list[dict[str, Any]]:
        """For people: msgpack-able."""
        return [
            {
                "source": line.count.source,
                "where": line.count.where,
                "name": line.count.name,
                "packets": line.packets,
                "ends": line.count.ends,
                "first": line.first,
                "last": line.last,
                "rate": round(line.rate, 3),
                **said(line.count)._asdict(),
            }
            for line in self.lines.values()
        ]
