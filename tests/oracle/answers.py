"""What the gateway says itself: pings answered, ICMP errors, resets. The slow twin of icmp.c and
answer.c.
"""

import struct
from dataclasses import replace

from tests.oracle.checksum import update
from tests.oracle.decision import Decision, Key, num
from tests.oracle.entrance import Arrived, DroppedError
from tests.oracle.errors import made_error, made_reset
from tests.oracle.ipv4 import (
    ACK,
    DF,
    ECHO,
    ECHO_REPLY,
    ICMP,
    RST,
    TCP,
    Ip,
    changed,
    icmp,
    right,
    tcp,
)
from tests.oracle.table import Session, Way

NET, HOST, PROHIBITED = 0, 1, 13
# RFC 1812 section 5.2.7.1; RFC 5508 REQ-8. A blackhole is silent.
NO_WAY = {"NO_ROUTE": NET, "PORT_UNKNOWN": HOST, "NO_NAT": PROHIBITED, "NAT_PROTOCOL": PROHIBITED}


class Answers:
    """Of the twin: it has `policy`, `made`, `unmade`, `makes`, goes_out() and leave()."""

    def to_gateway(self, p: Arrived, d: Decision) -> None:
        """Ping is answered (RFC 792), nothing else is served there."""
        ip = p.ip
        if p.error or ip.proto != ICMP or ip.payload[0] != ECHO:
            raise DroppedError("GATEWAY_ADDRESSED")
        data = ip.payload
        turned = icmp(ip.dst, ip.src, ECHO_REPLY, data[1], data[4:8], data[8:])
        if not right(data):  # as wrong as it came: whoever asked sees what was damaged on the way
            total = update(int.from_bytes(data[2:4]), data[:2], bytes([ECHO_REPLY, data[1]]))
            answer = turned.payload
            turned = replace(turned, payload=answer[:2] + total.to_bytes(2) + answer[4:])
        self.goes_out(
            ("port", (p.key.vrf, ip.src)), replace(turned, tos=ip.tos, id=ip.id, frag=ip.frag), p
        )

    def say(self, p: Arrived, kind: int, code: int, mtu: int = 0) -> None:
        """An ICMP error to the sender; never about an error (RFC 1812 section 4.3.2.7)."""
        way, speaker = self.sender(p)
        if p.error:
            return
        if way and speaker:
            self.make(way, made_error(p.ip, speaker, kind, code, mtu), p)
        else:
            self.unmade += 1

    def no_way(self, p: Arrived, code: int) -> None:
        """To workloads only; never about a reset, nor what was sent to everybody."""
        reset = p.ip.proto == TCP and p.ip.payload[13] & RST
        over = reset or p.told or self.policy.everybody(p.key.vrf, p.ip.dst)
        if not p.key.uplink and not over:
            self.say(p, 3, code)

    def sender(self, p: Arrived) -> tuple[tuple | None, int]:
        """How it is reached, and whom it hears errors from."""
        if p.key.uplink:
            return self.policy.outwards(p.key.vrf, p.ip.src), p.ip.dst
        port = self.policy.ports.get((p.key.vrf, p.ip.src))
        seg = self.policy.segments.get(port.vni) if port else None
        return ("port", (p.key.vrf, p.ip.src)), num(seg.gateway_be) if seg else 0

    def make(self, way: tuple, ip: Ip | None, p: Arrived, flow: Key | None = None) -> None:
        """flow: in whose name; None: the gateway's own."""
        if ip:
            free = flow is not None and self.policy.exempts(flow, ip.src)
            p = p._replace(looped=False, widest=0, made=not free, own=False)
            self.made += 1
            self.makes.append(lambda: self.leave(way, ip, p))

    def incomplete(self, where: tuple, ip: Ip) -> None:
        """RFC 792, RFC 1122 section 3.3.2: of a datagram whose first piece is here, the rest is
        not. A stranger on the uplink is met by silence."""
        if where[0] not in (True, False):  # of the tunnel, or DHCP
            return
        uplink, vrf = where
        error = ip.proto == ICMP and ip.payload[0] in (3, 4, 5, 11, 12)
        key = Key(vrf, uplink, ip.src, ip.dst, *ip.ports, ip.proto)
        if not uplink or self.would_enter(key):
            self.say(Arrived(ip, key, error=error), 11, 1)

    def would_enter(self, key: Key) -> bool:
        """By a session that goes on, whatever a first packet would find; or by a rule."""
        session, _ = self.table.index.get(key, (None, 0))
        if not session or session.over_s is not None:
            return not self.decide(key).reason
        return self.same(session, self.decide(session.ways[0].key, session))

    def reset_for(self, p: Arrived) -> None:
        """To a segment of no connection."""
        way, speaker = self.sender(p)
        reset = None if p.told else made_reset(p.ip)
        if reset and way and speaker:
            self.make(way, reset, p)
        else:
            self.unmade += bool(reset)

    def reject(self, p: Arrived) -> None:
        """RST to TCP, ICMP 3/13 to the rest."""
        if p.ip.proto == TCP:
            self.reset_for(p)
        else:
            self.say(p, 3, 13)

    def may_speak(self, way: tuple, src: int, flow: Key) -> bool:
        """No source leaves by the uplink that is not its VRF's, or let out by a rule in force."""
        ours = self.policy.owner(src) == flow.vrf
        return way[0] != "hop" or ours or self.policy.exempts(flow, src)

    def ask(self, way: Way, back: Way, session: Session) -> None:
        """Of its sender, in the other's name, out of its window (RFC 9293 section 3.10.7.4)."""
        key, flow = way.key, session.ways[0].key
        if back.way and self.may_speak(back.way, key.dst, flow):
            ip = tcp(key.dst, key.src, key.dport, key.sport, ACK, seq=1, ack=1, frag=DF)
            self.make(back.way, ip, Arrived(ip, key, told=True), flow)

    def cut(self, p: Arrived, way: Way, back: Way, flow: Key) -> bool:
        """Its session ends: both ends hear of it, if this packet says enough."""
        if p.error or p.ip.proto != TCP:
            return False
        seq, ack, _, flags = struct.unpack("!IIBB", p.ip.payload[4:14])
        if flags & (RST | ACK) != ACK:
            return False
        on = changed(p.ip, way.side, way.address, way.port) if way.side else p.ip
        ends = tcp(p.ip.dst, p.ip.src, *p.ip.ports[::-1], RST, seq=ack, frag=DF)
        if self.may_speak(back.way, ends.src, flow):
            self.make(back.way, ends, p, flow)
        ends = tcp(on.src, on.dst, *on.ports, RST | ACK, seq, ack, frag=DF)
        if self.may_speak(way.way, ends.src, flow):
            self.make(way.way, ends, p, flow)
        return True
