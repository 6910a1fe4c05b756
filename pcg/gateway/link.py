"""Controller link, the gateway's sockets: what `pcg.proto.link` decides, sent and received.

The control loop registers sockets() with its poller once, calls step() when one of them is
readable and at least every TICK_S, and acts on the events. The sockets stay the same for life,
whatever happens to the controller.
"""

import contextlib
import logging
import time
from collections.abc import Mapping

import zmq
from zmq.utils.monitor import recv_monitor_message

from pcg.model.desired import Desired
from pcg.model.errors import ProtocolError
from pcg.model.settings import GatewaySettings
from pcg.proto.link import Judge, Link
from pcg.proto.link_table import Changed, Event, Lost, Reconnect, Refused, Synced, Waiting
from pcg.wire import codec, curve, sockets
from pcg.wire import messages as m

log = logging.getLogger(__name__)

TICK_S = 0.25  # step() is called at least that often
BURST = 200  # messages of one socket in one step, so that the loop's other work gets its turn

FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
WATCHED = FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED


class ControllerClient:
    """Events of step(): Synced, Changed (desired, epoch, revision), Waiting, Refused, Lost."""

    def __init__(
        self,
        settings: GatewaySettings,
        judge: Judge,
        *,
        held: Desired | None = None,
        now: float | None = None,
    ) -> None:
        """Connects; needs no controller to be there.

        judge    what is wrong with a desired state, as `validate.problems`
        held     the last good desired state, from disk: when the controller wants the same, it
                 is not sent again and Synced brings this very object (if in canonical order)
        now      monotonic seconds
        Raises   ConfigError    a key file that is missing or is no key
        """
        self.settings = settings.controller
        public, secret = curve.key_pair(settings.keys.secret)
        server = curve.public_key(self.settings.public_key)
        self._public = public
        now = time.monotonic() if now is None else now
        self.link = Link(settings.id, self.settings.hold_s, now, judge=judge, held=held)
        self._ctx = zmq.Context()
        self._dealer = sockets.link_socket(self._ctx, zmq.DEALER)
        self._sub = sockets.link_socket(self._ctx, zmq.SUB)
        for socket in (self._dealer, self._sub):
            sockets.secure_client(socket, public, secret, server)
        self._sub.subscribe(public)  # our topic; the controller grants no other
        self._monitor = self._dealer.get_monitor_socket(WATCHED)
        self._said: set[str] = set()  # complaints since all was well, none said twice
        self._connect()

    def sockets(self) -> list[zmq.Socket]:
        """To poll for POLLIN."""
        return [self._monitor, self._dealer, self._sub]

    def register(self, poller: zmq.Poller) -> None:
        for socket in self.sockets():
            poller.register(socket, zmq.POLLIN)

    def step(self, now: float) -> list[Event]:
        """Take in what has arrived, send what is due. Never blocks, never raises.

        What the peer does wrong comes out as Refused, and is logged once.
        """
        events = self._watch(now)
        for socket in (self._dealer, self._sub):
            events += self._drain(socket, now)
        events += self.link.tick(now)
        if any(isinstance(e, Reconnect) for e in events):
            self._reconnect()
        self._flush()
        events = [e for e in events if not isinstance(e, Reconnect)]
        return [e for e in events if self._log(e)]

    def report(self, realised: m.Realised) -> None:
        """What became of a revision: `epoch` and `revision` as the event had them, and errors."""
        self.link.report(realised)
        self._flush()

    def leases(self, changes: Mapping[tuple[str, str], m.Lease | None]) -> None:
        """Leases by VRF and address as they are now; None: ended."""
        self.link.leases.tell(changes)
        self.link.report_leases()
        self._flush()

    def status(self, facts: dict[str, m.Fact]) -> None:
        """What the controller is told with every heartbeat from now on: few, small, by name."""
        self.link.facts = facts

    def shortages(self, latest: tuple[m.Shortage, ...]) -> None:
        """Likewise; at most limits.MAX_SHORTAGES."""
        self.link.shortages = latest

    def close(self) -> None:
        self._dealer.disable_monitor()
        self._ctx.destroy(linger=0)

    # -- in ------------------------------------------------------------------------------------

    def _watch(self, now: float) -> list[Event]:
        events: list[Event] = []
        while self._monitor.poll(0):
            seen = recv_monitor_message(self._monitor)
            if seen["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.link.connected(now)
                continue
            self.link.disconnected()
            if seen["event"] & FAILED:
                text = self._handshake_text(seen["event"])
                events.append(Refused((m.ObjectError("controller", text),)))
        return events

    def _handshake_text(self, event: int) -> str:
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return (
                f"controller {self.settings.sync} refused our key {self._public.decode()}; "
                "copy our public .key file into its allow folder, named as this gateway's id"
            )
        return (
            f"no secure connection with controller {self.settings.sync}; "
            f"see that {self.settings.public_key} is its public key and that it is a controller"
        )

    def _drain(self, socket: zmq.Socket, now: float) -> list[Event]:
        events: list[Event] = []
        for _ in range(BURST):
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                events += self.link.receive(codec.decode_down(frames[-1]), now)
            except ProtocolError as e:
                text = f"from {self.settings.sync}: {e}"
                events.append(Refused((m.ObjectError("controller", text),)))
        return events

    # -- out -----------------------------------------------------------------------------------

    def _flush(self) -> None:
        outbox, self.link.outbox = self.link.outbox, []
        for msg in outbox:
            try:
                self._dealer.send(codec.encode(msg), zmq.NOBLOCK)
            except zmq.Again:
                return  # nobody there; the link repeats what still matters

    def _connect(self) -> None:
        self._dealer.connect(self.settings.sync)
        self._sub.connect(self.settings.publish)

    def _reconnect(self) -> None:
        """After a refused handshake libzmq does not come back by itself."""
        with contextlib.suppress(zmq.ZMQError):  # it has given up that connection already
            self._dealer.disconnect(self.settings.sync)
        with contextlib.suppress(zmq.ZMQError):
            self._sub.disconnect(self.settings.publish)
        self._connect()

    def _log(self, event: Event) -> bool:
        """Say it once; False when it was said before and is no news."""
        match event:
            case Synced() | Changed():
                self._said.clear()
                log.info("desired state: revision %d", event.revision)
                return True
            case Refused():
                text = "; ".join(f"{e.path}: {e.text}" for e in event.errors)
            case Waiting():
                text = "the controller has no desired state for us; what we have stays"
            case Lost():
                text = f"controller {self.settings.sync} silent; what we have stays, trying on"
        news = text not in self._said
        if news:
            log.warning("%s", text)
            self._said.add(text)
        return news
