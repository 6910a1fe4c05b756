"""The scenario: every point of "what must work", as functions of a running lab.

A check returns what was seen, in words; it raises Failed when that is not what must be. The order
of the modules below is the order of the demo. A check leaves the lab as it found it.
"""

from pcg.lab.checks import (
    change,
    dhcp,
    east,
    kernel,
    ledger,
    north,
    restart,
    south,
    tenants,
    transfer,
    wall,
)
from pcg.lab.checks.check import CHECKS, Check, Failed

__all__ = ["CHECKS", "Check", "Failed"]

_ORDER = (north, south, east, transfer, change, restart, kernel, ledger, tenants, wall, dhcp)
CHECKS.sort(key=lambda c: (c.point, [m.__name__ for m in _ORDER].index(c.run.__module__)))
