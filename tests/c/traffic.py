"""What is sent to the path and its twin: one step of a sequence, made from bytes; alone, or with
what the next steps send, at once."""

from dataclasses import replace

from tests.c import worlds as w
from tests.c.damage import Damage
from tests.c.worlds import Picks
from tests.oracle import fragments as fr
from tests.oracle import ipv4 as ip4
from tests.oracle.bursts import BURST
from tests.oracle.decision import Key, num
from tests.oracle.table import Session

STEPS = ["out"] * 6 + ["beside"] + ["in"] * 3 + ["again"] * 6 + ["another"] * 2 + ["error"] * 2
STEPS += ["time", "commit"] + ["pieces"] * 4 + ["more"] * 5 + ["like"] * 3 + ["burst"] * 3
STEPS += ["move"] * 3 + ["damaged"] * 5 + ["too_big_below"]
KINDS = ["out", "out", "more", "in", "again", "again", "beside", "error"]
CROWD = ["crowd"] * 12 + ["burst"] * 4 + ["again"] * 2 + ["like"] * 2 + ["time", "commit", "in"]
CROWD += ["move"] * 2
FRAMES_AT_ONCE = 120  # some less than the path takes in one round
ORDERS = ["backwards", "last first", "one twice", "one lost", "one moved", "one forged"]


