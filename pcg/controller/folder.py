"""The folder of desired-state files: which have changed, and what they say now.

One file per gateway, <gateway id>.yaml. What is invalid is refused whole and named, the last good
state stays in force. A file that goes away changes nothing at its gateway: to empty a gateway is
an act of its own (a file with empty lists), never the side effect of a move or a lost mount.

Write a file aside and rename it. One that is written in place is left alone until it has been
still for SETTLE_S, since half a document can be valid.
"""

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from pcg.model.desired import Desired
from pcg.model.errors import ConfigError, PcgError, Problem
from pcg.model.load import load_desired
from pcg.wire.snapshot import Snapshot

log = logging.getLogger(__name__)

SUFFIX = ".yaml"
SETTLE_S = 0.05

Signature = tuple[int, int, int]  # inode, modified (ns), size


@dataclass(frozen=True, slots=True)
class Loaded:
    gateway: str
    desired: Desired
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Bad:
    gateway: str
    error: PcgError


@dataclass(frozen=True, slots=True)
class Gone:
    gateway: str


Finding = Loaded | Bad | Gone


class Folder:
    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._seen: dict[str, Signature] = {}  # what has been read, by file name

    def first_look(self) -> list[Finding]:
        """All there is, those written this moment as well. Raises ConfigError like look()."""
        findings, unsettled = self.look(time.time())
        if unsettled:
            time.sleep(SETTLE_S)
            findings += self.look(time.time())[0]
        return findings

    def look(self, wall_s: float) -> tuple[list[Finding], bool]:
        """What is new since the last look; and whether a file is unsettled: look again soon.

        wall_s  the time of day, which file times are in
        Raises  ConfigError   the folder is not there
        """
        findings: list[Finding] = []
        unsettled = False
        now = self._signatures()
        for file, signature in now.items():
            if self._seen.get(file) == signature:
                continue
            if 0 <= wall_s - signature[1] / 1e9 < SETTLE_S:
                unsettled = True
                continue
            finding = self._read(file)
            if self._signature(file) != signature:
                unsettled = True  # it changed under our eyes
                continue
            self._seen[file] = signature
            findings.append(finding)
        for file in [f for f in self._seen if f not in now]:
            del self._seen[file]
            findings.append(Gone(file.removesuffix(SUFFIX)))
        return findings, unsettled

    def _signatures(self) -> dict[str, Signature]:
        try:
            names = sorted(os.listdir(self.path))
        except OSError as e:
            mend = f"cannot be read ({e.strerror}); name a folder with <gateway id>.yaml files"
            raise ConfigError([Problem("desired", self.path, mend)]) from e
        files = (n for n in names if n.endswith(SUFFIX) and not n.startswith("."))
        return {n: s for n in files if (s := self._signature(n))}

    def _signature(self, file: str) -> Signature | None:
        try:
            st = os.stat(self.path / file)
        except OSError:
            return None
        return st.st_ino, st.st_mtime_ns, st.st_size

    def _read(self, file: str) -> Finding:
        gateway, path = file.removesuffix(SUFFIX), self.path / file
        try:
            desired = load_desired(path, gateway)
            return Loaded(gateway, desired, Snapshot.of(desired))
        except PcgError as e:
            return Bad(gateway, e)
