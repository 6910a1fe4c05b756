"""The controller: desired-state files in, deltas and snapshots out, reports back. The sockets.

    folder --Watcher--> findings --> Offer.publish --> XPUB  (one topic per gateway: its key)
                                        |
                                      Peer   <------> ROUTER (by the key that ZAP authenticated)

Who a message is from is what its connection's key says, never what the message says; the topic
of a gateway is that key, so that one whose key was withdrawn hears nothing more either.
"""

import logging
import os
import queue
import time
from collections.abc import Iterable
from dataclasses import dataclass

import zmq

from pcg.controller.folder import Bad, Finding, Folder, Gone, Loaded
from pcg.controller.pairs import with_leases
from pcg.controller.realised import RealisedFolder
from pcg.controller.watcher import Watcher
from pcg.model.desired import Desired
from pcg.model.errors import ProtocolError
from pcg.model.settings import ControllerSettings
from pcg.proto.serve import Event, Joined, Leased, Left, Offer, Peer, Reported, Short
from pcg.wire import codec, curve, limits, sockets
from pcg.wire import messages as m
from pcg.wire.snapshot import Snapshot

log = logging.getLogger(__name__)

SILENT_BEATS = 5  # a gateway that lets so many heartbeats pass is gone
PAIR_S = 5.0  # leases of one gateway reach its peer that often: each time it is configured anew
BURST = 200  # messages of one socket in one round


@dataclass(slots=True)
class Seat:
    """One gateway at our table."""

    offer: Offer
    peer: Peer
    route: bytes = b""  # of the ROUTER, where it spoke from last
    complaint: str = ""  # logged last
    leased: bool = False  # its leases are not as written last
    desired: Desired | None = None  # as its file says
    remembered: tuple[m.Lease, ...] = ()  # of before this controller began
    heard: bool = False  # its leases, in this life
    unfit: str = ""  # logged last: leases of its peer that it cannot bind
    pair_at: float | None = None  # when its leases are to reach its peer; None: they have

    def leases(self) -> Iterable[m.Lease]:
        return self.peer.leases.values() if self.heard else self.remembered


