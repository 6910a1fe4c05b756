"""Network namespaces without a name: they are gone with the process that holds them, crash or not.

peer                         gw
u1 10.0.1.1 ---------------- up0
d1 10.0.2.1 ---------------- down0
m1 10.0.0.1 ---------------- mgmt0
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
OWN = "/proc/thread-self/ns/net"


def _call(function, *args) -> None:
    if function(*args):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Space:
    """One namespace. `with space.inside():` runs the calling thread in it."""

    def __init__(self) -> None:
        home = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call(LIBC.unshare, CLONE_NEWNET)
            self.fd = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _call(LIBC.setns, home, CLONE_NEWNET)
            os.close(home)
        self.run("ip link set lo up")

    def close(self) -> None:
        os.close(self.fd)

    @contextmanager
    def inside(self) -> Iterator[None]:
        home = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call(LIBC.setns, self.fd, CLONE_NEWNET)
            yield
        finally:
            _call(LIBC.setns, home, CLONE_NEWNET)
            os.close(home)

    def run(self, command: str, check: bool = True) -> str:
        """Standard output of a shell command."""
        with self.inside():
            done = subprocess.run(command, shell=True, capture_output=True, text=True)
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def works(self, command: str) -> bool:
        with self.inside():
            return subprocess.run(command, shell=True, capture_output=True).returncode == 0


class Named(Space):
    """One that is there already, by its name."""

    def __init__(self, name: str) -> None:
        self.fd = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)


class Wires:
    """The two namespaces of the drawing, with bare interfaces on the gateway's side."""

    PAIRS = (("up0", "u1", 1), ("down0", "d1", 2), ("mgmt0", "m1", 0))

    def __init__(self) -> None:
        self.gw, self.peer = Space(), Space()
        for ours, theirs, net in self.PAIRS:
            # "ip link" takes the other namespace as a path of its own process.
            path = f"/proc/{os.getpid()}/fd/{self.peer.fd}"
            self.gw.run(f"ip link add {ours} type veth peer name {theirs} netns {path}")
            self.peer.run(f"ip link set {theirs} mtu 9001 up")
            self.peer.run(f"ip addr add 10.0.{net}.1/24 dev {theirs}")

    def close(self) -> None:
        self.gw.close()
        self.peer.close()
