"""The packets that the world's hosts exchange, in one line each."""

from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPerror, TCPerror, UDPerror
from scapy.packet import Raw

from tests.c.places import NET, A
from tests.c.wire import Seen

PINGED, PONG = 8, 0


def udp(src=A.address, dst=NET, sport=1000, dport=53, data=b"data", **ip):
    return IP(src=src, dst=dst, **ip) / UDP(sport=sport, dport=dport) / Raw(data)


def tcp(flags, src=A.address, dst=NET, sport=1000, dport=80, **given):
    return IP(src=src, dst=dst) / TCP(sport=sport, dport=dport, flags=flags, **given)


def ping(src=A.address, dst=NET, id_=7, seq=1, kind=PINGED, **ip):
    return IP(src=src, dst=dst, **ip) / ICMP(type=kind, id=id_, seq=seq) / Raw(b"ping")


def gre(src=A.address, dst=NET, data=b"\0\0\x08\0data"):
    return IP(src=src, dst=dst, proto=47) / Raw(data)


def answer(seen, flags="SA", data=b"answer"):
    """What the receiver of this packet sends back."""
    ip = seen.ip
    back = IP(src=ip.dst, dst=ip.src, proto=ip.proto)
    if TCP in ip:
        return back / TCP(sport=ip.dport, dport=ip.sport, flags=flags) / Raw(data)
    if UDP in ip:
        return back / UDP(sport=ip.dport, dport=ip.sport) / Raw(data)
    if ICMP in ip:
        return back / ICMP(type=PONG, id=ip[ICMP].id, seq=ip[ICMP].seq) / Raw(data)
    return back / Raw(data)


def complaint(seen, src: str, kind=3, code=3, mtu=0, quote: int | None = None):
    """An ICMP error from `src` about a packet it received; quote: bytes of it, None: all."""
    ip = bytes(seen.ip)[:quote]
    head = {"nexthopmtu": mtu} if (kind, code) == (3, 4) else {}
    return IP(src=src, dst=seen.ip.src) / ICMP(type=kind, code=code, **head) / Raw(ip)


def inside(seen):
    """The packet that an ICMP error quotes, as scapy reads it."""
    assert ICMP in seen.ip
    return seen.ip[IPerror]


def ports(ip) -> tuple[int, int]:
    for layer in (TCP, UDP, TCPerror, UDPerror):
        if layer in ip:
            return ip[layer].sport, ip[layer].dport
    for layer in (ICMP, ICMPerror):
        if layer in ip:
            return ip[layer].id, ip[layer].id
    return 0, 0


def flow(seen) -> tuple[str, str, int, int]:
    """Source, destination and ports (or identifiers) of a packet that left."""
    return seen.ip.src, seen.ip.dst, *ports(seen.ip)


def one(sent: list[Seen]) -> Seen:
    """What was sent: this and no more."""
    (seen,) = sent
    return seen


def prohibited(sent) -> bool:
    """The one answer: no session for you (RFC 5508 REQ-8)."""
    seen = one(sent)
    told = seen.ip[ICMP]
    return seen.role == "downlink" and (told.type, told.code) == (3, 13)
