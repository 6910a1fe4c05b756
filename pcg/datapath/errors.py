"""C's return codes as BackendError, and the numbers behind the words that callers use."""

import errno
import os

from pcg.datapath import border
from pcg.model.errors import BackendError

MENDS = {
    errno.EPERM: "it needs CAP_NET_RAW, CAP_NET_ADMIN and, for af_xdp, CAP_BPF: run it as root",
    errno.EACCES: "it needs the right to do so: run it as root",
    errno.E2BIG: "use fewer public addresses on this gateway",
    errno.ENODEV: "create the interface, or name another one in the datapath's settings",
    errno.ENOMEM: "lower `sessions` or `workload_addresses` in the datapath's settings",
    errno.ENOSPC: "the table is full: raise its size in the datapath's settings",
    errno.EOPNOTSUPP: "mend that, or use `driver: af_packet`, which works on every interface",
    errno.EBUSY: "another process holds it: stop that one first",
}


def ensure(rc: int, thing: str, error=None) -> int:
    """`rc` when it is not negative; else BackendError with C's own words, or errno's.

    C's words may hold the mend already, behind a semicolon.
    """
    if rc >= 0:
        return rc
    said = border.ffi().string(error).decode(errors="replace") if error is not None else ""
    mend = "" if "; " in said else MENDS.get(-rc, "")
    raise BackendError(thing, said or os.strerror(-rc), mend)


def number(kind: str, words: dict[int, str], word: str) -> int:
    """The value of an enum's word; BackendError that lists the words there are."""
    numbers = {known.lower(): value for value, known in words.items()}
    if word not in numbers:
        raise BackendError(f"{kind} {word}", "is unknown", f"use {' or '.join(sorted(numbers))}")
    return numbers[word]


def role_number(role: str) -> int:
    return number("role", border.words("pcgdp_role"), role)


def driver_number(driver: str) -> int:
    return number("driver", border.words("pcgdp_driver", "PCGDP_DRIVER_"), driver)


READ_ONLY = ("usage", "path_mtu", "recent")


def table_number(table: str) -> int:
    """Of a table, or of what can only be read as one."""
    read_only = {name: getattr(border.lib(), f"PCGDP_{name.upper()}") for name in READ_ONLY}
    known = border.tables() | read_only
    return number("table", {value: name for name, value in known.items()}, table)