class Cutter:
    """How a packet is to be sent in pieces: of its own, of its tunnel, or of both."""

    def __init__(self, p: Picks) -> None:
        self.pieces, self.df = p.of([2, 3, 5]), p.of([False, False, True])
        self.inner, self.outer = p.of([(1, 0), (1, 0), (0, 1), (1, 1)])
        self.order, self.which = p.of(["as they are"] * 6 + ORDERS), p.of(range(5))
        self.anew = p.of([True] * 9 + [False])

    def cut(self, packet: bytes) -> list[bytes]:
        step = max(8, -(-(len(packet) - 20) // self.pieces) // 8 * 8)
        pieces = fr.cut(packet, 20 + step, self.df) or [packet]
        return [bytes(one) for one in self.mixed(pieces)]

    def mixed(self, pieces: list[bytes]) -> list[bytes]:
        at = self.which % len(pieces)
        one, rest = pieces[at], pieces[:at] + pieces[at + 1 :]
        frag = int.from_bytes(one[6:8])
        match self.order:
            case "backwards":
                return pieces[::-1]
            case "last first":
                return pieces[-1:] + pieces[:-1]
            case "one twice":
                return [*pieces[: at + 1], one, *pieces[at + 1 :]]
            case "one lost":
                return rest
            case "one moved":
                return [*rest, fr.header(one, len(one), frag + 1 & 0xFFFF) + one[20:]]
            case "one forged":
                return [one, one[:-1] + bytes([one[-1] ^ 1]), *rest]
        return pieces

    def inside(self, packet: ip4.Ip, number: int) -> list[ip4.Ip]:
        """number: an identification that was not there before."""
        if not self.inner:
            return [packet]
        packet = replace(packet, id=number, sum=None) if self.anew else packet
        return [ip4.header(one) for one in self.cut(packet.whole())]

    def around(self, frame: bytes, number: int) -> list[bytes]:
        """Of a tunnel packet."""
        if not self.outer:
            return [frame]
        ip = fr.header(frame[14:18] + number.to_bytes(2) + frame[20:], len(frame) - 14, 0)
        return [frame[:14] + one for one in self.cut(ip + frame[34:])]


class Burst:
    """Frames that arrive at once, of so many steps; some more than once."""

    def __init__(self, p: Picks) -> None:
        self.steps, self.times = p.of([2, 3, 5, 8]), p.of([1] * 6 + [2, 9])
        self.traced = p.of([False, False, True])
        self.frames: dict[str, list[bytes]] = {}  # by role

    def of(self, role: str) -> list[bytes]:
        return (self.frames[role] * self.times)[:FRAMES_AT_ONCE]

    def past_the_stages(self, role: str) -> bool:
        """Of more than go through the stages together, it is the path's choice which do: not if
        they are traced, for then all do."""
        return not self.traced and len(self.of(role)) <= BURST


class Traffic:
    """Of the pair: it has `twin`, run(), time() and commit(). `kinds`: of steps."""

    kinds = STEPS

    cutter: Cutter | None = None
    damage: Damage | None = None
    gathered: Burst | None = None
    last: tuple[ip4.Ip, tuple[int, int] | None] | None = None  # with its VRF and VNI, if it has any
    number = 10

    def step(self, data: bytes) -> None:
        p = Picks(data)
        kind = p.of(self.kinds)
        if kind in ("time", "commit", "burst", "move"):
            self.at_once()
        getattr(self, {"in": "in_"}.get(kind, kind))(p)
        if self.gathered and kind != "burst":
            self.gathered.steps -= 1
            if not self.gathered.steps:
                self.at_once()

    def burst(self, p: Picks) -> None:
        """What the next steps send."""
        self.gathered = Burst(p)

    def at_once(self) -> None:
        burst, self.gathered = self.gathered, None
        for role in burst.frames if burst else ():
            self.run(role, burst.of(role), burst.past_the_stages(role))

    def comes(self, role: str, frame: bytes) -> None:
        frame = self.damage.of(role, frame) if self.damage else frame
        if self.gathered:
            self.gathered.frames.setdefault(role, []).append(frame)
        else:
            self.run(role, [frame])

    def out(self, p: Picks) -> None:
        vrf, n = p.of([0, 0, 0, 1]), p.of(range(4))
        src = p.of([w.host(vrf, n)] * 15 + [w.NOBODY])
        there = [w.elastic(i) for i in range(5)] + [w.host(vrf, i) for i in range(4)]
        dst = p.of([*w.PEERS * 4, *there, w.NOBODY, (src & 0xFFFFFF00) + 1, w.at("10.0.2.2")])
        own = [w.home(vrf, n), w.transit(vrf)] * 7
        vni = p.of([*own, w.home(vrf, 2), w.home(1 - vrf, n)])
        self.down(self.packet(p, src, dst), vrf, vni, p)

    def crowd(self, p: Picks) -> None:
        """A few endpoints to a few peers, nothing odd about it but ECN, each with other data: what
        is short is public ports."""
        src, dst = w.host(0, p.of([0, 1, 2])), p.of(w.PEERS)
        sport, dport, data = p.of([1, 2]), p.of([53, 80]), self.number.to_bytes(20)
        packet = p.of([
            ip4.udp(src, dst, sport, dport, data, tos=2),
            ip4.udp(src, dst, sport, dport, data, tos=2),
            ip4.tcp(src, dst, sport, dport, p.of([ip4.SYN, ip4.SYN, ip4.ACK]), data=data, tos=2),
            ip4.icmp(src, dst, ip4.ECHO, 0, sport.to_bytes(2) + data[:2], data, tos=2),
        ])  # fmt: skip
        self.down(packet, 0, w.transit(0), p)

    def packet(self, p: Picks, src: int, dst: int) -> ip4.Ip:
        proto, flags = p.of([17, 6, 17, 1, 6, 47]), p.of([ip4.SYN, ip4.SYN, ip4.SYN, *w.FLAGS])
        return w.made(p, src, dst, proto, p.of([1, 2, 3]), p.of(w.DPORTS), flags)

    def tunnelled(self, packet: ip4.Ip, vrf: int, vni: int, p: Picks) -> bytes:
        port = self.twin.policy.ports.get((vrf, packet.src))
        tep = num(port.tep_be) if port else w.TEPS[0]
        tep = p.of([tep] * 30 + [w.TEPS[1], w.STRANGER])
        gateway_mac = self.twin.policy.segments[vni].gateway_mac
        return w.in_tunnel(packet, vni, tep, gateway_mac, p.of([0, 0, 0, 2, 1, 3]))

    def in_(self, p: Picks) -> None:
        doors = [w.secondary(i) for i in range(5)] + [w.host(0, 3), w.host(1, 3)]
        src = p.of([*w.PEERS, w.PEERS[0], w.elastic(0), w.host(0, 3)])
        self.up(self.packet(p, src, p.of(doors)))

    def session(self, p: Picks) -> Session | None:
        live = self.twin.table.live
        return p.of(live) if live else None

    def again(self, p: Picks) -> None:
        """A packet along a session, one way or the other."""
        session = self.session(p)
        if not session:
            return
        key = p.of(session.ways).key
        flags = p.of([ip4.ACK, ip4.SYN | ip4.ACK, *w.FLAGS])
        packet = w.made(p, key.src, key.dst, key.proto, key.sport, key.dport, flags)
        self.send(key, packet, p)

    def send(self, key: Key, packet: ip4.Ip, p: Picks) -> None:
        if key.uplink:  # also in the name of a hairpin's other end: only the path itself may
            self.up(packet)
            return
        port = self.twin.policy.ports.get((key.vrf, key.src))
        usual = [w.transit(key.vrf), port.vni if port else w.transit(key.vrf)]
        vni = p.of(usual * 4 + [w.home(key.vrf, n) for n in (0, 2, 3)])
        self.down(packet, key.vrf, vni, p)

    def another(self, p: Picks) -> None:
        """From another peer to a session's outside endpoint."""
        session = self.session(p)
        if session:
            key = next(way.key for way in session.ways if way.key.uplink)
            packet = w.made(p, p.of(w.PEERS), key.dst, key.proto, p.of([1, 2]), key.dport, ip4.SYN)
            self.up(packet)

    def more(self, p: Picks) -> None:
        """From the workload of a session, from another port of its or to another peer."""
        session = self.session(p)
        if session:
            key = next(way.key for way in session.ways if not way.key.uplink)
            sport, dst = p.of([4, 5, 6, 7, key.sport]), p.of([key.dst, *w.PEERS])
            packet = w.made(p, key.src, dst, key.proto, sport, key.dport, ip4.SYN)
            self.send(key, packet, p)

    def like(self, p: Picks) -> None:
        """From the same end as the packet before, or to the same: of its flow, of its mapping, or
        by the same door."""
        if not self.last:
            return
        before, where = self.last
        src, dst = p.of([before.src, before.src, *w.PEERS[: 3 * (not where)]]), before.dst
        dst = p.of([dst, dst, *(w.PEERS if where else map(w.secondary, range(5)))])
        sport, dport = before.ports
        sport, dport = p.of([sport, sport, sport, 4]), p.of([dport, dport, *w.DPORTS])
        flags = p.of([ip4.SYN, ip4.ACK, *w.FLAGS])
        packet = w.made(p, src, dst, before.proto, sport, dport, flags)
        if where:
            self.down(packet, *where, p)
        else:
            self.up(packet)

    def beside(self, p: Picks) -> None:
        """From the peer of a session to another public address, which may lead to the same host."""
        session = self.session(p)
        if session:
            key = next(way.key for way in session.ways if way.key.uplink)
            dst, dport = w.secondary(p.of(range(5))), p.of([key.dport, 80, 7001])
            packet = w.made(p, key.src, dst, key.proto, key.sport, dport, ip4.SYN)
            self.send(key, packet, p)

    def error(self, p: Picks) -> None:
        """About a packet that one end of a session received; by that end, or a router before it."""
        session = self.session(p)
        if not session:
            return
        key = p.of(session.ways).key  # the direction in which the error travels
        quoted = w.made(p, key.dst, key.src, key.proto, key.dport, key.sport, ip4.ACK)
        kind, code = p.of([(3, 3), (3, 4), (11, 0), (3, 13), (12, 0)])
        src = p.of([key.src, key.src, w.PEERS[2] if key.uplink else w.host(key.vrf, 1)])
        data = quoted.whole()[: p.of([548, 28, 36, 20])]
        error = ip4.icmp(src, key.dst, kind, code, b"\0\0\5\0", data, frag=ip4.DF)
        self.send(key, error, p)

    def pieces(self, p: Picks) -> None:
        """Any of the others, in pieces."""
        self.cutter = Cutter(p)
        kind = p.of(KINDS)
        getattr(self, {"in": "in_"}.get(kind, kind))(p)
        self.cutter = None

    def damaged(self, p: Picks) -> None:
        """Any of the others, with something wrong."""
        self.damage = Damage(p)
        kind = p.of(KINDS)
        getattr(self, {"in": "in_"}.get(kind, kind))(p)
        self.damage = None

    def too_big_below(self, p: Picks) -> None:
        """A router of the underlay, about a tunnel packet of ours."""
        tep, mtu = p.of([*w.TEPS * 2, w.STRANGER]), p.of([1400, 1000, 634, 633, 0, 1499, 9000])
        sport, dport, frag = p.of([0xC000] * 5 + [0xBFFF]), p.of([6081] * 5 + [53]), ip4.DF
        length = p.of([1500, 1500, 9000, 1492, 700])
        quoted = ip4.udp(w.TEP, tep, sport, dport, bytes(length - 28), frag=p.of([frag] * 5 + [0]))
        data = quoted.whole()[: p.of([548, 28, 27])]
        kind, code = p.of([(3, 4)] * 6 + [(3, 1), (11, 0)])
        told = ip4.icmp(w.HOP, w.TEP, kind, code, mtu.to_bytes(4), data)
        self.comes("downlink", w.DOWN_MAC + w.mac(6, 0, 0) + b"\x08\0" + told.whole())

    # ---- on the wire ----

    def inside(self, packet: ip4.Ip) -> list[ip4.Ip]:
        self.number += 1
        return self.cutter.inside(packet, self.number) if self.cutter else [packet]

    def around(self, frame: bytes) -> list[bytes]:
        self.number += 1
        return self.cutter.around(frame, self.number) if self.cutter else [frame]

    def up(self, packet: ip4.Ip) -> None:
        self.last = packet, None
        for one in self.inside(packet):
            self.comes("uplink", w.plain(one))

    def down(self, packet: ip4.Ip, vrf: int, vni: int, p: Picks) -> None:
        self.last = packet, (vrf, vni)
        for one in self.inside(packet):
            for frame in self.around(self.tunnelled(one, vrf, vni, p)):
                self.comes("downlink", frame)
