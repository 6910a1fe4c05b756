"""Controller link, the gateway's end: the rules of the conversation, without socket or clock.

The owner feeds receive(), tick(), connected() and disconnected(), acts on the events they return,
and sends what collects in `outbox`. `now` is monotonic seconds, always the caller's.

Two channels lead here, one with answers (Welcome, snapshots), one with what is published (Delta,
Heartbeat), and nothing orders one against the other. So revisions decide, not arrival: a delta
applies on top of its predecessor only, those that overtake a snapshot wait for it, and whatever
does not fit is mended by asking for the whole. Until the whole is there, checked and valid, what
we hold stays as it is.
"""

from collections.abc import Callable, Iterable

from pcg.model.desired import Desired
from pcg.model.errors import Problem, ProtocolError
from pcg.proto.lease_report import LeaseReports
from pcg.proto.link_table import (
    MOVES,
    Changed,
    Event,
    Lost,
    Reconnect,
    Refused,
    State,
    Synced,
    Waiting,
)
from pcg.proto.reports import Reports
from pcg.wire import limits
from pcg.wire import messages as m
from pcg.wire.changes import apply, ordered
from pcg.wire.snapshot import Assembly, Snapshot, open_blob

FIRST_WAIT_S = 0.5  # before a question is repeated; doubles up to hold_s
EARLY_DELTAS = 128  # kept while a snapshot is on its way; more are dropped and found missing
CREDIT_STEP = limits.WINDOW_CHUNKS // 4  # chunks; smaller grants would only make traffic

Judge = Callable[[Desired], Iterable[Problem]]  # what is wrong with it; empty: valid


