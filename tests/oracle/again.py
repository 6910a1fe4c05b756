"""What a new policy makes of a session, at its next packet: the slow twin of decide_again() in
lookup.c.
"""

from tests.oracle.decision import Decision
from tests.oracle.entrance import Arrived
from tests.oracle.table import Session


class Again:
    """Of the twin: it has `policy`, `table`, `now_s`, `drawn`, `cuts`, decide(), refuse() and
    cut()."""

    def same(self, session: Session, d: Decision) -> bool:
        """Does the new policy say what the session does? Whoever was let in stays, though the
        mapping has forgotten the address since."""
        let_in = d.reason == "NAT_FILTERED" and d.mapping is session.mapping
        allowed = d.reason in (None, "NEIGHBOUR_UNRESOLVED") or let_in
        if not allowed or d.stateless or d.to_gateway or d.kind != session.kind:
            return False
        fwd = session.ways[0]
        if d.pool and not session.mapping:
            return self.policy.shares(d.nat, session.nat_id, fwd.address, fwd.port)
        if d.pool:
            return self.policy.fits(d.nat, session.mapping)
        return d.kind is None or (d.address == fwd.address and (d.kind != 0 or d.port == fwd.port))

    def decide_again(self, session: Session, at: int, p: Arrived):
        d = self.decide(session.ways[0].key)
        if not self.same(session, d):
            return None
        if not d.way or not d.back:  # it keeps its way until the new one is known
            return session, at
        rules = d.reason is not None or (d.nat_id, d.fw_id) == (session.nat_id, session.fw_id)
        if rules and [d.way, d.back] == [way.way for way in session.ways]:
            session.marked = False
            return session, at
        return self.replace(session, at, d, p)

    def end(self, session: Session, at: int, p: Arrived) -> Arrived:
        """The new policy says something else."""
        way, back = session.ways[at], session.ways[at ^ 1]
        told = self.policy.resets.get(session.nat_id) and self.cut(p, way, back)
        self.table.unlink(session)
        self.cuts += 1
        if session.mapping:  # nor may its peer come back in by the mapping
            key = session.ways[0].key
            peer = key.src if key.uplink else key.dst
            kept = [None if one == peer else one for one in session.mapping.contacted]
            session.mapping.contacted = kept
        return p._replace(told=bool(told))

    def replace(self, session: Session, at: int, d: Decision, p: Arrived):
        """The same addresses, another way or another rule's name: a new session takes over."""
        self.table.unlink(session)
        key = session.ways[0].key
        args = self.policy, d, key, self.now_s, lambda: self.drawn(key), session
        made = self.table.install(*args)
        if isinstance(made, str):
            self.refuse(made, d, p)
        made.made_s = session.made_s
        for new, old in zip(made.ways, session.ways, strict=True):
            new.flags, new.last_s = old.flags, old.last_s
        return made, at
