"""Controller link, the controller's end of it: one Offer and one Peer for each gateway. No I/O.

The Offer is what we want of a gateway: its newest desired state, the revision, and the snapshot
that is made once for each. The Peer is the conversation with whoever holds the gateway's key.
The owner feeds receive() and tick() and sends what collects in `outbox` to where the gateway
spoke from last; what publish() and heartbeat() return goes out on the gateway's topic.
"""

import enum
from dataclasses import dataclass

from pcg.model.desired import Desired
from pcg.model.errors import ProtocolError
from pcg.wire import limits
from pcg.wire import messages as m
from pcg.wire.changes import diff
from pcg.wire.snapshot import Snapshot


class State(enum.Enum):
    STRANGER = "stranger"  # has not said Hello to this controller
    GREETED = "greeted"
    SENDING = "sending"  # a snapshot, as far as there is credit


X, G, S = State.STRANGER, State.GREETED, State.SENDING

# The whole conversation: what may arrive in a state, and where it may lead. A pair that is not
# in this table is a ProtocolError. A STRANGER who goes on as before spoke to our predecessor.
MOVES = {
    (X, m.Hello): {G, X},
    (X, m.Resync): {X},
    (X, m.Credit): {X},
    (X, m.Realised): {X},
    (X, m.Status): {X},
    (X, m.Leases): {X},
    (G, m.Hello): {G},
    (G, m.Resync): {S, G},
    (G, m.Realised): {G},
    (G, m.Status): {G},
    (G, m.Leases): {G},
    (S, m.Hello): {G},
    (S, m.Resync): {S, G},
    (S, m.Credit): {S, G},
    (S, m.Realised): {S},
    (S, m.Status): {S},
    (S, m.Leases): {S},
}


@dataclass(frozen=True, slots=True)
class Joined:
    program: str


@dataclass(frozen=True, slots=True)
class Reported:
    realised: m.Realised


@dataclass(frozen=True, slots=True)
class Left:
    silent_s: float


@dataclass(frozen=True, slots=True)
class Leased:
    """`Peer.leases` may have changed."""


@dataclass(frozen=True, slots=True)
class Short:
    """Workloads that want more than they get, as a Status told."""

    began: tuple[m.Shortage, ...]  # no Status had them before
    missed: int  # that began before them and stood in none that arrived


Event = Joined | Reported | Left | Leased | Short


