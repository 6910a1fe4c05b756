"""The first rule that fits, by asking each in order, and what the firewall makes of it: the slow
twin of classify.c, columns.c and the firewall in decide.c."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pcg.reconcile.records import Firewall, Match, Members

ALLOW, DROP, REJECT = range(3)


class Flow(NamedTuple):
    """Addresses are 4 bytes, the rest are ints."""

    src: bytes
    dst: bytes
    protocol: int
    sport: int
    dport: int


class Ruling(NamedTuple):
    rule: int  # its id; 0: the default
    action: int
    session: bool


def covers(prefix: bytes, length: int, address: bytes) -> bool:
    shift = 32 - length
    return int.from_bytes(prefix) >> shift == int.from_bytes(address) >> shift


def first(
    rules: Sequence[Match], src: bytes, dst: bytes, protocol: int, sport: int, dport: int
) -> int | None:
    """Its index, or None. Addresses are 4 bytes, ports ints.

    >>> first([Match(protocol=6), Match()], bytes(4), bytes(4), 17, 1, 2)
    1
    """
    flow = Flow(src, dst, protocol, sport, dport)
    return next((i for i, m in enumerate(rules) if fits(m, flow)), None)


def fits(m: Match, f: Flow) -> bool:
    return (
        covers(m.src_be, m.src_len, f.src)
        and covers(m.dst_be, m.dst_len, f.dst)
        and m.protocol in (0, f.protocol)
        and m.sport_first <= f.sport <= m.sport_last
        and m.dport_first <= f.dport <= m.dport_last
    )


def among(members: Iterable[Members], group: int, address: bytes) -> bool:
    """Whether a group has the address; number 0 is no group, and asks nothing."""
    mine = (m for m in members if m.group == group)
    return group == 0 or any(covers(m.prefix_be, m.prefix_len, address) for m in mine)


def ruling(
    rules: Iterable[Firewall],
    members: Sequence[Members],
    default: int,
    direction: int,
    flow: Flow,
    translated: bool,
) -> Ruling:
    """direction: 1 in, 2 out. A group stands in place of the match's prefix, whatever that is."""
    for r in rules:
        match = r.match
        match = match._replace(src_len=0) if r.src_group else match
        match = match._replace(dst_len=0) if r.dst_group else match
        if (
            r.direction & direction
            and fits(match, flow)
            and among(members, r.src_group, flow.src)
            and among(members, r.dst_group, flow.dst)
        ):
            return Ruling(r.id, r.action, r.action == ALLOW and (translated or not r.stateless))
    return Ruling(0, default, default == ALLOW)
