"""Network namespaces: run a command in one, open a socket in one, set its sysctls.

Nothing here touches the namespace the caller started in: every function takes the one it means,
by name, and comes back.
"""

import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

NETNS = Path("/run/netns")  # where `ip netns` keeps them
CLONE_NEWNET = 0x40000000
PIDFD_GETFD = 438  # system call, the same number on every architecture
TIMEOUT_S = 30
OFFLOADS_OFF = ("tx", "off", "tso", "off", "gso", "off", "gro", "off")

_libc = ctypes.CDLL(None, use_errno=True)


class CommandError(Exception):
    """A command of the lab ended with an error; the text says which, and what it printed."""


def run(
    *argv: str,
    ns: str = "",
    stdin: str = "",
    env: dict[str, str] | None = None,
    check: bool = True,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Run to its end; what it printed. In the namespace `ns` when one is given."""
    prefix = ("ip", "netns", "exec", ns) if ns else ()
    try:
        done = subprocess.run(
            prefix + argv,
            input=stdin,
            env=env and os.environ | env,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError:
        raise CommandError(
            f"{argv[0]} is not there; `make setup` installs what is missing"
        ) from None
    except subprocess.TimeoutExpired:
        raise CommandError(f"{' '.join(argv)}: not done within {timeout_s:.0f} s") from None
    if check and done.returncode:
        what = " ".join(prefix + argv)
        raise CommandError(f"{what}: exit {done.returncode}\n{done.stdout}{done.stderr}".strip())
    return done.stdout


def ip(lines: str, ns: str = "") -> None:
    """Many `ip` commands in one process, one a line, in order; the first failure ends it."""
    argv = ("ip", "-n", ns, "-batch", "-") if ns else ("ip", "-batch", "-")
    run(*argv, stdin="\n".join(line.strip() for line in lines.strip().splitlines()) + "\n")


@contextlib.contextmanager
def inside(ns: str) -> Iterator[None]:
    """The calling thread, and what it starts, live in `ns` meanwhile. Sockets opened here stay."""
    with open("/proc/thread-self/ns/net") as home, open(NETNS / ns) as there:
        _setns(there.fileno())
        try:
            yield
        finally:
            _setns(home.fileno())


def _setns(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


@contextlib.contextmanager
def borrowed(pid: int, fd: int) -> Iterator[socket.socket]:
    """A socket of another process, to set what its program has no setting for."""
    process = os.pidfd_open(pid)
    try:
        ours = _libc.syscall(PIDFD_GETFD, process, fd, 0)
    finally:
        os.close(process)
    if ours < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"descriptor {fd} of process {pid}: {os.strerror(code)}")
    with socket.socket(fileno=ours) as found:
        yield found


def make(ns: str, forward: bool = False) -> None:
    """A namespace with lo up and without IPv6, so that nothing speaks unless it was asked to."""
    run("ip", "netns", "add", ns)
    with inside(ns):
        for scope in ("all", "default"):
            sysctl(f"net/ipv6/conf/{scope}/disable_ipv6", 1)
            sysctl(f"net/ipv4/conf/{scope}/rp_filter", 0)
        sysctl("net/ipv4/ip_forward", int(forward))
        sysctl("net/ipv4/ping_group_range", "0 2147483647")
    ip("link set lo up", ns)


def sysctl(name: str, value: int | str) -> None:
    """Of the namespace the thread is in; only ever called inside one of the lab's."""
    path = Path("/proc/sys") / name
    if path.exists():  # a kernel without IPv6 has none of its settings
        path.write_text(str(value))


def plug(ns: str, bridge: str, device: str, mac: str) -> None:
    """A bridge port to the one MAC behind it: a VPC knows where everybody is and never floods."""
    ip(f"link set {device} master {bridge} up", ns)
    run("bridge", "-n", ns, "link", "set", "dev", device, "learning", "off", "flood", "off")
    run("bridge", "-n", ns, "fdb", "replace", mac, "dev", device, "master", "static")


def no_offloads(ns: str, *devices: str) -> None:
    """AF_PACKET carries no checksum state: unfinished checksums and giant frames must not exist."""
    for device in devices:
        run("ethtool", "-K", device, *OFFLOADS_OFF, ns=ns, check=False)


def listed(prefix: str) -> list[str]:
    """The namespaces whose names start so."""
    return sorted(p.name for p in NETNS.glob(f"{prefix}*")) if NETNS.is_dir() else []


def pids(ns: str) -> list[int]:
    """The processes that live in it."""
    return [int(line) for line in run("ip", "netns", "pids", ns, check=False).split()]
