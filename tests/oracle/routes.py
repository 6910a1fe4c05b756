"""Longest prefix match by looking at every prefix: the slow twin of lpm.c."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

T = TypeVar("T")


def longest(routes: Iterable[tuple[IPv4Network, T]], address: IPv4Address) -> T | None:
    """The value of the longest prefix that holds `address`; of two equal ones the later.

    >>> longest([(IPv4Network("0.0.0.0/0"), "a"), (IPv4Network("10.0.0.0/8"), "b")],
    ...         IPv4Address("10.1.2.3"))
    'b'
    """
    best, best_len = None, -1
    for prefix, value in routes:
        if address in prefix and prefix.prefixlen >= best_len:
            best, best_len = value, prefix.prefixlen
    return best
