"""What a new policy makes of a session, at once or at its next packet; and what becomes of one that
is over: the slow twin of again.c, marks.c and cuts.c.
"""

from collections.abc import Sequence

from pcg.reconcile.records import Touch
from tests.oracle.decision import Decision
from tests.oracle.entrance import Arrived
from tests.oracle.ipv4 import RST, TCP
from tests.oracle.mappings import lands
from tests.oracle.rules import covers
from tests.oracle.table import CHANGE, Session


def either_end(vrf: int, address: int) -> list[Touch]:
    at, none = address.to_bytes(4), bytes(4)
    return [Touch(vrf, at, none, 32, 0), Touch(vrf, none, at, 0, 32)]


def fits(touch: Touch, src: int, dst: int) -> bool:
    return covers(touch.src_be, touch.src_len, src.to_bytes(4)) and covers(
        touch.dst_be, touch.dst_len, dst.to_bytes(4)
    )


class Again:
    """Of the twin: it has `policy`, `table`, `now_s`, `drawn`, `cuts`, decide(), refuse() and
    cut()."""

    def same(self, session: Session, d: Decision) -> bool:
        """Does the new policy say what the session does?"""
        allowed = d.reason in (None, "NEIGHBOUR_UNRESOLVED")
        if not allowed or d.stateless or d.to_gateway or d.kind != session.kind:
            return False
        fwd = session.ways[0]
        if d.way and d.back and lands(fwd.key, d, fwd.address):
            return False
        if d.pool and not session.mapping:
            return self.policy.shares(d.nat, session.nat_id, fwd.address, fwd.port)
        if d.pool:
            return self.policy.fits(d.nat, session.mapping)
        return d.kind is None or (d.address == fwd.address and (d.kind != 0 or d.port == fwd.port))

    def needless(self, session: Session, d: Decision) -> bool:
        """Do its packets go on without it, by a stateless rule? A route to a segment is none."""
        goes_on = d.stateless and not d.reason and d.back is not None
        return goes_on and session.kind is None

    def decide_again(self, session: Session, at: int):
        d = self.decide(session.ways[0].key, session)
        if not self.same(session, d):
            return None
        if not d.way or not d.back:  # it keeps its way until the new one is known
            return session, at
        if self.as_it_is(session, d):
            session.marked = False
            return session, at
        return self.replace(session, d), at

    def as_it_is(self, session: Session, d: Decision) -> bool:
        """Does it also go where it went, in the name of the same rules?"""
        rules = d.reason is not None or (d.nat_id, d.fw_id) == (session.nat_id, session.fw_id)
        return rules and [d.way, d.back] == [way.way for way in session.ways]

    def says(self, session: Session) -> tuple:
        """The policy, of what is to become of it."""
        d = self.decide(session.ways[0].key, session)
        if not self.same(session, d):
            return False, self.needless(session, d)
        return True, self.as_it_is(session, d), d.way and d.back

    def touched(self, session: Session, touches: Sequence[Touch]) -> bool:
        """As it came, as it went on, or the other way round: pcgdp.h."""
        fwd = session.ways[0]
        key = fwd.key
        src, dst = (fwd.address if fwd.side == end else getattr(key, end) for end in ("src", "dst"))
        ends = [(key.src, key.dst), (src, dst), (dst, src)]
        mine = [touch for touch in touches if touch.vrf == key.vrf]
        return any(fits(touch, *pair) for touch in mine for pair in ends)

    def judge(self, session: Session, now_s: int) -> None:
        """Without a packet."""
        d = self.decide(session.ways[0].key, session)
        if self.same(session, d):
            session.marked = not self.as_it_is(session, d)
            return
        if self.needless(session, d):
            self.table.unlink(session)
            return
        self.cuts += 1
        if session.to_be_told(self.policy, CHANGE):
            self.over(session, now_s)
        else:
            self.table.unlink(session)

    def over(self, session: Session, now_s: int) -> None:
        session.over_s, session.marked = now_s, True
        self.untold.append(session)

    def told_by(self, session: Session, at: int, p: Arrived) -> Arrived:
        """A packet of one that is over. One that says nothing of it leaves it to another."""
        if p.error or p.told or (p.ip.proto == TCP and p.ip.payload[13] & RST):
            return p
        told = self.cut(p, session.ways[at], session.ways[at ^ 1], session.ways[0].key)
        self.table.unlink(session)
        return p._replace(told=told)

    def end(self, session: Session, at: int, p: Arrived) -> Arrived:
        """The new policy says something else."""
        if self.needless(session, self.decide(session.ways[0].key, session)):
            self.table.unlink(session)
            return p
        way, back = session.ways[at], session.ways[at ^ 1]
        resets = self.policy.resets.get(session.nat_id, 0) & CHANGE
        told = resets and self.cut(p, way, back, session.ways[0].key)
        self.table.unlink(session)
        self.cuts += 1
        return p._replace(told=bool(told))

    def replace(self, session: Session, d: Decision) -> Session:
        """The same addresses, another way or another rule's name: a new session takes over."""
        self.table.unlink(session)
        self.table.dying.remove(session)  # its successor has its place in the quota
        made = self.table.install(self.policy, d, session.ways[0].key, self.now_s, None, session)
        assert isinstance(made, Session), made
        made.made_s = session.made_s
        for new, old in zip(made.ways, session.ways, strict=True):
            new.flags, new.last_s = old.flags, old.last_s
        return made
