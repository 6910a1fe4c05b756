"""What one datapath process must have for itself, claimed before anything is opened.

Two paths on one interface would each send every packet; two on one arena would break it. Each
claim ends with the process, however it ends, so nothing stale is left to clean up:

    arena      a lock on the file itself
    socket     a lock on FILE.lock beside it, since ZeroMQ replaces the socket's own file
    interface  an abstract Unix socket named by its index; such names belong to the network
               namespace, as interfaces do
"""

import contextlib
import fcntl
import os
import socket
from typing import IO

from pcg.model.errors import BackendError


def _owner(fd: int) -> str:
    """Who holds the lock on an open file, as the kernel lists it."""
    file = os.fstat(fd)
    place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    with open("/proc/locks") as locks:
        held = [line.split() for line in locks]
    return next((words[4] for words in held if place in words and words[1] == "FLOCK"), "unknown")


def claim_file(path: str, thing: str) -> IO[bytes]:
    """Lock a file, made when it is not there, for as long as what is returned is open.

    Raises BackendError that names the process which holds it, or why it cannot be had.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        mend = "run the datapath as root, or name another path in its settings"
        raise BackendError(thing, error.strerror, mend) from None
    file = os.fdopen(fd, "r+b", buffering=0)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with file:
            why = f"another datapath (process {_owner(fd)}) uses it"
        raise BackendError(thing, why, "stop that one first") from None
    return file


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
        stack.enter_context(claim_file(f"{control}.lock", f"control socket {control}"))
    if arena:
        stack.enter_context(claim_file(arena, f"arena {arena}"))
