"""The datapath process: claims, opens, drops its privileges, starts the workers, answers clients.

It holds no policy of its own and knows no controller: the gateway's control loop may die and come
back, packets go on. SIGTERM and SIGINT end it, and so does an interface that was replaced by
another of its name; sessions stay in the arena for the next one.
"""

import contextlib
import ctypes
import logging
import os
import pwd
import resource
import signal
import socket
import stat
import time

import zmq

from pcg.datapath import pages
from pcg.datapath.claims import claim_all
from pcg.datapath.lib import Datapath
from pcg.datapath.punting import Punter
from pcg.datapath.punts import endpoint_of
from pcg.datapath.server import Server
from pcg.datapath.watch import Watch
from pcg.model.errors import BackendError
from pcg.model.settings import DatapathSettings

log = logging.getLogger("pcg.datapath")

PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h
SOCKET_MODE = 0o660
WATCH_S = 0.5  # how often interfaces are looked at
REPLACED = 3  # exit code: an interface was replaced, start me again


def socket_path(endpoint: str) -> str:
    """The file of an ipc endpoint; BackendError for any other: no remote may program packets."""
    if not endpoint.startswith("ipc:///"):
        mend = "use ipc:///PATH in the datapath's settings"
        raise BackendError(f"control socket {endpoint}", "is no Unix socket", mend)
    return endpoint.removeprefix("ipc://")


def prepare_folder(path: str) -> None:
    """Make the socket's folder and refuse to replace what is no socket: ZeroMQ would unlink it."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    except OSError as error:
        mend = "run the datapath as root, or name another path in its settings"
        raise BackendError(f"control socket {path}", error.strerror, mend) from None
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path, follow_symlinks=False).st_mode):
            mend = "move it away, or name another path in the datapath's settings"
            raise BackendError(f"control socket {path}", "something else is there", mend)


def drop_privileges(user: str) -> None:
    """Become `user` for good: sockets and arena are open, nothing later needs a capability.

    Sending, receiving and reading counters of an open packet socket ask for none, nor does filling
    the maps of a loaded XDP program or taking it off. "" and a process that is not root stay what
    they are.
    """
    if not user or os.geteuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        mend = "create it, or name another one in the datapath's settings"
        raise BackendError(f"user {user}", "does not exist", mend) from None
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def allow_locked_memory() -> None:
    """Rings count as locked memory; only root may raise its own limit."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)


def open_path(settings: DatapathSettings) -> Datapath:
    """The arena and every port, or BackendError with nothing left open."""
    dp = Datapath(
        sessions=settings.sessions,
        workload_addresses=settings.workload_addresses,
        workers=settings.workers,
        arena=settings.arena,
    )
    try:
        for port in settings.ports:
            dp.nic_add(port.interface, port.role, port.driver)
    except BackendError:
        dp.close()
        raise
    return dp


def stop_signals() -> socket.socket:
    """A socket that gets a byte when the process is asked to end."""
    ours, kernels = socket.socketpair()
    kernels.setblocking(False)
    signal.set_wakeup_fd(kernels.detach(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return ours


def serve(server: Server, stop: socket.socket, watch: Watch) -> str:
    """Answer until `stop` has something to read ("") or an interface was replaced (its name)."""
    poller = zmq.Poller()
    poller.register(server.socket, zmq.POLLIN)
    poller.register(stop, zmq.POLLIN)
    look_at = time.monotonic()
    while True:
        ready = dict(poller.poll(max(0.0, look_at - time.monotonic()) * 1000))
        if stop.fileno() in ready:
            return ""
        if server.socket in ready:
            server.answer_one()
        if time.monotonic() >= look_at:
            look_at = time.monotonic() + WATCH_S
            server.tick()
            if name := watch.replaced():
                return name


def run(settings: DatapathSettings) -> int:
    """The whole life of the process; its exit code. Raises BackendError when it cannot begin."""
    path = socket_path(settings.control)
    prepare_folder(path)
    prepare_folder(socket_path(endpoint_of(settings.control)))
    kernel_ports = [p.interface for p in settings.ports if p.driver != "mem"]
    with contextlib.ExitStack() as stack:
        claim_all(stack, path, settings.arena, kernel_ports)
        allow_locked_memory()
        dp = stack.enter_context(open_path(settings))
        stop = stack.enter_context(stop_signals())
        # Handlers first: a SIGTERM from here on is an orderly end. The context stops before the
        # path closes, the claims go last.
        context = stack.enter_context(zmq.Context())
        server = stack.enter_context(contextlib.closing(Server(dp, context, settings.control)))
        punts = endpoint_of(settings.control)
        punter = stack.enter_context(contextlib.closing(Punter(dp, context, punts)))
        for socket_file in (path, socket_path(punts)):
            os.chmod(socket_file, SOCKET_MODE)
        drop_privileges(settings.user)
        dp.start()
        punter.start()
        nics = dp.nics()
        for nic in nics:
            log.info("%s: %s", nic["name"], nic["note"] or nic["driver"])
        names = ", ".join(f"{nic['name']} ({nic['role']}, {nic['driver']})" for nic in nics)
        log.info("%s", pages.said(dp.arena_pages()))
        log.info("ready: %s; %d sessions held", names, dp.totals()["sessions"])
        replaced = serve(server, stop, _watch(dp))
        if replaced:
            text = "interface %s: another one of its name has come; ending, to be started again"
            log.error(text, replaced)
        log.info("stopping: %d sessions stay in %s", dp.totals()["sessions"], settings.arena)
    return REPLACED if replaced else 0


def _watch(dp: Datapath) -> Watch:
    return Watch({nic["name"]: nic["ifindex"] for nic in dp.nics() if nic["driver"] != "mem"})