class Offer:
    """What one gateway shall be, in one epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.revision = epoch, 0  # 0: nothing to offer yet
        self.desired: Desired | None = None
        self.snapshot: Snapshot | None = None

    def publish(self, desired: Desired, snapshot: Snapshot) -> m.Delta | m.Heartbeat | None:
        """A new desired state and its snapshot: what tells the gateway; None when nothing is new.

        The first state, and a change too large for one message, go out as a heartbeat: its
        revision makes the gateway ask for the whole, which comes under credit.
        """
        if self.snapshot and snapshot.digest == self.snapshot.digest:
            return None
        changes = diff(self.desired, desired) if self.desired else None
        self.desired, self.snapshot, self.revision = desired, snapshot, self.revision + 1
        if changes is None or _weight(changes) > limits.MAX_DELTA_BYTES:
            return m.Heartbeat(self.epoch, self.revision)
        return m.Delta(self.epoch, self.revision, changes)


@dataclass(slots=True)
class _Sending:
    request: int
    snapshot: Snapshot
    upto: int  # credit: chunks below may be sent
    next: int = 0


class Peer:
    def __init__(
        self, gateway: str, offer: Offer, heartbeat_s: float, hold_s: float, now: float
    ) -> None:
        self.gateway, self.offer = gateway, offer
        self.state = State.STRANGER
        self.outbox: list[m.ToGateway] = []
        self.status: m.Status | None = None  # the newest
        self.leases: dict[tuple[str, str], m.Lease] = {}  # by VRF and address
        self._leases_number = 0  # of the newest batch since Hello
        self.heard = 0  # number of the newest report
        self._heartbeat_s, self._hold_s, self._heard_at = heartbeat_s, hold_s, now
        self._sending: _Sending | None = None

    def heartbeat(self) -> m.Heartbeat:
        return m.Heartbeat(self.offer.epoch, self.offer.revision, self.heard)

    def tick(self, now: float) -> list[Event]:
        if self.state is State.STRANGER or now < self._heard_at + self._hold_s:
            return []
        self.state, self._sending = State.STRANGER, None
        return [Left(now - self._heard_at)]

    def receive(self, msg: m.ToController, now: float) -> list[Event]:
        """Raises ProtocolError when the state does not allow `msg`; then nothing has changed."""
        if (self.state, type(msg)) not in MOVES:
            raise ProtocolError(f"{type(msg).__name__} while {self.state.value}")
        self._heard_at = now
        match msg:
            case m.Hello():
                return self._hello(msg)
            case _ if self.state is State.STRANGER:
                self.outbox.append(m.Again())
            case m.Resync():
                self._resync(msg)
            case m.Credit() if msg.request == self._sending.request:
                self._sending.upto = max(self._sending.upto, msg.upto)
                self._send()
            case m.Realised() if msg.number > self.heard:
                self.heard = msg.number
                return [Reported(msg)]
            case m.Status():
                before, self.status = self.status, msg
                return _short(before.shortages if before else (), msg.shortages)
            case m.Leases():
                return self._leases(msg)
        return []

    def _hello(self, msg: m.Hello) -> list[Event]:
        if msg.gateway != self.gateway:
            raise ProtocolError(
                f"gateway {msg.gateway} came with the key of {self.gateway}; "
                "give each gateway a key of its own, allowed under its own name"
            )
        self.state, self._sending, self.heard = State.GREETED, None, 0
        self._leases_number = 0
        self.outbox.append(m.Welcome(self.offer.epoch, self._heartbeat_s))
        return [Joined(msg.program)]

    def _leases(self, msg: m.Leases) -> list[Event]:
        self.outbox.append(m.LeasesHeard(msg.number))
        if msg.number <= self._leases_number:
            return []  # an older one, or again
        self._leases_number = msg.number
        if msg.first:
            self.leases.clear()
        for key in msg.gone:
            self.leases.pop(key, None)
        self.leases.update({(lease.vrf, lease.address): lease for lease in msg.held})
        return [Leased()]

    def _resync(self, msg: m.Resync) -> None:
        offer = self.offer
        self.state, self._sending = State.GREETED, None
        if not offer.snapshot:
            self.outbox.append(m.Nothing(msg.request, offer.epoch))
        elif msg.digest == offer.snapshot.digest:
            self.outbox.append(m.Current(msg.request, offer.epoch, offer.revision))
        else:
            size, digest = len(offer.snapshot.blob), offer.snapshot.digest
            self.outbox.append(m.Begin(msg.request, offer.epoch, offer.revision, size, digest))
            self.state = State.SENDING
            self._sending = _Sending(msg.request, offer.snapshot, msg.credit)
            self._send()

    def _send(self) -> None:
        """Chunks up to the credit, never more than a window ahead of what was asked for."""
        s = self._sending
        end = min(s.upto, s.next + limits.WINDOW_CHUNKS, s.snapshot.n_chunks)
        self.outbox += [s.snapshot.chunk(s.request, i) for i in range(s.next, end)]
        s.next = max(s.next, end)
        if s.next == s.snapshot.n_chunks:
            self.state, self._sending = State.GREETED, None


def _short(before: tuple[m.Shortage, ...], now: tuple[m.Shortage, ...]) -> list[Event]:
    began = tuple(one for one in now if one not in before)
    if not began:
        return []
    # a gateway that was started anew counts from 1 again
    last = max((one.number for one in before if one.number < began[0].number), default=0)
    return [Short(began, began[0].number - last - 1)]


def _weight(changes: tuple[m.Change, ...]) -> int:
    """Bytes of a delta with these changes, near enough for a limit."""
    return sum(64 + (len(bytes(c.object)) if isinstance(c, m.Put) else len(c.key)) for c in changes)
