"""The last good desired state on disk, so that a gateway forwards without its controller.

Written beside, synced and renamed: a power cut leaves the old or the new one, never half of one.
A file that cannot be used is said once and left alone; the controller will bring the next.

Beside it stand the numbers that its names have. Sessions outlive the datapath, and what a datapath
has counted and noted outlives the gateway: to whoever of them begins anew they must mean the same.
"""

import dataclasses
import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from pcg.model.desired import Desired
from pcg.model.errors import BackendError, Problem
from pcg.reconcile.numbers import RANGES, Numbers

log = logging.getLogger(__name__)

FORMAT = 1
NAME = "desired.msgpack"


class Numbered(NamedTuple):
    """The compiler's: of what is desired, and of rules that are no more."""

    numbers: Numbers = Numbers()
    gone: Numbers = Numbers()


class Saved(msgspec.Struct, frozen=True):
    format: int
    desired: msgspec.Raw
    digest: bytes  # SHA-256 of `desired`
    revision: int = 0  # for people: a revision counts within the life of one controller
    epoch: int = 0
    numbers: dict[str, dict[str, int]] = {}  # by kind and name
    gone: dict[str, dict[str, int]] = {}
    numbered: bytes = b""  # SHA-256 of both


def _digest(*numbers: dict[str, dict[str, int]]) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(numbers)).digest()


class Store:
    def __init__(self, folder: str, gateway: str) -> None:
        self.path = Path(folder) / NAME
        self.gateway = gateway
        self.numbered = Numbered()  # as load() found it

    def save(self, desired: Desired, epoch: int, revision: int, numbered: Numbered) -> None:
        """Raises BackendError; what was there before is then still there."""
        raw = msgspec.msgpack.encode(desired)
        digest = hashlib.sha256(raw).digest()
        both = [dataclasses.asdict(numbers) for numbers in numbered]
        saved = Saved(FORMAT, msgspec.Raw(raw), digest, revision, epoch, *both, _digest(*both))
        data = msgspec.msgpack.encode(saved)
        beside = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(beside, "wb", opener=_private) as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            os.replace(beside, self.path)
            _sync_folder(self.path.parent)
        except OSError as e:
            mend = "make room, or correct `state` in the gateway's settings"
            raise BackendError(f"state file {self.path}", e.strerror or str(e), mend) from None

    def load(self, judge: Callable[[Desired], Iterable[Problem]]) -> Desired | None:
        """The saved state; None, and a word in the log, when there is none that can be used."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            log.info("no saved desired state; waiting for the controller")
            return None
        except OSError as e:
            return self._useless(e.strerror or str(e))
        try:
            desired, numbered = self._decode(data)
        except (msgspec.MsgspecError, ValueError) as e:
            return self._useless(f"is damaged: {e}")
        if desired.gateway.id != self.gateway:
            return self._useless(f"is of gateway {desired.gateway.id}, not {self.gateway}")
        problems = list(judge(desired))
        if problems:
            more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
            return self._useless(f"is not valid: {problems[0]}{more}")
        self.numbered = numbered
        return desired

    def _decode(self, data: bytes) -> tuple[Desired, Numbered]:
        saved = msgspec.msgpack.decode(data, type=Saved)
        if saved.format != FORMAT:
            raise ValueError(f"format {saved.format}, this program reads {FORMAT}")
        if hashlib.sha256(saved.desired).digest() != saved.digest:
            raise ValueError("its digest does not match")
        kinds = saved.numbers, saved.gone
        if any(kinds) and _digest(*kinds) != saved.numbered:
            raise ValueError("the digest of its numbers does not match")
        numbered = (Numbers(**{k: v for k, v in kind.items() if k in RANGES}) for kind in kinds)
        return msgspec.msgpack.decode(saved.desired, type=Desired), Numbered(*numbered)

    def _useless(self, why: str) -> None:
        log.warning("state file %s %s; ignored, waiting for the controller", self.path, why)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
