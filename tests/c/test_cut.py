"""Every parser, cut anywhere: each prefix of a valid frame is dropped and counted, never read past.

Outer lengths are mended to fit what is left, so that the cut reaches the parser behind them. Run
under AddressSanitizer too (`make test-asan`), where the buffer ends with the frame.
"""

import pytest
from scapy.layers.inet import ICMP, IP, IPerror, UDPerror
from scapy.layers.l2 import ARP, Ether

from tests.c import wire
from tests.c.packets import gre, ping, tcp, udp
from tests.c.places import GATEWAY, NET, SERVER, WEB, WHOLE, A
from tests.c.test_drops import rebuilt
from tests.c.world import over

ERROR = IP(src=NET, dst=WHOLE.secondary) / ICMP(type=3, code=1) / IPerror(dst=NET) / UDPerror()
ARP_UP = ARP(op=1, psrc="10.99.1.1", pdst=SERVER.secondary)
ARP_DOWN = ARP(op=1, psrc=A.address, hwsrc=A.mac, pdst=GATEWAY[WEB][0])

UPLINK = {
    "tcp": tcp("S", NET, SERVER.secondary),
    "udp": udp(NET, SERVER.secondary, dport=7000),
    "icmp": ping(NET, WHOLE.secondary),
    "icmp error": ERROR,
    "gre": gre(NET, WHOLE.secondary),
    "arp": ARP_UP,
}
OVERLAY = {"tcp": tcp("S"), "udp": udp(), "icmp": ping(), "arp": ARP_DOWN}


def cuts(frame: bytes) -> list[bytes]:
    return [frame[:n] for n in range(len(frame))]


def shortened(packet, n: int) -> bytes:
    """The first n bytes of an IP packet whose header is right about them."""
    whole = bytes(packet)
    ip = IP(whole[:n])
    del ip.len, ip.chksum
    return bytes(ip)


@pytest.mark.parametrize("packet", UPLINK.values(), ids=UPLINK)
def test_uplink_frame(world, packet):
    frame = wire.plain(packet)
    assert world.inject("uplink", *cuts(frame)) == []
    assert sum(world.drops().values()) == len(frame)


@pytest.mark.parametrize("packet", OVERLAY.values(), ids=OVERLAY)
def test_tunnel_frame(world, packet):
    """The outer header's length does not fit what is left."""
    frame = over(A, packet, vni=WEB)
    assert world.inject("downlink", *cuts(frame)) == []
    drops = world.drops()
    assert sum(drops.values()) == len(frame)
    assert set(drops) == {"FRAME_SHORT", "OUTER_IP_BAD"}


@pytest.mark.parametrize("packet", OVERLAY.values(), ids=OVERLAY)
def test_inner_frame(world, packet):
    """The outer header is right about what is left."""
    frame = over(A, packet, vni=WEB)
    inner = frame.index(bytes(Ether(dst=GATEWAY[WEB][1], src=A.mac))[:12])
    assert world.inject("downlink", *[rebuilt(frame[:n]) for n in range(42, len(frame))]) == []
    drops = world.drops()
    assert sum(drops.values()) == len(frame) - 42
    assert drops["GENEVE_SHORT"] == inner - 42
    assert drops["FRAME_SHORT"] == 14


@pytest.mark.parametrize("name", ["tcp", "udp", "icmp", "icmp error"])
def test_l4_header(world, name):
    """The IP header, too, is right about what is left: only the L4 parser can see the cut."""
    least = {"tcp": 20, "udp": 8, "icmp": 8, "icmp error": 8 + 28}[name]
    packets = [shortened(UPLINK[name], 20 + n) for n in range(least)]
    assert world.inject("uplink", *[wire.plain(packet, type=0x0800) for packet in packets]) == []
    assert world.drops() == {"L4_SHORT": least}


def test_ip_header(world):
    whole = bytes(UPLINK["udp"])
    frames = [wire.plain(whole[:n], type=0x0800) for n in range(20)]
    assert world.inject("uplink", *frames) == []
    assert world.drops() == {"IP_BAD": 20}


@pytest.mark.parametrize("length", range(61))
def test_any_claim_of_ip_length(world, length):
    """RFC 1812 section 5.2.2: the packet has 32 bytes; more is refused, less leaves UDP's own
    length wrong.
    """
    packet = udp(NET, SERVER.secondary, dport=7000, len=length)
    sent = world.up(packet)
    assert bool(sent) == (length == 32)
    assert sum(world.drops().values()) == (length != 32)


@pytest.mark.parametrize("words", range(16))
def test_any_claim_of_tcp_header_length(world, words):
    sent = world.up(tcp("S", NET, WHOLE.secondary, dataofs=words))
    assert bool(sent) == (words == 5)
    assert world.drops() == ({} if words == 5 else {"L4_SHORT": 1})


def test_arp_of_the_uplink_is_answered_whole_or_not_at_all(world):
    (sent,) = world.inject("uplink", wire.plain(ARP_UP, dst="ff:ff:ff:ff:ff:ff"))
    assert sent.ip.op == 2


def test_longest_frame(world):
    """PCGDP_FRAME_MAX bytes; one more is no frame of ours."""
    packet = udp(NET, SERVER.secondary, dport=7000, data=bytes(9216 - 14 - 28), flags="DF")
    assert [seen.ip[ICMP].nexthopmtu for seen in world.up(packet)] == [8943]
    assert world.drops() == {"TOO_BIG": 1}
    before = world.dp.totals()["rx"]
    world.inject("uplink", bytes(9217))
    assert world.dp.totals()["rx"] == before