class Controller:
    def __init__(self, settings: ControllerSettings) -> None:
        """Read keys and folder, bind. Raises ConfigError, BackendError."""
        self.settings = settings
        self.epoch = time.time_ns()
        self.realised = RealisedFolder(settings.realised)
        public, secret = curve.key_pair(settings.keys.secret)
        self.allow = curve.AllowFolder(settings.allow)
        self._seats: dict[str, Seat] = {}
        self._beat_at = time.monotonic()
        self._folder = Folder(settings.desired)
        self._take(self._folder.first_look())
        self._ctx = zmq.Context()
        try:
            self._open(public, secret)
        except BaseException:
            self._ctx.destroy(linger=0)
            raise
        self._findings: queue.SimpleQueue[list[Finding]] = queue.SimpleQueue()
        self._woken, self._wake = os.pipe()
        self._poller.register(self._woken, zmq.POLLIN)
        self._stopping = False
        self._watcher = Watcher(self._folder, self._found)

    def _open(self, public: bytes, secret: bytes) -> None:
        self._zap = curve.Zap(self._ctx, self.allow)
        self._router = sockets.link_socket(self._ctx, zmq.ROUTER)
        self._router.router_mandatory = True  # a route that is gone is an error, not a silence
        self._xpub = sockets.link_socket(self._ctx, zmq.XPUB)
        self._xpub.xpub_manual = True  # we subscribe peers, not they themselves
        self._xpub.xpub_verbose = True
        sockets.serve(self._router, self.settings.sync, public, secret)
        sockets.serve(self._xpub, self.settings.publish, public, secret)
        self._poller = zmq.Poller()
        for socket in (self._zap.socket, self._router, self._xpub):
            self._poller.register(socket, zmq.POLLIN)

    @property
    def endpoints(self) -> tuple[str, str]:
        """(sync, publish) as bound, wildcards filled in."""
        return self._router.last_endpoint.decode(), self._xpub.last_endpoint.decode()

    # -- the loop ------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until stop()."""
        self._watcher.start()
        log.info("controller serves %s and %s", *self.endpoints)
        try:
            while not self._stopping:
                self._round()
        finally:
            self._watcher.stop()
            self._ctx.destroy(linger=0)
            os.close(self._woken)
            os.close(self._wake)

    def stop(self) -> None:
        """From any thread or signal handler."""
        self._stopping = True
        os.write(self._wake, b".")

    def _found(self, findings: list[Finding]) -> None:
        self._findings.put(findings)
        os.write(self._wake, b".")

    def _round(self) -> None:
        wait_s = max(0.0, self._beat_at - time.monotonic())
        ready = dict(self._poller.poll(wait_s * 1000))
        if self._zap.socket in ready:
            self._zap.answer()
        if self._xpub in ready:
            self._each(self._xpub, self._subscription)
        if self._router in ready:
            self._each(self._router, self._message)
        if self._woken in ready:
            os.read(self._woken, 4096)
            while not self._findings.empty():
                self._take(self._findings.get())
        if time.monotonic() >= self._beat_at:
            self._beat()

    @staticmethod
    def _each(socket: zmq.Socket, handle) -> None:
        for _ in range(BURST):
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            handle(frames)

    # -- files ---------------------------------------------------------------------------------

    def _take(self, findings: list[Finding]) -> None:
        for finding in findings:
            match finding:
                case Loaded():
                    self._publish(finding)
                case Bad():
                    log.error("gateway %s keeps what it has: %s", finding.gateway, finding.error)
                case Gone():
                    log.warning("file of gateway %s is gone; it keeps what it has", finding.gateway)

    def _publish(self, new: Loaded) -> None:
        seat = self._seat(new.gateway)
        seat.desired = new.desired
        state = self._paired(seat)
        snapshot = new.snapshot if state is new.desired else Snapshot.of(state)
        if not self._offer(new.gateway, state, snapshot):
            log.info("gateway %s: its file is right and asks for nothing new", new.gateway)

    def _offer(self, gateway: str, state: Desired, snapshot: Snapshot) -> bool:
        offer = self._seat(gateway).offer
        msg = offer.publish(state, snapshot)
        if msg:
            log.info("gateway %s: revision %d", gateway, offer.revision)
            self._send_topic(gateway, msg)
        return bool(msg)

    # -- pairs ---------------------------------------------------------------------------------

    def _paired(self, seat: Seat) -> Desired:
        """What its file says, and what its peer leased."""
        desired = seat.desired
        if desired.ha is None or not desired.dhcp:
            return desired
        peer = self._seat(desired.ha.peer)
        state, unfit = with_leases(desired, peer.leases(), seat.leases())
        gateway = desired.gateway.id
        said = f"{len(unfit)} leases of {desired.ha.peer} fit not here: {unfit[0]}" if unfit else ""
        if said and said != seat.unfit:
            log.warning("gateway %s: %s", gateway, said)
        seat.unfit = said
        return state

    def _pair_up(self, now: float) -> None:
        """Tell those whose peers' leases changed a while ago."""
        due = {g for g, s in self._seats.items() if s.pair_at is not None and now >= s.pair_at}
        for gateway in due:
            self._seats[gateway].pair_at = None
        for gateway, seat in list(self._seats.items()):
            ha = seat.desired.ha if seat.desired else None
            if ha is not None and ha.peer in due:
                state = self._paired(seat)
                self._offer(gateway, state, Snapshot.of(state))

    def _seat(self, gateway: str) -> Seat:
        if gateway not in self._seats:
            beat_s = self.settings.heartbeat_s
            offer = Offer(self.epoch)
            peer = Peer(gateway, offer, beat_s, SILENT_BEATS * beat_s, time.monotonic())
            remembered = self.realised.read_leases(gateway)
            self._seats[gateway] = Seat(offer, peer, remembered=remembered)
        return self._seats[gateway]

    # -- what is published ---------------------------------------------------------------------

    def _subscription(self, frames: list[zmq.Frame]) -> None:
        """Somebody wants a topic: granted when it is that peer's own, which is its key."""
        what = frames[0].bytes
        if what[:1] != b"\1":
            return  # the end of one, which may come without its peer
        who = frames[0].get("User-Id").encode()
        gateway = self.allow.name(who)
        if gateway is None or what[1:] != who:
            log.warning("gateway %s: refused a topic that is not its own", gateway or who.decode())
            return
        self._xpub.setsockopt(zmq.SUBSCRIBE, who)
        self._send_topic(gateway, self._seat(gateway).peer.heartbeat())

    def _send_topic(self, gateway: str, msg: m.Delta | m.Heartbeat) -> None:
        topic = self.allow.key(gateway)
        if topic and hasattr(self, "_xpub"):
            self._xpub.send_multipart([topic, codec.encode(msg)], zmq.NOBLOCK)

    def _beat(self) -> None:
        now = time.monotonic()
        self._beat_at = now + self.settings.heartbeat_s
        if self.allow.refresh():
            log.info("allow folder %s has changed", self.allow.path)
        for gateway, seat in self._seats.items():
            self._log(gateway, seat.peer.tick(now))
            if seat.leased:
                seat.leased = False
                self.realised.write_leases(gateway, seat.peer.leases.values())
            self._send_topic(gateway, seat.peer.heartbeat())
        self._pair_up(now)

    # -- the conversation ----------------------------------------------------------------------

    def _message(self, frames: list[zmq.Frame]) -> None:
        route, payload = frames[0].bytes, frames[-1]
        gateway = self.allow.name(payload.get("User-Id").encode())
        if gateway is None:
            self._send(route, m.Refused("your key is no longer allowed here; ask the operator"))
            return
        seat = self._seat(gateway)
        seat.route = route
        try:
            events = seat.peer.receive(codec.decode_up(payload.bytes), time.monotonic())
        except ProtocolError as e:
            if str(e) != seat.complaint:
                log.warning("gateway %s: %s", gateway, e)
            seat.complaint = str(e)
            self._send(route, m.Refused(str(e)[: limits.MAX_TEXT]))
            return
        self._log(gateway, events)
        outbox, seat.peer.outbox = seat.peer.outbox, []
        for msg in outbox:
            self._send(route, msg)

    def _send(self, route: bytes, msg: m.ToGateway) -> None:
        try:
            self._router.send_multipart([route, codec.encode(msg)], zmq.NOBLOCK)
        except zmq.ZMQError as e:
            # Gone, or not reading: the gateway asks again for what it misses.
            log.debug("not sent: %s", e)

    def _log(self, gateway: str, events: list[Event]) -> None:
        for event in events:
            match event:
                case Joined():
                    log.info("gateway %s joined", gateway)
                case Left():
                    log.warning("gateway %s: silent for %.1f s", gateway, event.silent_s)
                case Leased():
                    seat = self._seats[gateway]
                    seat.leased = seat.heard = True
                    if seat.pair_at is None:
                        seat.pair_at = time.monotonic() + PAIR_S
                case Reported():
                    self.realised.reported(gateway, event.realised)
                case Short():
                    latest = self._seats[gateway].peer.status.shortages
                    self.realised.short(gateway, latest, event)
