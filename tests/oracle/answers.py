"""What the gateway says itself: pings answered, ICMP errors, resets. The slow twin of icmp.c and
answer.c.
"""

import struct
from dataclasses import replace

from tests.oracle.decision import Decision, num
from tests.oracle.entrance import Arrived, DroppedError
from tests.oracle.errors import made_error, made_reset
from tests.oracle.ipv4 import ACK, DF, ECHO, ECHO_REPLY, ICMP, RST, TCP, Ip, changed, icmp, tcp
from tests.oracle.table import Way


class Answers:
    """Of the twin: it has `policy`, `made`, `todo` and leave()."""

    def to_gateway(self, p: Arrived, d: Decision) -> None:
        """Ping is answered (RFC 792), nothing else is served there."""
        ip = p.ip
        if p.error or ip.proto != ICMP or ip.payload[0] != ECHO:
            raise DroppedError("GATEWAY_ADDRESSED")
        data = ip.payload
        turned = icmp(ip.dst, ip.src, ECHO_REPLY, data[1], data[4:8], data[8:])
        self.leave(("port", d.src_port), replace(turned, tos=ip.tos, id=ip.id, frag=ip.frag), p)

    def say(self, p: Arrived, kind: int, code: int, mtu: int = 0) -> None:
        """An ICMP error to the sender; never about an error (RFC 1812 section 4.3.2.7)."""
        if p.error:
            return
        if p.key.uplink:
            way, speaker = self.policy.outwards(p.key.vrf, p.ip.src), p.ip.dst
        else:
            port = self.policy.ports[p.key.vrf, p.ip.src]
            seg = self.policy.segments.get(port.vni)
            way, speaker = ("port", port), num(seg.gateway_be) if seg else 0
        if way and speaker:
            self.make(way, made_error(p.ip, speaker, kind, code, mtu), p)

    def make(self, way: tuple, ip: Ip | None, p: Arrived) -> None:
        if ip:
            p = p._replace(looped=False, widest=0, made=True)
            self.made += 1
            self.todo.append(lambda: self.leave(way, ip, p))

    def reset_for(self, p: Arrived) -> None:
        """To a segment of no connection: RST inwards, silence outwards."""
        port = self.policy.ports.get((p.key.vrf, p.ip.src))
        if not p.key.uplink and port and not p.told:
            self.make(("port", port), made_reset(p.ip), p)

    def cut(self, p: Arrived, way: Way, back: Way) -> bool:
        """A change of rules ends its session: both ends hear of it, if this packet says enough."""
        if p.error or p.ip.proto != TCP:
            return False
        seq, ack, _, flags = struct.unpack("!IIBB", p.ip.payload[4:14])
        if flags & (RST | ACK) != ACK:
            return False
        on = changed(p.ip, way.side, way.address, way.port) if way.side else p.ip
        ends = tcp(p.ip.dst, p.ip.src, *p.ip.ports[::-1], RST, seq=ack, frag=DF)
        self.make(back.way, ends if back.key.src != back.key.dst else None, p)
        ends = tcp(on.src, on.dst, *on.ports, RST | ACK, seq, ack, frag=DF)
        self.make(way.way, ends, p)
        return True