class Link:
    def __init__(
        self, gateway: str, hold_s: float, now: float, *, judge: Judge, held: Desired | None = None
    ) -> None:
        """`held`: the last good state from disk, so that an equal one is not sent again."""
        self.gateway, self.judge = gateway, judge
        self.held = ordered(held) if held else None
        self.state = State.GREETING
        self.outbox: list[m.ToController] = []
        self.reports, self.leases = Reports(), LeaseReports()
        self.facts: dict[str, m.Fact] = {}  # of the next Status
        self.shortages: tuple[m.Shortage, ...] = ()  # likewise
        self.epoch, self.revision = 0, 0  # of `held`, once the controller has spoken
        self._skip = 0  # BEHIND: the revision that is not asked for again
        self._connected, self._lost = False, False
        self._hold_s, self._heard_at = hold_s, now
        self._wait_s, self._ask_at = FIRST_WAIT_S, now + FIRST_WAIT_S
        self._request, self._granted = 0, 0  # of the newest Resync; chunks it may bring
        self._assembly: Assembly | None = None
        self._early: dict[int, m.Delta] = {}

    # -- what the owner tells us ---------------------------------------------------------------

    def connected(self, now: float) -> None:
        """There is a new connection, maybe to another controller: whoever it is must know us."""
        self._connected = True
        self._greet(now)

    def disconnected(self) -> None:
        self._connected = False

    def report(self, realised: m.Realised) -> None:
        """What became of a revision: sent now, and until a heartbeat shows that it arrived."""
        self.reports.realised(realised)
        self._report()

    def tick(self, now: float) -> list[Event]:
        if not self._lost and now >= self._heard_at + self._hold_s:
            self._leave(now)
            self._lost, self._connected = True, False
            return [Lost(now - self._heard_at), Reconnect()]
        if now < self._ask_at or self.state in (State.LIVE, State.BEHIND):
            return []
        self._back_off(now)
        if self.state is State.SYNCING:
            self._ask()
        elif self._connected:
            self.outbox.append(m.Hello(self.gateway))
        else:
            return [Reconnect()]
        return []

    def receive(self, msg: m.ToGateway, now: float) -> list[Event]:
        """Raises ProtocolError when the state does not allow `msg`; then nothing has changed."""
        if (self.state, type(msg)) not in MOVES:
            raise ProtocolError(f"{type(msg).__name__} while {self.state.value}")
        self._heard_at = now
        match msg:
            case m.Welcome():
                return self._welcome(msg, now)
            case m.Refused():
                return self._refused(msg, now)
            case _ if self.state is State.GREETING:
                return []  # an answer to what we asked before
            case m.Again():
                self._greet(now)
                return []
            case m.LeasesHeard():
                self.leases.heard(msg.number)
                self.report_leases()
                return []
            case m.Delta() | m.Heartbeat():
                return self._published(msg, now)
            case _:
                return self._answered(msg, now)

    # -- finding each other --------------------------------------------------------------------

    def _leave(self, now: float) -> None:
        self.state, self._assembly = State.GREETING, None
        self._early.clear()
        self._ask_at = now + self._wait_s

    def _greet(self, now: float) -> None:
        self._leave(now)
        self.outbox.append(m.Hello(self.gateway))

    def _back_off(self, now: float) -> None:
        self._wait_s = min(2 * self._wait_s, self._hold_s)
        self._ask_at = now + self._wait_s

    def _welcome(self, msg: m.Welcome, now: float) -> list[Event]:
        if self.state is not State.GREETING and msg.epoch == self.epoch:
            return []  # of an Hello that we had to repeat
        self._lost, self.epoch = False, msg.epoch
        self._hold_s = max(self._hold_s, 3 * msg.heartbeat_s)
        self._resync(now)
        self._report()
        self.leases.restart()
        self.report_leases()
        return []

    def _refused(self, msg: m.Refused, now: float) -> list[Event]:
        self._leave(now)
        self._back_off(now)
        return [Refused((m.ObjectError("controller", msg.text),))]

    # -- the whole -----------------------------------------------------------------------------

    def _resync(self, now: float) -> list[Event]:
        self._leave(now)
        self.state = State.SYNCING
        self._ask()
        return []

    def _ask(self) -> None:
        self._request += 1
        self._assembly, self._granted = None, limits.WINDOW_CHUNKS
        digest = Snapshot.of(self.held).digest if self.held else b""
        self.outbox.append(m.Resync(self._request, digest, self._granted))

    def _answered(self, msg: m.ToGateway, now: float) -> list[Event]:
        if msg.request != self._request:
            return []  # to a question that we have asked again since
        if not isinstance(msg, m.Chunk) and msg.epoch != self.epoch:
            self._greet(now)
            return []
        match msg:
            case m.Begin() if not self._assembly:
                self._assembly = Assembly(msg)
                self._ask_at = now + self._hold_s
            case m.Chunk() if self._assembly:
                self._assembly.add(msg)
                self._ask_at = now + self._hold_s
                return self._open(now) if self._assembly.complete else self._grant()
            case m.Current() if self.held:
                return self._adopt(self.held, msg.revision)
            case m.Nothing():
                self.state, self._skip, self._wait_s = State.BEHIND, 0, FIRST_WAIT_S
                return [Waiting()]
        return []

    def _grant(self) -> list[Event]:
        """More credit, in steps; none that is not needed: the controller may have sent the last."""
        upto = min(len(self._assembly.chunks) + limits.WINDOW_CHUNKS, self._assembly.n_chunks)
        step = min(CREDIT_STEP, self._assembly.n_chunks - self._granted)
        if step > 0 and upto >= self._granted + step:
            self._granted = upto
            self.outbox.append(m.Credit(self._request, upto))
        return []

    def _open(self, now: float) -> list[Event]:
        whole, self._assembly = self._assembly, None
        try:
            blob = whole.blob()
        except ProtocolError as e:
            self._back_off(now)  # then it is asked for again
            return [Refused((m.ObjectError("snapshot", str(e)),))]
        try:
            desired = open_blob(blob)
        except ProtocolError as e:
            return self._refuse(whole.begin.revision, [m.ObjectError("snapshot", str(e))])
        return self._adopt(desired, whole.begin.revision)

    def _adopt(self, desired: Desired, revision: int) -> list[Event]:
        """The whole is here: go on with the deltas that overtook it, then hold it if valid."""
        early, self._early = self._early, {}
        try:
            while revision + 1 in early:
                revision += 1
                desired = apply(desired, early[revision].changes)
        except ProtocolError as e:
            return self._refuse(revision, [m.ObjectError("delta", str(e))])
        return self._hold(desired, revision, Synced)

    # -- what is published ---------------------------------------------------------------------

    def _published(self, msg: m.Delta | m.Heartbeat, now: float) -> list[Event]:
        if msg.epoch != self.epoch:
            self._greet(now)  # the controller started again: its revisions are not ours
            return []
        if isinstance(msg, m.Heartbeat):
            self._alive(msg)
        if self.state is State.SYNCING:
            if isinstance(msg, m.Delta) and len(self._early) < EARLY_DELTAS:
                self._early[msg.revision] = msg
            return []
        have = self._skip if self.state is State.BEHIND else self.revision
        if msg.revision <= have:
            return []
        if self.state is State.LIVE and isinstance(msg, m.Delta) and msg.revision == have + 1:
            return self._delta(msg)
        # We missed one, or cannot build on what we hold. To apply this one would program a
        # state that nobody ever asked for, so ask for the whole.
        return self._resync(now)

    def _delta(self, msg: m.Delta) -> list[Event]:
        try:
            desired = apply(self.held, msg.changes)
        except ProtocolError as e:
            return self._refuse(msg.revision, [m.ObjectError("delta", str(e))])
        return self._hold(desired, msg.revision, Changed)

    # -- to hold it, or not --------------------------------------------------------------------

    def _hold(
        self, desired: Desired, revision: int, event: type[Synced] | type[Changed]
    ) -> list[Event]:
        errors = [] if desired is self.held else self._errors(desired)
        if errors:
            return self._refuse(revision, errors)
        if desired != self.held:
            self.held = desired
        self.state, self.revision, self._wait_s = State.LIVE, revision, FIRST_WAIT_S
        if self.reports.accepted():
            self._report()
        return [event(self.held, self.epoch, revision)]

    def _errors(self, desired: Desired) -> list[m.ObjectError]:
        if desired.gateway.id != self.gateway:
            why = f"{desired.gateway.id} is another gateway, this one is {self.gateway}"
            return [m.ObjectError("gateway.id", why)]
        return [m.ObjectError(p.path, str(p)) for p in self.judge(desired)]

    def _refuse(self, revision: int, errors: list[m.ObjectError]) -> list[Event]:
        """Keep what we hold, say so upwards, and do not ask for this revision again."""
        self.state, self._skip, self._wait_s = State.BEHIND, revision, FIRST_WAIT_S
        self.reports.refused(revision, errors)
        self._report()
        return [Refused(tuple(errors))]

    # -- what we report ------------------------------------------------------------------------

    def _alive(self, beat: m.Heartbeat) -> None:
        self.outbox.append(m.Status(self.epoch, self.revision, self.facts, self.shortages))
        if self.reports.unheard(beat.heard):
            self._report()
        self._send_leases(self.leases.again())

    def _report(self) -> None:
        if self.reports.number and self.state is not State.GREETING:
            self.outbox.append(self.reports.newest())

    def report_leases(self) -> None:
        """What is new in `leases`: a batch, when none is on its way."""
        if self.state is not State.GREETING:
            self._send_leases(self.leases.next())

    def _send_leases(self, batch: m.Leases | None) -> None:
        if batch:
            self.outbox.append(batch)
