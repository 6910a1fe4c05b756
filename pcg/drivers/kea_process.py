"""One Kea as a process: started unprivileged, found again after we were restarted, ended.

It is no child that dies with us: a gateway that ends leaves it as it is, and the next one takes it
over. Which process it is says the kernel, by who listens on the control socket.
"""

import contextlib
import ctypes
import os
import pwd
import select
import shutil
import signal
import socket
from pathlib import Path
from typing import NamedTuple

from pcg.drivers.kea_config import Place
from pcg.drivers.kea_control import Control
from pcg.model.errors import BackendError

LOOPBACK = "127.0.0.1"
END_S = 5.0  # for a SIGTERM to be followed
BUFFER = 8 << 20  # bytes of its socket's receive buffer; the kernel's default holds 250 requests
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
PIDFD_GETFD = 438  # asm-generic/unistd.h, the same on every architecture
LIBC = ctypes.CDLL(None, use_errno=True)
SAID_MAX = 64 * 1024  # bytes of its output that are looked through for why it ended


class Ports(NamedTuple):
    server: int  # UDP, Kea listens
    relay: int  # UDP, Kea answers there


class Running:
    """A Kea that runs, or did a moment ago."""

    def __init__(self, pid: int, ports: Ports) -> None:
        """Raises ProcessLookupError."""
        self.pid, self.ports = pid, ports
        self._fd = os.pidfd_open(pid)
        self._how, self._widened = "ended", ""

    def ended(self, wait_s: float = 0.0) -> bool:
        if self._fd < 0:
            return True
        if not select.select([self._fd], [], [], wait_s)[0]:
            return False
        with contextlib.suppress(ChildProcessError):  # it is one only when we started it
            _, status = os.waitpid(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            by_signal = f"was ended by signal {-code}"
            self._how = by_signal if code < 0 else f"ended with code {code}"
        self.close()
        return True

    def how(self) -> str:
        """How it ended, as far as we can know."""
        return self._how

    def end(self) -> None:
        """Now, and for sure: also one that is stopped or hangs."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.ended():
                return
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, number)
            self.ended(END_S)

    def kill(self) -> None:
        if not self.ended():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)
            self.ended(END_S)

    def serves(self) -> bool:
        """Whether it holds its UDP port. Its own word on that is not to be had: after it refused a
        configuration it says that its sockets are ready, and has closed them."""
        place = f"{int.from_bytes(socket.inet_aton(LOOPBACK), 'little'):08X}"
        wanted = f"{place}:{self.ports.server:04X}"
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.pid}/net/udp").read_text().splitlines()[1:]:
                words = line.split()
                if words[1] == wanted:
                    self._widen(words[9])
                    return True
        return False

    def _widen(self, inode: str) -> None:
        """Room for everybody who boots at once; Kea has no setting for it, and opens its sockets
        anew with each configuration. Where we may not, it stays as it is."""
        if inode == self._widened or self._fd < 0:
            return
        self._widened = inode
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(entry) == f"socket:[{inode}]":
                    ours = LIBC.syscall(PIDFD_GETFD, self._fd, int(entry.name), 0)
                    if ours >= 0:
                        with socket.socket(fileno=ours) as kea:
                            kea.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)

    def close(self) -> None:
        """Let go of it; it goes on."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def find(place: Place, control: Control) -> Running | None:
    """The Kea of that place that runs already."""
    pid = control.listener()
    if not pid:
        return None
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        given = dict(zip(words[1::2], words[2::2], strict=False))
        if given.get("-c") != str(place.config):
            return None
        return Running(pid, Ports(int(given["-p"]), int(given["-P"])))
    except (OSError, KeyError, ValueError):
        return None


def start(place: Place, kea: str, user: str, relay_port: int) -> Running:
    """That it serves is not known yet. Raises BackendError: there is no such program or user."""
    thing = f"DHCP server of VRF {place.vrf}"
    if not shutil.which(kea):
        mend = "install the Debian package kea-dhcp4-server, or correct `dhcp.kea` in the settings"
        raise BackendError(thing, f"there is no program {kea}", mend)
    ports = Ports(free_port(), relay_port)
    words = [*becoming(user, thing), kea, "-c", str(place.config)]
    words += ["-p", str(ports.server), "-P", str(ports.relay)]
    folder = str(place.own)
    env = {"PATH": os.environ.get("PATH", ""), "KEA_PIDFILE_DIR": folder}
    env["KEA_LOCKFILE_DIR"] = folder
    quiet = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(place.output), quiet, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        pid = os.posix_spawnp(
            words[0], words, env, file_actions=actions, setsid=True, setsigdef=[signal.SIGPIPE]
        )
        return Running(pid, ports)
    except OSError as e:
        raise BackendError(thing, f"cannot be started ({e.strerror or e})") from None


def becoming(user: str, thing: str) -> list[str]:
    """What runs a program as that user without any right of ours; "" stays what we are."""
    if not user or os.geteuid():
        return []
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        mend = "correct `dhcp.user` in the settings; Debian's package makes _kea"
        raise BackendError(thing, f"there is no user {user}", mend) from None
    ids = [f"--reuid={found.pw_uid}", f"--regid={found.pw_gid}", "--clear-groups"]
    return ["setpriv", *ids, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]


def last_words(place: Place) -> str:
    """Why it says that it ended: the last error in its output."""
    try:
        text = place.output.read_bytes()[-SAID_MAX:].decode(errors="replace")
    except OSError:
        return ""
    lines = [line for line in text.splitlines() if " FATAL " in line or " ERROR " in line]
    if lines:
        return lines[-1].partition("] ")[2].partition(" ")[2]
    # What ended before it was Kea says it in words of its own.
    return "" if " INFO " in text else text.strip().rpartition("\n")[2]


def free_port() -> int:
    """One that nobody has this moment. Whoever is faster makes Kea end, and be started anew."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, 0))
        return sock.getsockname()[1]
