"""The files of one VRF's Kea: what we write for it to begin with, and the leases that it writes.

The folder of its own belongs to Kea's user. We only open what is there, and follow no link.
"""

import json
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pcg.drivers.kea_config import Place, digest
from pcg.model.errors import BackendError

# Bytes left on the disk; with less Kea must not run. It refuses a client whose lease it cannot
# write (DHCPNAK), so a full disk would take their addresses from those that have one.
ROOM_LEAST = 4 << 20
BLOCK = 4096
MEND = "correct `dhcp.folder` in the settings, or its rights"


@contextmanager
def telling(thing: str, mend: str = "") -> Iterator[None]:
    """What the system refuses in it is a BackendError; that nothing is there may be none."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as e:
        raise BackendError(thing, e.strerror or str(e), mend) from None


def prepare(place: Place, user: str) -> None:
    """The folders: ours, which Kea reads, and Kea's own, which nobody else does; for a start."""
    try:
        place.config.parent.mkdir(parents=True, exist_ok=True)
        place.own.mkdir(exist_ok=True, mode=0o700)
        if user and not os.geteuid():
            found = pwd.getpwnam(user)
            os.chown(place.own, found.pw_uid, found.pw_gid, follow_symlinks=False)
        # Kea does not begin when the number in there is a process's: after a boot, anybody's.
        (place.own / f"{place.vrf}.kea-dhcp4.pid").unlink(missing_ok=True)
    except KeyError:
        pass  # becoming() tells
    except OSError as e:
        raise BackendError(f"folder {place.own}", e.strerror or str(e), MEND) from None


def write(path: Path, document: dict[str, Any]) -> None:
    """Whole or not at all, also over a power cut."""
    beside = path.with_suffix(".new")
    try:
        with open(beside, "w", encoding="utf-8") as f:
            json.dump(document, f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(beside, path)
    except OSError as e:
        mend = "make room, or correct `dhcp.folder` in the settings"
        raise BackendError(f"file {path}", e.strerror or str(e), mend) from None


def accepted(place: Place) -> str:
    """Digest of the configuration that the next start begins with; "": there is none."""
    try:
        return digest(json.loads(place.config.read_bytes()))
    except (OSError, ValueError):
        return ""


def forget(place: Place) -> None:
    """The next start begins with nothing."""
    with suppress(FileNotFoundError), telling(f"file {place.config}", MEND):
        place.config.unlink()


def has_room(place: Place) -> bool:
    with suppress(FileNotFoundError), telling(f"folder {place.own}", MEND):
        room = os.statvfs(place.own)
        return room.f_bavail * room.f_frsize >= ROOM_LEAST
    return True


def mend(place: Place) -> None:
    """Take away the end of a lease file that a power cut or a full disk left without its line
    break: Kea would write its next lease on the same line, and understand neither later."""
    with suppress(FileNotFoundError), telling(f"lease file {place.leases}", MEND):
        fd = _open(place.leases, os.O_RDWR)
        try:
            end = whole = os.fstat(fd).st_size
            while whole:
                first = max(0, whole - BLOCK)
                at = os.pread(fd, whole - first, first).rfind(b"\n")
                if at >= 0:
                    whole = first + at + 1
                    break
                whole = first
            if whole < end:
                os.ftruncate(fd, whole)
        finally:
            os.close(fd)


def commit(place: Place) -> None:
    """Make sure that every lease Kea has answered for so far is on the disk.

    Kea writes a lease to its file before it answers, and leaves it to the kernel when that goes to
    the disk. Called once for the answers of a burst, this is what makes them true after a power
    cut (RFC 2131 section 4.3.1) at a price that does not grow with their number. The file before
    the last clean-up counts too: Kea may have changed files a moment ago.

    Raises  BackendError   also when there is no lease file: Kea writes to one that is gone
    """
    if lost(place):
        raise BackendError(f"lease file {place.leases}", "is gone", "see who removes it")
    for path in (place.leases, place.leases.with_name(f"{place.leases.name}.1")):
        with suppress(FileNotFoundError), telling(f"lease file {path}", MEND):
            fd = _open(path, os.O_RDONLY)
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)


def lost(place: Place) -> bool:
    """Whether a Kea that runs has no lease file, as for a moment while it cleans up."""
    return not place.leases.is_symlink() and not place.leases.exists()


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
