"""The packets of one burst, in the order in which the path asks about them: the slow twin of the
loops in worker.c, lookup.c and first.c.

A stage has done with all of them before the next begins. What may open a session is decided first,
for all, by what was there before the burst; then the sessions are made, one after the other; then
everybody else looks for one, also for one that a packet behind it has opened. What the path makes
itself leaves behind them. What is turned round inside comes last, as a burst of its own.
"""

from collections import Counter
from collections.abc import Callable, Iterable

from tests.oracle.dhcp import PuntedError
from tests.oracle.entrance import Arrived, DroppedError, HeldError
from tests.oracle.ipv4 import ACK, ECHO, FIN, ICMP, RST, SYN, TCP, Ip
from tests.oracle.table import Way

BURST = 32  # frames that go through the stages together

Step = Callable[[], None]


def opens(ip: Ip) -> bool:
    """Only a SYN, a ping, or what has no such notion."""
    if ip.proto == TCP:
        return ip.payload[13] & (SYN | ACK | RST | FIN) == SYN
    return ip.proto != ICMP or ip.payload[0] == ECHO


class Bursts:
    """Of the twin: it has `table`, expire(), arrive(), decide_first(), install(), look_up(),
    rewrite() and leave()."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []
        self.rewrites: list[tuple[int, Step]] = []  # with the place in the burst
        self.leaves: list[tuple[int, Step]] = []
        self.makes: list[Step] = []
        self.turns: list[Step] = []
        self.sent: list = []
        self.drops: Counter[str] = Counter()
        self.why: list[str] = []  # of one frame its own reason, then those of what was made
        self.punted = self.now_s = 0

    def frame(self, role: str, frame: bytes, now_s: int, drawn) -> list:
        return self.frames(role, [frame], now_s, drawn)

    def frames(self, role: str, frames: list[bytes], now_s: int, drawn) -> list:
        """At once. drawn(key): the outside address and port that the path gave a new mapping."""
        self.now_s, self.drawn, self.sent = now_s, drawn, []
        self.piece = False
        self.expire(now_s)
        self.work()
        self.why = []
        for at in range(0, len(frames), BURST):
            self.work([lambda one=one: self.arrive(role, one) for one in frames[at : at + BURST]])
        return self.sent

    def work(self, entering: Iterable[Step] = ()) -> None:
        """Until nothing is left of it."""
        while True:
            self.each(entering)
            self.session_lookup()
            self.in_order(self.rewrites)
            self.in_order(self.leaves)
            while self.makes:  # who is asked has a packet made
                self.each(self.taken(self.makes))
            entering = self.taken(self.turns)
            if not entering:
                return

    def taken(self, steps: list) -> list:
        all_of_them, steps[:] = steps[:], []
        return all_of_them

    def in_order(self, steps: list[tuple[int, Step]]) -> None:
        placed = sorted(self.taken(steps), key=lambda step: step[0])
        self.each(step for _, step in placed)

    def each(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self.attempt(step)

    def attempt(self, step: Callable):
        """What it returns; None also if it was the packet's end."""
        try:
            return step()
        except HeldError:
            pass
        except DroppedError as why:
            self.lose(str(why))
        except PuntedError:
            self.punted += 1
        return None

    def lose(self, reason: str, n: int = 1) -> None:
        self.why += [reason] * n
        self.drops[reason] += n

    # ---- from stage to stage ----

    def session_lookup(self) -> None:
        all_of_them = [p._replace(place=i) for i, p in enumerate(self.taken(self.arrived))]
        for p in all_of_them:
            self.meets(p)
        strangers = [p for p in all_of_them if self.may_open(p)]
        decided = [(p, self.attempt(lambda p=p: self.decide_first(p))) for p in strangers]
        settled = {p.place for p in strangers}
        for p, d in decided:
            if d and p.key in self.table.index:  # the session of a packet before it
                settled.remove(p.place)
            elif d:
                self.attempt(lambda p=p, d=d: self.install(p, d))
        for p in all_of_them:
            if p.place not in settled:
                self.attempt(lambda p=p: self.look_up(p))

    def may_open(self, p: Arrived) -> bool:
        return not p.error and opens(p.ip) and p.key not in self.table.index

    def meets(self, p: Arrived) -> None:
        """For who looks on."""

    def goes(self, p: Arrived, way: Way, back: tuple | None, counted: bool = True) -> None:
        self.rewrites.append((p.place, lambda: self.rewrite(p, way, back, counted)))

    def goes_out(self, way: tuple, ip: Ip, p: Arrived) -> None:
        self.leaves.append((p.place, lambda: self.leave(way, ip, p)))
