"""The gateway process: sockets, signals and the poller around the control loop."""

import fcntl
import logging
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import zmq
from msgspec import structs

from pcg.datapath.client import Client
from pcg.drivers.datapath import Datapath
from pcg.drivers.neighbours import Neighbours
from pcg.drivers.netlink import Netlink
from pcg.drivers.nft import Nft
from pcg.gateway.control import ControlServer
from pcg.gateway.dhcp import Dhcp
from pcg.gateway.facts import facts_of
from pcg.gateway.judge import Judge
from pcg.gateway.link import TICK_S, ControllerClient
from pcg.gateway.loop import BACKENDS, Gateway
from pcg.gateway.observer import Observer
from pcg.gateway.state import Store
from pcg.model.errors import BackendError
from pcg.model.settings import GatewaySettings
from pcg.model.validate import validate
from pcg.proto.link_table import Changed, Event, Refused, State, Synced
from pcg.wire import messages as m

log = logging.getLogger(__name__)

CONNECT_S = 0.05  # the loop has other work than to wait for a datapath that is away


def run(settings: GatewaySettings) -> None:
    """Until SIGTERM or SIGINT, which leave all that forwards as it is.

    Raises  ConfigError    a key that is missing
            BackendError   another gateway runs here, or a socket of ours cannot be had
    """
    logging.getLogger("pyroute2").setLevel(logging.WARNING)  # it prints every message it reads
    with single(Path(settings.state)):
        process = Process(settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, process.stop)
        try:
            process.serve()
        finally:
            process.close()


@contextmanager
def single(folder: Path) -> Iterator[None]:
    """Only one gateway per state folder: two would undo each other's work."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as e:
        mend = "correct `state` in the gateway's settings, or its rights"
        raise BackendError(f"state folder {folder}", e.strerror or str(e), mend) from None
    try:
        _take(lock, folder)
        yield
    finally:
        os.close(lock)


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        why, mend = "another gateway holds it", "stop that one, or set another `state`"
        raise BackendError(f"state folder {folder}", why, mend) from None


class Process:
    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self._stopping = False
        self._reported: Any = None
        self._refused: tuple[m.ObjectError, ...] = ()  # since the last state that was accepted
        store = Store(settings.state, settings.id)
        judge = Judge(validate)
        held = store.load(judge)
        self.link = ControllerClient(settings, judge, held=held)
        self.client = Client(settings.datapath, connect_s=CONNECT_S)
        self.netlink, self.neighbours = Netlink(), Neighbours()
        datapath = Datapath(self.client)
        self.dhcp = Dhcp(settings, datapath)
        self.gateway = Gateway(
            settings.resync_s,
            datapath=datapath,
            nft=Nft(),
            netlink=self.netlink,
            neighbours=self.neighbours,
            store=store,
            dhcp=self.dhcp.fleet,
            grants=self.dhcp.grants,
            wall=time.time,
            metrics=settings.metrics,
        )
        self.gateway.compiler.numbers, self.gateway.compiler.gone = store.numbered
        self.observer = Observer(settings, self.dhcp)
        answers = {
            "realised": self.view_realised,
            "desired": lambda: self.gateway.desired,
            "drops": self.observer.watcher.view,
            "leases": self.dhcp.grants.view,
            "shortages": lambda: [structs.asdict(one) for one in self.observer.shortages()],
            "gone": lambda: self.gateway.compiler.gone,
        }
        actions = {"dhcp_release": self.dhcp.release}
        self.control = ControlServer(settings.control, answers, actions)
        if held:
            log.info("forwarding by the saved desired state until the controller is heard")
            self.gateway.adopt(held, 0, 0, time.monotonic(), source="disk")

    def stop(self, number: int, _frame: FrameType | None) -> None:
        log.info("%s: stopping; what forwards goes on", signal.Signals(number).name)
        self._stopping = True

    def close(self) -> None:
        self.gateway.save_now()
        ours = (self.control, self.link, self.observer, self.client)
        for part in (*ours, self.neighbours, self.netlink, self.dhcp):
            part.close()

    def serve(self) -> None:
        log.info("gateway %s, process %d", self.settings.id, os.getpid())
        poller = zmq.Poller()
        self.link.register(poller)
        poller.register(self.control.socket, zmq.POLLIN)
        poller.register(self.neighbours.fileno(), zmq.POLLIN)
        while not self._stopping:
            wait = min(TICK_S, self.gateway.next_turn() - time.monotonic())
            poller.poll(max(0, wait * 1000))
            self.step(time.monotonic())

    def step(self, now: float) -> None:
        """Take in what happened, then do what is due."""
        self.take(self.link.step(now), now)
        self.gateway.seen(self.neighbours.read(), now)
        self.gateway.round(now)
        self.report()
        if (changes := self.dhcp.step()) is not None:
            self.link.leases(changes)
        self.link.shortages(self.observer.shortages())
        connected = self.link.link.state is State.LIVE
        self.observer.tell(facts_of(self.gateway, connected, now), now)
        self.control.serve()

    def take(self, events: Iterable[Event], now: float) -> None:
        for event in events:
            if isinstance(event, Synced | Changed):
                self._refused = ()
                self.gateway.adopt(event.desired, event.epoch, event.revision, now)
            elif isinstance(event, Refused):
                self._refused = event.errors

    def report(self) -> None:
        """Tell the controller what became of its state, whenever that changes."""
        gateway = self.gateway
        if gateway.source != "controller" or not gateway.settled():
            return
        errors = tuple(
            m.ObjectError(e.thing, f"{e.why}; {e.mend}" if e.mend else e.why, backend)
            for backend, e in gateway.errors()
        )
        made = (gateway.epoch, gateway.revision, errors)
        if made != self._reported:
            self._reported = made
            self.link.report(m.Realised(epoch=made[0], revision=made[1], errors=errors))
            failing = {name for name, _ in gateway.errors()}
            self.link.status({name: name not in failing for name in BACKENDS})

    def view_realised(self) -> dict[str, Any]:
        """What pcgctl shows."""
        gateway, now = self.gateway, time.monotonic()
        return {
            "gateway": self.settings.id,
            "revision": gateway.revision,
            "epoch": gateway.epoch,
            "source": gateway.source,
            "controller": {
                "endpoint": self.settings.controller.sync,
                "link": self.link.link.state.value,
            },
            "backends": {name: health.view(now) for name, health in gateway.health.items()},
            "refused": [{"path": e.path, "text": e.text} for e in self._refused],
            "errors": [
                {"backend": backend, "thing": e.thing, "why": e.why, "mend": e.mend}
                for backend, e in gateway.errors()
            ],
        }
