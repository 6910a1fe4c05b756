"""A figure is a row; a row knows its bar, if it has one. Pure."""

import math
from dataclasses import asdict, dataclass, field
from statistics import quantiles
from typing import Any

OURS = "PCG"
IMIX = "IMIX"
IMIX_SIZES = (64,) * 7 + (576,) * 4 + (1500,)  # of the IP packet; simple IMIX, 7 : 4 : 1
SHAPE = 2  # of a report's rows; raise it when an older page could not read them
BURST = 128  # what a worker takes from a loaded port at a time
# (workload, sessions) -> cycles per packet at most: one core, 64 bytes, mem.
CYCLES_MAX = {
    **{
        ("north", n): bar
        for n, bar in zip(
            (1_000, 10_000, 100_000, 1_000_000, 10_000_000), (110, 110, 150, 210, 380), strict=True
        )
    },
    **{
        ("south", n): bar
        for n, bar in zip(
            (1_000, 10_000, 100_000, 1_000_000, 10_000_000), (110, 110, 150, 220, 380), strict=True
        )
    },
    **{
        ("east", n): bar
        for n, bar in zip((1_000, 100_000, 1_000_000), (130, 130, 140), strict=True)
    },
    **{("mixed", n): bar for n, bar in zip((100_000, 1_000_000), (160, 230), strict=True)},
}
# The others: (workload, sessions) -> (field of the row, the bar, which side of it is good).
# Sessions as the promise names them; None: it was made of any number.
BARS = {
    ("setup", 1_000_000): ("mpps", 3.0, "at least"),
    ("setup rules", 1_000_000): ("mpps", 2.0, "at least"),
    ("memory hot", None): ("value", 200, "at most"),
    ("memory cold", None): ("value", 100, "at most"),
    ("two workers", 1_000_000): ("value", 1.7, "at least"),
    ("stall", 10_000_000): ("value", 100, "at most"),
    ("stall ending", 10_000_000): ("value", 100, "at most"),
    # what is measured at all, with other work beside
    ("hash flood", None): ("value", 5, "at most"),
    ("idle", None): ("value", 2, "at most"),
    ("churn rules", 1_000_000): ("value", 10, "at most"),
    ("churn ports", 1_000_000): ("value", 10, "at most"),
    ("marked", 1_000_000): ("value", 1000, "at most"),
    ("program", None): ("value", 1000, "at most"),
    ("one change", None): ("value", 5, "at most"),
    ("dhcp boot", 10_000): ("value", 3000, "at most"),
    ("dhcp boot unserved", 10_000): ("value", 0, "at most"),
    ("dhcp exchanges", 10_000): ("value", 2000, "at least"),
    ("dhcp renewals", 10_000): ("value", 990, "at least"),  # of 1,000 that are asked for
    ("dhcp boot others lost", None): ("value", 1, "at most"),
    ("dhcp turns others lost", None): ("value", 1, "at most"),
    ("dhcp renew others lost", None): ("value", 1, "at most"),
    ("dhcp change", 1000): ("value", 1000, "at most"),
}


@dataclass
class Row:
    """One figure. `value` and `unit` where it is none of packets; `note` says what else matters."""

    workload: str
    system: str = OURS
    driver: str = "mem"
    packet_size: int | str = 64
    sessions: int = 0
    workers: int = 1
    burst: int = BURST
    mpps: float | None = None
    cycles_per_packet: float | None = None
    cycles_min: float | None = None
    cycles_median: float | None = None
    cycles_p75: float | None = None
    floor: float | None = None  # of the same place: cycles per packet, else Mpps, else the value
    passes: int = 0
    value: float | None = None
    unit: str = ""
    note: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def bar(self) -> tuple[str, float, str] | None:
        """Field, bar, which side is good; None: nothing was promised of this."""
        if self.system != OURS or not self.usual():
            return None
        if self.cycles_per_packet is not None and (self.workload, self.sessions) in CYCLES_MAX:
            return "cycles_per_packet", CYCLES_MAX[self.workload, self.sessions], "at most"
        return BARS.get((self.workload, self.sessions)) or BARS.get((self.workload, None))

    def usual(self) -> bool:
        """Measured as the promises are meant. What is no figure of packets always is."""
        if self.mpps is None and self.cycles_per_packet is None:
            return True
        one = self.workers == 1 and self.driver == "mem"
        return one and self.packet_size == 64 and self.burst == BURST

    def met(self) -> bool | None:
        """None: there is no bar, or no figure.

        >>> Row("north", sessions=1000, cycles_per_packet=100).met()
        True
        >>> Row("setup", sessions=1_000_000, mpps=1.0).met()
        False
        >>> Row("north", sessions=1000, cycles_per_packet=100, packet_size=1500).met()
        """
        bar = self.bar()
        if bar is None:
            return None
        which, limit, side = bar
        got = getattr(self, which)
        if got is None:
            return None
        return got <= limit if side == "at most" else got >= limit

    def times_floor(self) -> float | None:
        """How many times the least that it could cost.

        >>> Row("north", cycles_per_packet=100, floor=25).times_floor()
        4.0
        >>> Row("veth north", mpps=0.5, floor=2.0).times_floor()
        4.0
        """
        if not self.floor:
            return None
        if self.cycles_per_packet is not None:
            return self.cycles_per_packet / self.floor
        if self.mpps is not None:
            return self.floor / self.mpps if self.mpps else None
        return None if self.value is None else self.value / self.floor

    def as_json(self) -> dict:
        bar = self.bar()
        more = {"bar": bar[1] if bar else None, "bar_is": bar[2] if bar else None}
        return asdict(self) | more | {"met": self.met(), "times_floor": self.times_floor()}


def sizes_of(size: int | str) -> tuple[int, ...]:
    return IMIX_SIZES if size == IMIX else (size,)


def quartiles(values: list[float]) -> tuple[float, float, float, float]:
    """Minimum, lower quartile, median, upper quartile.

    >>> quartiles([4.0, 1.0, 2.0, 3.0, 5.0])
    (1.0, 2.0, 3.0, 4.0)
    >>> quartiles([7.0])
    (7.0, 7.0, 7.0, 7.0)
    """
    if len(values) == 1:
        return (values[0],) * 4
    return (min(values), *quantiles(values, n=4, method="inclusive"))


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that so many per cent of all do not exceed.

    >>> percentile([3.0, 1.0, 2.0, 4.0], 50), percentile([3.0, 1.0], 99)
    (2.0, 3.0)
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
