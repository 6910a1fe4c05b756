"""On which pages the arena lies. Small ones cost TLB misses: a large table has many.

The kernel says it of each mapping in /proc/self/smaps (proc(5)). A new arena's pages are collapsed
into huge ones when it is made (arena.c); they stay small where the kernel cannot, and in a file
that was filled before, unless its tmpfs is mounted with huge=.
"""

import os
import re
from pathlib import Path
from typing import Any

HUGE = ("ShmemPmdMapped", "FilePmdMapped", "AnonHugePages", "Shared_Hugetlb", "Private_Hugetlb")
HUGETLB = HUGE[-2:]  # which Rss leaves out
MEND = (
    "remove the file while the datapath is stopped, which ends its sessions; before Linux 6.1 put"
    " it on a tmpfs with huge=within_size, as configs/systemd/run-pcg-arena.mount mounts one"
)


def read(smaps: str, file: str) -> dict[str, Any] | None:
    """Of the mapping of `file`, in bytes; None: it is not mapped.

    resident  of it in memory, as far as this process has touched it
    huge      of that on huge pages
    """
    found = [
        dict(re.findall(r"^(\w+): +(\d+) kB$", text, re.M))
        for text in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.M)
        if text.partition("\n")[0].split(maxsplit=5)[5:] == [file]
    ]
    if not found:
        return None

    def total(*keys: str) -> int:
        return sum(int(one.get(key, 0)) for one in found for key in keys) << 10

    return {
        "file": file,
        "bytes": total("Size"),
        "resident": total("Rss", *HUGETLB),
        "huge": total(*HUGE),
        "page": int(found[0]["KernelPageSize"]) << 10,
    }


def of_this_process(arena: str) -> dict[str, Any] | None:
    """None: the arena is anonymous memory, or its mapping cannot be found."""
    return read(Path("/proc/self/smaps").read_text(), os.path.realpath(arena)) if arena else None


def are_small(seen: dict[str, Any]) -> bool:
    return seen["huge"] * 2 < seen["resident"]


def said(seen: dict[str, Any] | None) -> str:
    """For people, with the mend.

    >>> said({"file": "/x", "bytes": 8 << 20, "resident": 4 << 20, "huge": 4 << 20, "page": 4096})
    'arena /x: 8 MiB, 4 MiB of it in use, 100 % of that on huge pages'
    """
    if seen is None:
        return "arena: anonymous memory, its pages are not known"
    sizes = f"{seen['bytes'] >> 20} MiB, {seen['resident'] >> 20} MiB of it in use"
    share = 100 * seen["huge"] // max(1, seen["resident"])
    text = f"arena {seen['file']}: {sizes}, {share} % of that on huge pages"
    if are_small(seen):
        text += f", the rest on pages of {seen['page'] >> 10} KiB: {MEND}"
    return text
