"""The whole gateway as one slow program: a frame in; out of it every frame that leaves, or why not.

The slow twin of the stages. It reads the records that the backends get, knows the RFCs and DESIGN
6, of bursts no more than bursts.py says, and nothing of caches or indices. `Twin.frames()` is asked
with the same frames and time as the path; ports drawn at random it is told (table.py holds them to
their rules).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from pcg.reconcile import records as r
from tests.oracle import ipv4 as ip4
from tests.oracle.again import Again, either_end
from tests.oracle.answers import HOST, NO_WAY, Answers
from tests.oracle.bursts import BURST, Bursts, opens
from tests.oracle.decision import Decision, Key, Policy, num
from tests.oracle.entrance import Arrived, DroppedError, Entrance
from tests.oracle.errors import quoted_changed, translated
from tests.oracle.fragments import Reassembly, cut
from tests.oracle.ipv4 import ICMP, TCP, Ip, changed, header, older, right
from tests.oracle.mss import clamped
from tests.oracle.path_mtu import PathMtus
from tests.oracle.policy import place_of
from tests.oracle.table import Session, Table, Way, touch


class Sent(NamedTuple):
    """What left: `ip` with its way, before any header is put in front."""

    way: tuple
    ip: Ip


class Twin(Bursts, Entrance, Again, Answers):
    def __init__(self, policy: Policy, macs: tuple[bytes, bytes]) -> None:
        """macs: of the uplink's and of the downlink's port."""
        self.policy, self.up_mac, self.down_mac = policy, *macs
        super().__init__()
        self.table, self.hits = Table(), Counter()
        self.defaults: Counter[int] = Counter()  # decisions of a VRF's default, by domain
        self.segment_in, self.segment_out = Counter(), Counter()
        self.refused: Counter[tuple[int, int]] = Counter()  # by VRF and address of the workload
        self.clamped = self.cuts = self.made = self.unmade = 0
        self.reassembly, self.paths = Reassembly(), PathMtus()
        self.untold: list[Session] = []  # over, and their ends not asked yet
        self.piece = False  # the last frame was one that may wait for others
        self.drawn: Callable[[Key], tuple[int, int]] = None

    # ---- from outside ----

    def commit(self, policy: Policy, now_s: int, touches: Sequence[r.Touch] = ()) -> None:
        """Another policy: every session is decided again, and what it no longer allows ends.
        touches: what the path was told that it may concern; sessions of which the new policy says
        something else are decided again also if they are not among them."""
        alive = [session for session in self.table.live if session.over_s is None]
        said = [touches and self.says(session) for session in alive]
        self.renew(policy)
        for session, before in zip(alive, said, strict=True):
            if not touches or self.touched(session, touches) or self.says(session) != before:
                self.judge(session, now_s)
        self.sweep(now_s)

    def moved(self, policy: Policy, elsewhere: tuple[int, int] | None, now_s: int) -> None:
        """Records that change one by one. `elsewhere`: the place_of() a port that is in another
        segment now: its sessions are decided again."""
        for tep in policy.teps.keys() - self.policy.teps.keys():
            self.paths.forget(tep)
        self.renew(policy)
        touches = elsewhere and either_end(*elsewhere)
        for session in list(self.table.live):
            if touches and session.over_s is None and self.touched(session, touches):
                self.judge(session, now_s)

    def renew(self, policy: Policy) -> None:
        # A rule that is gone keeps its timers: its sessions are about to be decided again.
        policy.timeouts = {**self.policy.timeouts, **policy.timeouts}
        policy.resets = {**self.policy.resets, **policy.resets}
        self.policy = policy

    def sweep(self, now_s: int) -> None:
        self.paths.learn(self.policy, now_s)
        for session in self.table.sweep(self.policy, now_s, self.gone):
            self.over(session, now_s)
        self.expire(now_s)
        self.sent, self.why = [], []
        self.work()  # into nobody's hands

    def tell(self) -> list[Sent]:
        """What is asked of the ends of sessions that are over."""
        self.sent, self.why = [], []
        asked, self.untold = self.untold, []
        for session in asked:
            if session in self.table.live:
                self.makes += [lambda way=w, back=b, s=session: self.ask(way, back, s)
                    for w, b in (session.ways, session.ways[::-1])]  # fmt: skip
        self.work()
        return self.sent

    def expire(self, now_s: int) -> None:
        for where, late in self.reassembly.late(now_s):
            self.drops["FRAGMENT_TIMEOUT"] += late.held
            if late.first and not late.ended:
                self.incomplete(where, header(late.first))

    def gone(self, way: tuple | None) -> bool:
        if not way or way[0] != "port":
            return False
        return way[1] not in self.policy.ports

    # ---- which session ----

    def look_up(self, p: Arrived) -> None:
        found = self.table.index.get(p.key)
        if found and found[0].over_s is not None:
            p, found = self.told_by(*found, p), None
        if found and found[0].marked:
            again = self.decide_again(*found)
            p = p if again else self.end(*found, p)
            found = again
        if not found:
            self.first(p)
            return
        session, at = found
        way = session.ways[at]
        if not p.key.uplink and not self.source_ok(way, p):
            raise DroppedError("SOURCE_SPOOFED")
        self.goes(p, way, session.ways[at ^ 1].way)

    def source_ok(self, way: Way, p: Arrived) -> bool:
        """RFC 5508 REQ-4: an error may come from a router between, if that is one of the TEP's."""
        port = self.policy.ports.get(way.source)
        if not port or not self.policy.source_fits(port, p.tep, p.vni):
            return False
        if not p.error or p.ip.src == p.key.src:
            return True
        port = self.policy.ports.get((p.key.vrf, p.ip.src))
        return bool(way.side and port) and self.policy.source_fits(port, p.tep, p.vni)

    def decide(self, key: Key, session: Session | None = None) -> Decision:
        """session: it has been decided before."""
        if key.uplink:
            mapping = self.table.outside(key.dst, key.dport, key.proto)
            held = session.ways[0].address if session else None
            return self.policy.from_uplink(key, mapping, held)
        if session:
            return self.policy.from_overlay(key, lambda d: session.ways[0].address)
        return self.policy.from_overlay(key, lambda d: self.table.leaves_as(self.policy, d, key))

    def refuse(self, reason: str, d: Decision, p: Arrived) -> None:
        """RFC 5508 REQ-8: no mapping can be made; inwards only, for a source may be forged."""
        if reason not in ("SESSION_CONFLICT", "LAND", "FIREWALL_DENIED"):
            port = d.src_port or d.dst_port
            self.refused[port.vrf, num(port.address_be)] += 1
            if p.looped or not p.key.uplink:
                self.say(p, 3, 13)
        raise DroppedError(reason)

    # ---- first packets ----

    def first(self, p: Arrived) -> None:
        d = self.decide_first(p)
        if d:
            self.install(p, d)

    def decide_first(self, p: Arrived) -> Decision | None:
        """What its session is to be; None: it needs none."""
        key = p.key
        if p.error:
            key = Key(p.key.vrf, p.key.uplink, p.ip.src, p.ip.dst, 0, 0, ICMP)
        d = self.decide(key)
        self.hits[d.fw_id] += 1
        self.defaults[2 * key.vrf + key.uplink] += d.by_default
        if not key.uplink and d.src_port and not self.policy.source_fits(d.src_port, p.tep, p.vni):
            raise DroppedError("SOURCE_SPOOFED")
        if d.reason:
            if d.reject:
                self.reject(p)
            elif d.src_port and d.reason in NO_WAY:
                self.no_way(p, NO_WAY[d.reason])
            raise DroppedError(d.reason)
        if d.to_gateway:
            self.to_gateway(p, d)
        elif d.stateless:
            place = place_of(d.src_port) if d.src_port else None
            back = ("port", place) if place else d.back
            self.goes(p, Way(key, "", 0, None, d.way, place), back, counted=False)
        else:
            self.new_session(p, d)
            return d
        return None

    def new_session(self, p: Arrived, d: Decision) -> None:
        """May it open one?"""
        if p.error:
            raise DroppedError("ICMP_NO_SESSION")
        if not opens(p.ip):
            if p.ip.proto != TCP:
                raise DroppedError("ICMP_NO_SESSION")
            if p.looped or not p.key.uplink:  # RST inwards, silence outwards
                self.reset_for(p)
            raise DroppedError("TCP_NO_SESSION")
        if p.ip.ttl <= 1:
            self.say(p, 11, 0)
            raise DroppedError("TTL_EXPIRED")

    def install(self, p: Arrived, d: Decision) -> None:
        made = self.table.install(self.policy, d, p.key, self.now_s, lambda: self.drawn(p.key))
        if isinstance(made, str):
            self.refuse(made, d, p)
        self.goes(p, made.ways[0], made.ways[1].way)

    # ---- out ----

    def mtu(self, way: tuple | None) -> int | None:
        """For the packet inside; None: nobody knows yet."""
        if not way or way[0] == "hairpin":
            return None
        if way[0] == "hop":
            return self.policy.local.uplink_mtu if way[1] in self.policy.nexthops else None
        port = self.policy.ports.get(way[1])
        if not port:
            return None
        tep = self.policy.teps.get(num(port.tep_be))
        room = (tep and tep.mtu) or self.policy.local.downlink_mtu
        room = self.paths.of(num(port.tep_be), room) if tep else room
        seg = self.policy.segments.get(port.vni)
        return min(seg.mtu if seg else 1500, room - 50 - 8 * bool(tep and tep.option))

    def may_cut(self, p: Arrived, ip: Ip, mtu: int) -> bool:
        """RFC 791: with DF only what came in pieces, into such as its sender made."""
        return not ip.frag & ip4.DF or 0 < p.widest <= mtu

    def rewrite(self, p: Arrived, way: Way, back: tuple | None, counted: bool = True) -> None:
        """back: the way to its sender."""
        mtu = self.mtu(way.way)
        if p.ip.ttl <= 1:
            self.say(p, 11, 0)
            raise DroppedError("TTL_EXPIRED")
        if lost := self.lost(way.way):
            if lost == "PORT_UNKNOWN" or self.silent(way.way):
                self.no_way(p, HOST)
            raise DroppedError(lost)
        if mtu is not None and p.ip.length > mtu and not self.may_cut(p, p.ip, mtu):
            self.say(p, 3, 4, mtu)  # RFC 1191: with the MTU that would do
            raise DroppedError("TOO_BIG")
        ip = p.ip
        if self.policy.local.mss_clamp:
            ip = clamped(p.ip, min(self.mtu(one) or 65535 for one in (way.way, back)))
            self.clamped += ip != p.ip
        if p.error:  # neither refreshes nor ends anything (RFC 5508 REQ-5)
            if way.side:
                if not right(ip.payload):
                    raise DroppedError("IP_CHECKSUM")
                ip = translated(ip, way.side, way.address, way.port)
            self.goes_out(way.way, older(ip), p)
            return
        if counted:
            touch(way, ip, self.now_s)
        if way.side:
            ip = changed(ip, way.side, way.address, way.port)
        self.goes_out(way.way, older(ip), p)

    def lost(self, way: tuple) -> str | None:
        if way[0] == "hairpin":
            return None
        if self.gone(way):
            return "PORT_UNKNOWN"
        neighbour = self.neighbour(way)
        return None if neighbour and neighbour.resolved else "NEIGHBOUR_UNRESOLVED"

    def neighbour(self, way: tuple) -> r.Nexthops | r.Teps | None:
        if way[0] == "hop":
            return self.policy.nexthops.get(way[1])
        return self.policy.teps.get(num(self.policy.ports[way[1]].tep_be))

    def silent(self, way: tuple) -> bool:
        """Asked for, and nobody answered; before that is known, the next packet may pass."""
        neighbour = self.neighbour(way)
        return bool(neighbour and neighbour.silent)

    def leave(self, way: tuple, ip: Ip, p: Arrived) -> None:
        if way[0] == "hairpin":
            self.turn_round(ip, p)
            return
        if lost := self.lost(way):
            raise DroppedError(lost)
        if way[0] == "hop" and p.made and self.policy.owner(ip.src) != p.key.vrf:
            raise DroppedError("EGRESS_SOURCE")  # of a session that a NO_SNAT rule had let out
        pieces = self.pieces(ip, self.mtu(way), p)
        self.made += len(pieces) - 1
        if way[0] == "port":
            self.segment_out[self.policy.ports[way[1]].vni] += len(pieces)
        self.sent += [Sent(way, piece) for piece in pieces]

    def pieces(self, ip: Ip, mtu: int, p: Arrived) -> list[Ip]:
        """RFC 791; RFC 4787 REQ-13."""
        if ip.length <= mtu:
            return [ip]
        if not self.may_cut(p, ip, mtu):
            raise DroppedError("TOO_BIG")
        df = bool(ip.frag & ip4.DF)
        return [ip4.header(piece) for piece in cut(ip.whole(), p.widest if df else mtu, df)]

    def turn_round(self, ip: Ip, p: Arrived) -> None:
        """What the Internet gateway would do: the sender's secondary address becomes its Elastic
        IP, the destination's Elastic IP the secondary address; then it comes back."""
        pub = self.policy.elastic.get(ip.dst)
        if p.looped or not pub or len(self.turns) == BURST:
            raise DroppedError("HAIRPIN_LOOP")
        sender = self.policy.secondary.get(ip.src)
        src, dst = num(sender.address_be) if sender else ip.src, num(pub.secondary_be)
        if ip.proto == ICMP and ip.payload[0] in ip4.ERRORS:  # RFC 5508 REQ-7
            ip = quoted_changed(ip, src=dst, dst=src)
        ip = changed(changed(ip, "src", src), "dst", dst)
        whole = replace(ip, sum=None).whole()
        was = {"widest": p.widest, "told": p.told, "own": p.own}
        self.turns.append(lambda: self.owned(whole, looped=True, **was))
