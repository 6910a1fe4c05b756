"""A controller and a gateway back to back over a network that loses, repeats and reorders.

Pure machines and a clock that the test turns: nothing here sleeps or opens a socket. Two channels
as in life, of answers and of what is published; nothing orders one against the other.
"""

import random
from dataclasses import dataclass

from pcg.model.desired import Desired
from pcg.model.errors import ProtocolError
from pcg.proto import link_table
from pcg.proto.link import Link
from pcg.proto.serve import MOVES as PEER_MOVES
from pcg.proto.serve import Offer, Peer
from pcg.wire import codec
from pcg.wire import messages as m
from pcg.wire.snapshot import Snapshot

BEAT_S, HOLD_S = 1.0, 5.0


@dataclass
class Flaws:
    """Probabilities for each message."""

    lost: float = 0.0
    twice: float = 0.0
    late: float = 0.0  # overtaken by up to five others


class Channel:
    def __init__(self, rng: random.Random, flaws: Flaws) -> None:
        self.rng, self.flaws, self.frames = rng, flaws, []

    def send(self, msg) -> None:
        if self.rng.random() < self.flaws.lost:
            return
        times = 1 + (self.rng.random() < self.flaws.twice)
        for _ in range(times):
            late = self.rng.random() < self.flaws.late
            at = len(self.frames) - (self.rng.randrange(6) if late else 0)
            self.frames.insert(max(at, 0), codec.encode(msg))


class World:
    def __init__(self, seed: int, flaws: Flaws, judge=lambda desired: []) -> None:
        self.rng, self.now, self.epoch = random.Random(seed), 0.0, 0
        self.up, self.down, self.published = (Channel(self.rng, flaws) for _ in range(3))
        self.flaws = flaws
        self.link = Link("gw-a", HOLD_S, self.now, judge=judge)
        self.asked: list[Desired] = []  # every state that any controller ever asked for
        self.events, self.reports, self.refused = [], [], []
        self.start_controller()
        self.link.connected(self.now)

    def start_controller(self) -> None:
        """A new life, which knows nothing of the last one."""
        self.epoch += 1
        self.offer = Offer(self.epoch)
        self.peer = Peer("gw-a", self.offer, BEAT_S, HOLD_S, self.now)

    def ask_for(self, desired: Desired) -> None:
        self.asked.append(desired)
        msg = self.offer.publish(desired, Snapshot.of(desired))
        if msg:
            self.published.send(msg)

    def step(self) -> None:
        """Somebody does something: chosen at random."""
        busy = [c for c in (self.up, self.down, self.published) if c.frames]
        if not busy or self.rng.random() < 0.05:
            self.pass_time(self.rng.choice([0.1, 0.5, 1.0]))
        elif (channel := self.rng.choice(busy)) is self.up:
            self._to_peer(codec.decode_up(channel.frames.pop(0)))
        else:
            self._to_link(codec.decode_down(channel.frames.pop(0)))
        self._carry()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.published.send(self.peer.heartbeat())
        self.peer.tick(self.now)
        for event in self.link.tick(self.now):
            self._event(event)
        self._carry()

    def settle(self) -> None:
        """The network is well again: run until the gateway has had time to mend everything."""
        self.flaws.lost = self.flaws.twice = self.flaws.late = 0.0
        for _ in range(40):
            self.pass_time(0.5)
            while self.up.frames or self.down.frames or self.published.frames:
                self.step_quietly()

    def step_quietly(self) -> None:
        for channel in (self.up, self.down, self.published):
            frames, channel.frames = channel.frames, []
            for frame in frames:
                if channel is self.up:
                    self._to_peer(codec.decode_up(frame))
                else:
                    self._to_link(codec.decode_down(frame))
        self._carry()

    # What is not in the table is refused and the machine as it was; a move that is in the table
    # leads where the table says.

    def _to_peer(self, msg) -> None:
        before = self.peer.state
        try:
            self.reports += self.peer.receive(msg, self.now)
        except ProtocolError as e:
            assert self.peer.state is before
            self.refused.append(e)
            self.down.send(m.Refused(str(e)))
            return
        assert self.peer.state in PEER_MOVES[before, type(msg)]

    def _to_link(self, msg) -> None:
        before, held = self.link.state, self.link.held
        try:
            events = self.link.receive(msg, self.now)
        except ProtocolError as e:
            assert (self.link.state, self.link.held) == (before, held)
            self.refused.append(e)
            return
        assert self.link.state in link_table.MOVES[before, type(msg)], (before, msg)
        for event in events:
            self._event(event)

    def _event(self, event) -> None:
        self.events.append(event)
        if isinstance(event, link_table.Reconnect):
            self.link.connected(self.now)

    def _carry(self) -> None:
        for machine, channel in ((self.link, self.up), (self.peer, self.down)):
            for msg in machine.outbox:
                channel.send(msg)
            machine.outbox.clear()
