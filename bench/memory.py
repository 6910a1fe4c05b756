"""Bytes of a session, from the arena as it is laid out; what it holds is there from the start."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.rows import Row
from pcg.datapath import border
from pcg.datapath.lib import Datapath

LEAST = 1024
SESSIONS = 1 << 20


def layout(sessions: int, mappings: int) -> int:
    """Bytes of an arena of these sizes."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        file = Path(folder) / "arena"
        with Datapath(sessions, 1024, arena=str(file), mappings=mappings):
            return file.stat().st_size


def measure() -> Iterator[Row]:
    least = layout(LEAST, LEAST)
    session = (layout(SESSIONS, LEAST) - least) / (SESSIONS - LEAST)
    mapping = (layout(LEAST, SESSIONS) - least) / (SESSIONS - LEAST)
    beside = border.lib().PCGDP_COLD_LEN
    hot, cold = session - beside, beside + mapping
    about = {"sessions": SESSIONS, "unit": "bytes a session"}
    yield Row("memory hot", value=hot, note="two entries and their index", **about)
    yield Row(
        "memory cold", value=cold, note="its record, a mapping and that one's indices", **about
    )
