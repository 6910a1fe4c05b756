"""When to try again what failed: soon, then less and less often. Pure."""

FIRST_S = 0.2
LONGEST_S = 10.0


def delay_s(failures: int) -> float:
    """Seconds to wait after that many failures in a row.

    >>> [delay_s(n) for n in (0, 1, 2, 3, 50)]
    [0.0, 0.2, 0.4, 0.8, 10.0]
    """
    if failures < 1:
        return 0.0
    return min(LONGEST_S, FIRST_S * 2 ** min(failures - 1, 16))
