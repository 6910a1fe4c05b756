"""The first rule that fits, by asking each in order: the slow twin of classify.c."""

from collections.abc import Sequence

from pcg.reconcile.records import Match


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
    for i, m in enumerate(rules):
        if (
            covers(m.src_be, m.src_len, src)
            and covers(m.dst_be, m.dst_len, dst)
            and m.protocol in (0, protocol)
            and m.sport_first <= sport <= m.sport_last
            and m.dport_first <= dport <= m.dport_last
        ):
            return i
    return None
