"""Metric families in one line each, and the bound on how many series an operator's names make."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

OBJECTS_MAX = 500  # segments, NAT rules, firewall rules, public addresses: of each kind
OTHER = "(others)"  # label of all beyond that, added up; no name has brackets

Rows = Iterable[tuple[tuple[str, ...], float]]


def counter(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    """`name` without _total, as it is appended."""
    family = CounterMetricFamily(name, text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def gauge(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def bounded(
    named: Mapping[Hashable, tuple[str, ...]], counters: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, ...], dict[str, int]]:
    """Counters by the labels of their object: each of `named` has one, also when all is zero.

    named  number -> labels, in the order in which they get a series of their own

    What has no name any more ends with its series: added to those of others, all that it ever
    counted would look like an increase of theirs.

    >>> rows = [{"id": 1, "hits": 5}, {"id": 9, "hits": 2}]
    >>> bounded({1: ("web",), 2: ("app",)}, rows)
    {('web',): {'hits': 5}, ('app',): {}}
    """
    own = dict(list(named.items())[:OBJECTS_MAX])
    made: dict[tuple[str, ...], dict[str, int]] = {labels: {} for labels in own.values()}
    width = len(next(iter(own.values()), (OTHER,)))
    for row in counters:
        if row["id"] not in named:
            continue
        labels = own.get(row["id"], (OTHER,) * width)
        into = made.setdefault(labels, {})
        for key, value in row.items():
            if key != "id":
                into[key] = into.get(key, 0) + value
    return made


def carried(
    kind: str, text: str, labels: tuple[str, ...], rows: Mapping[tuple[str, ...], Mapping[str, int]]
) -> list[Metric]:
    """Packets and bytes of objects, each in both directions."""

    def column(unit: str) -> Rows:
        return [
            ((*names, way), found.get(f"{way}_{unit}", 0))
            for names, found in rows.items()
            for way in ("in", "out")
        ]

    both = (*labels, "direction")
    return [
        counter(f"pcg_{kind}_packets", f"Packets of {text}.", both, column("packets")),
        counter(f"pcg_{kind}_bytes", f"Bytes of IP packets of {text}.", both, column("bytes")),
    ]


def totals(made: Callable, told: Mapping[str, int], rows: Mapping[str, tuple[str, str]]) -> list:
    """Families without labels, from fields of struct pcgdp_totals: field -> (name, text)."""
    return [made(name, text, (), [((), told[field])]) for field, (name, text) in rows.items()]
