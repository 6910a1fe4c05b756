"""What one datapath process must have for itself, claimed before anything is opened.

Two paths on one interface would each send every packet; two on one arena would break it. Each
claim ends with the process, however it ends, so nothing stale is left to clean up:

    file       a lock on FILE.lock (the file itself may be replaced or mapped by others)
    interface  an abstract Unix socket named by its index; such names belong to the network
               namespace, as interfaces do
"""

import contextlib
import fcntl
import os
import socket
from typing import IO

from pcg.model.errors import BackendError


def _owner(lock: IO[str]) -> str:
    lock.seek(0)
    return lock.read(16).strip() or "unknown"


def claim_file(path: str, what: str) -> IO[str]:
    """Lock PATH.lock for as long as the returned file is open.

    Raises BackendError that names the process which holds it, or why it cannot be had.
    """
    try:
        fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        mend = "run the datapath as root, or name another path in its settings"
        raise BackendError(f"{what} {path}", error.strerror, mend) from None
    lock = os.fdopen(fd, "r+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with lock:
            why = f"another datapath (process {_owner(lock)}) uses it"
        raise BackendError(f"{what} {path}", why, "stop that one first") from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def claim_interface(name: str) -> socket.socket:
    """Hold the interface of this network namespace for as long as the returned socket is open."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        mend = "create it, or name another one in the datapath's settings"
        raise BackendError(f"interface {name}", "does not exist", mend) from None
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        claim.bind(f"\0pcg-datapath-{index}")
    except OSError:
        claim.close()
        why = "another datapath in this network namespace uses it"
        raise BackendError(f"interface {name}", why, "stop that one first") from None
    return claim


def claim_all(stack: contextlib.ExitStack, control: str, arena: str, interfaces: list[str]) -> None:
    """Every claim, in an order that tells the operator the plainest reason first."""
    for name in interfaces:
        stack.enter_context(claim_interface(name))
    if control:
        stack.enter_context(claim_file(control, "control socket"))
    if arena:
        stack.enter_context(claim_file(arena, "arena"))
