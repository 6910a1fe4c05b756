"""A log of one JSON object a line, in a file that grows to a limit.

Opened for each batch, so that whoever else moves the file away may do so. At its limit it becomes
NAME.1, and what was NAME.1 is gone: it never takes more than twice the limit.
"""

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from pcg.model.errors import BackendError

WAITING_MAX = 10_000  # lines that wait for a disk which takes nothing
MODE = 0o640  # who talks to whom is not for everybody


class JsonLog:
    def __init__(self, path: str, limit: int) -> None:
        """`limit`: bytes."""
        self.path, self.limit = Path(path), limit
        self.dropped = 0  # lines
        self._waiting: list[dict[str, Any]] = []

    def put(self, lines: Iterable[dict[str, Any]]) -> None:
        """For the next flush()."""
        self._waiting += lines

    def flush(self) -> None:
        """Write what was put. Raises BackendError; it is tried again by the next flush, but for
        what came last when too much waits."""
        try:
            if self._waiting:
                self.write(self._waiting)
                self._waiting.clear()
        finally:
            self.dropped += max(0, len(self._waiting) - WAITING_MAX)
            del self._waiting[WAITING_MAX:]

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Append them, all at once. Raises BackendError: none of them stands there."""
        data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        try:
            self._make_room(len(data))
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
            try:
                size = os.fstat(file).st_size
                if os.write(file, data) < len(data):
                    os.ftruncate(file, size)  # else a torn line, and the whole ones once more
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(file)
        except OSError as error:
            mend = "mend its folder, its rights or the space on its disk"
            raise BackendError(f"log {self.path}", error.strerror or str(error), mend) from None

    def _make_room(self, wanted: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_size + wanted > self.limit:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
