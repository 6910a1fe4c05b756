"""Metrics of DHCP: messages that were carried, refused, and leases by segment."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from prometheus_client.core import Metric

from pcg.gateway.families import OBJECTS_MAX, OTHER, counter, gauge
from pcg.proto.relay_words import WORDS


class Figures(NamedTuple):
    refused: Mapping[tuple[str, str], int] = {}  # (segment, reason) -> messages
    messages: Mapping[tuple[str, str], int] = {}  # (type, "in" or "out") -> messages
    leases: Mapping[str, int] = {}  # segment -> leases


def collect(figures: Figures) -> Iterator[Metric]:
    text = "DHCP messages that went on, from clients (in) and to them (out)."
    rows = figures.messages.items()
    yield counter("pcg_dhcp_messages", text, ("type", "direction"), rows)
    # Each is there from the start: a rate does not see a counter's first step out of nothing.
    reasons = Counter(dict.fromkeys(WORDS, 0))
    for (_, reason), n in figures.refused.items():
        reasons[reason] += n
    text = "DHCP messages that ended in the relay, by reason."
    yield counter("pcg_dhcp_refused", text, ("reason",), [((r,), n) for r, n in reasons.items()])
    text = "Leases that workloads have."
    yield gauge("pcg_dhcp_leases", text, ("segment",), bounded(figures.leases).items())


def bounded(by_segment: Mapping[str, int]) -> dict[tuple[str], int]:
    """The first OBJECTS_MAX segments by name, the rest together.

    >>> bounded({"web": 3, "app": 1})
    {('app',): 1, ('web',): 3}
    """
    names = sorted(by_segment)
    made = {(name,): by_segment[name] for name in names[:OBJECTS_MAX]}
    if rest := names[OBJECTS_MAX:]:
        made[(OTHER,)] = sum(by_segment[name] for name in rest)
    return made
