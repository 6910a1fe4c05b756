"""When to try again what failed: soon, then less and less often. Pure."""

FIRST_S = 0.2
LONGEST_S = 10.0
ABSENT_S = 1.0  # at the longest, for a program that is started any moment


def delay_s(failures: int, longest_s: float = LONGEST_S) -> float:
    """Seconds to wait after that many failures in a row.

    >>> [delay_s(n) for n in (0, 1, 2, 3, 50)]
    [0.0, 0.2, 0.4, 0.8, 10.0]
    >>> delay_s(50, ABSENT_S)
    1.0
    """
    if failures < 1:
        return 0.0
    return min(longest_s, FIRST_S * 2 ** min(failures - 1, 16))
