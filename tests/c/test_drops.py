"""Every reason of reasons.def, provoked: one frame, one drop, counted there and nowhere else."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q

from pcg.datapath.lib import Datapath
from pcg.reconcile.touches import NOTHING
from tests.c import dhcp, wire
from tests.c.conftest import assert_accounted
from tests.c.places import (
    APP,
    DOWN_MAC,
    FEW,
    GATEWAY,
    LONE,
    LOST,
    NET,
    NEWCOMER,
    PLAIN,
    POOL_A,
    RED,
    ROUTED,
    SERVER,
    TEP,
    TEP2,
    TINY,
    TRANSIT,
    WEB,
    WHOLE,
    A,
    B,
    C,
)
from tests.c.world import World, nat, over, to_public
from tests.oracle.fragments import cut

GATEWAY_OF_WEB = GATEWAY[WEB][0]
STRANGER = "10.99.3.99"
EVERYBODY = "ff:ff:ff:ff:ff:ff"
OUTER_ERROR = wire.plain(IP(src="10.99.3.1", dst=TEP) / ICMP(type=3, code=4), dst=DOWN_MAC)
V6_DOWN = wire.plain(IPv6(), dst=DOWN_MAC)


class Row(NamedTuple):
    reason: str
    what: str
    provoke: Callable[[World], object]


def udp(vm=A, dst=NET, sport=1000, dport=53, **ip):
    return IP(**{"src": vm.address, "dst": dst, **ip}) / UDP(sport=sport, dport=dport)


def tcp(flags, vm=A, dst=NET, sport=1000, dport=80, **given):
    return IP(src=vm.address, dst=dst) / TCP(sport=sport, dport=dport, flags=flags, **given)


def inwards(dst=SERVER, proto=UDP, sport=1000, dport=7000, src=NET, **ip):
    return IP(src=src, dst=dst.secondary, **ip) / proto(sport=sport, dport=dport)


def raw(role: str, frame: bytes) -> Callable[[World], object]:
    return lambda w: w.inject(role, frame)


def down(packet, vm=A, **given) -> Callable[[World], object]:
    return lambda w: w.down(vm, packet, **given)


def up(packet, **eth) -> Callable[[World], object]:
    return lambda w: w.up(packet, **eth)


def tunnel(inner: bytes, **given) -> bytes:
    """A tunnel frame of A whose inner bytes are these alone."""
    whole = over(A, b"", **given)
    at = len(whole) - 14
    return rebuilt(whole[:at] + inner)


def rebuilt(frame: bytes) -> bytes:
    """The same frame with outer lengths and checksums made new."""
    ip = IP(frame[14:])
    del ip.len, ip.chksum, ip[UDP].len, ip[UDP].chksum
    return frame[:14] + bytes(ip)


def arp(op=1, src=A.address, mac=A.mac, dst=GATEWAY_OF_WEB, **given):
    return ARP(op=op, psrc=src, hwsrc=mac, pdst=dst, **given)


def error(about, src=B.address, dst=NET, kind=3, code=1):
    return IP(src=src, dst=dst) / ICMP(type=kind, code=code) / about


def quoted(src, dst, sport=1, dport=2):
    return IPerror(src=src, dst=dst) / UDPerror(sport=sport, dport=dport)


def without_nat(name: str, packet, vm=A) -> Callable[[World], object]:
    def provoke(w: World) -> None:
        del w.policy.nat[name]
        w.commit()
        w.down(vm, packet)

    return provoke


def asking(vm=NEWCOMER, vni=None, tep=None, **given) -> Callable[[World], object]:
    """A DHCP request to somebody who reads, with something wrong about it."""

    def provoke(w: World) -> None:
        relay = dhcp.Relay(dhcp.serve(w).dp)
        packet = dhcp.ask(vm, **given)
        w.inject("downlink", dhcp.asked(vm, packet, vni=vni or WEB, tep=tep))
        assert relay.read() == []

    return provoke


def asking_too_much(reserve: int, **rates) -> Callable[[World], object]:
    """As often as the reserve allows, and once more."""

    def provoke(w: World) -> None:
        w.policy.quota = rates
        relay = dhcp.Relay(dhcp.serve(w).dp)
        w.inject("downlink", *[dhcp.asked()] * (reserve + 1))
        assert len(relay.read()) == reserve

    return provoke


def asking_until_full(w: World) -> None:
    w.policy.quota = {"dhcp_each": 1_000_000, "dhcp_all": 1_000_000}
    dhcp.Relay(dhcp.serve(w).dp)
    frame = dhcp.asked(packet=dhcp.ask() / bytes(8800))
    while not w.dp.drops():
        w.inject("downlink", frame)
        w.now_s += 0.01


def reader_gone(w: World) -> None:
    relay = dhcp.Relay(dhcp.serve(w).dp)
    w.inject("downlink", dhcp.asked())
    relay.dp.punts_close()


def ports_exhausted(w: World) -> None:
    for sport in range(1000, 1004):
        assert w.down(TINY, udp(TINY, sport=sport))
    w.down(TINY, udp(TINY, sport=1004))


def quota(**given) -> Callable[[World], object]:
    """A's second session, or second port, is one too many."""

    def provoke(w: World) -> None:
        w.policy.nat["snat"] = w.policy.nat["snat"]._replace(**given)
        w.commit()
        assert w.down(A, udp(sport=1))
        w.down(A, udp(sport=2))

    return provoke


def filtered(w: World) -> None:
    (sent,) = w.down(A, udp())
    w.up(IP(src="198.51.100.77", dst=sent.ip.src) / UDP(sport=53, dport=sent.ip.sport))


def conflict(w: World) -> None:
    """Two public addresses lead one peer's packets to one endpoint: the replies look the same."""
    w.policy.nat["again"] = nat(11, 0, to_public(FEW, 17, 9000, 9000), target=B)
    w.commit()
    assert w.up(inwards(SERVER, dport=7000))
    w.up(inwards(FEW, dport=9000))


def port_gone_before_the_sweep(w: World) -> None:
    assert w.up(inwards())
    w.dp.delete("ports", [B.record])
    w.up(inwards())


def elastic_gone_before_the_mark(w: World) -> None:
    assert w.down(A, udp(dst=SERVER.elastic, dport=7000))
    w.policy.publics = tuple(p for p in w.policy.publics if p is not SERVER)
    w.commit([NOTHING])
    w.down(A, udp(dst=SERVER.elastic, dport=7000))


def routed_no_more(w: World) -> None:
    """A commit that names no sessions: the path has to see for itself."""
    assert w.down(PLAIN, tcp("S", PLAIN))
    for segment in w.policy.segments:
        if segment.vni == ROUTED:
            w.policy.segments = [s for s in w.policy.segments if s is not segment]
            w.policy.segments.append(segment._replace(flags=0))
    w.commit([NOTHING])
    w.down(PLAIN, tcp("S", PLAIN))


def exempt_no_more(w: World) -> None:
    assert w.down(A, tcp("S", dst="172.16.5.5"))
    w.policy.nat["no_snat"] = w.policy.nat["no_snat"]._replace(action=1, n_pool=1)
    w.commit([NOTHING])
    w.down(A, tcp("S", dst="172.16.5.5"))


def learnt_by_nobody(w: World) -> None:
    w.down(A, udp(), tep=TEP2)


def twice(w: World) -> None:
    packet = bytes(inwards() / bytes(8))
    first, second = (wire.plain(p, type=0x0800) for p in cut(packet, 28))
    assert w.inject("uplink", first, first, second)


def overlapping(w: World) -> None:
    w.up(inwards(flags="MF"))
    w.up(inwards(flags="MF", sport=1001))
    assert w.drops() == {"FRAGMENT_OVERLAP": 2}
    w.up(inwards(frag=1))  # what still comes of it


def wide_pieces(w: World) -> None:
    """DF, and wider than the uplink: the sender is told."""
    whole = bytes(udp(flags="DF") / bytes(3000))
    for piece in cut(whole, 1516, df=True):
        w.down(A, piece, inner={"type": 0x0800})


def waiting(seconds: float) -> Callable[[World], object]:
    def provoke(w: World) -> None:
        w.up(inwards(flags="MF"))
        w.sweep(after_s=seconds)

    return provoke


def one_datagram_too_many(w: World) -> None:
    for id_ in range(129):
        w.up(inwards(flags="MF", id=id_))


ROWS = [
    # frame and outer headers
    Row("FRAME_SHORT", "nothing at all", raw("downlink", b"")),
    Row("FRAME_SHORT", "cut in the Ethernet header", raw("downlink", bytes(13))),
    Row("FRAME_SHORT", "on the uplink", raw("uplink", bytes(13))),
    Row("FRAME_SHORT", "inside the tunnel", raw("downlink", tunnel(bytes(13)))),
    Row("MAC_NOT_OURS", "downlink", down(udp(), eth={"dst": "02:00:00:00:00:77"})),
    Row("MAC_NOT_OURS", "uplink", up(inwards(), dst="02:00:00:00:00:77")),
    Row("MAC_NOT_OURS", "uplink, broadcast", up(inwards(), dst=EVERYBODY)),
    Row("MAC_NOT_OURS", "another segment's gateway", down(udp(), inner_dst=GATEWAY[APP][1])),
    Row("MAC_NOT_OURS", "inner broadcast (RFC 1812 5.3.4)", down(udp(), inner_dst=EVERYBODY)),
    Row("ETHERTYPE", "IPv6 on the underlay", raw("downlink", V6_DOWN)),
    Row("ETHERTYPE", "IPv6 on the uplink", up(IPv6())),
    Row("ETHERTYPE", "a VLAN tag", up(Dot1Q(vlan=7) / inwards())),
    Row("ETHERTYPE", "IPv6 inside", down(IPv6())),
    Row("NOT_OWNED", "the primary address", up(IP(src=NET, dst="10.99.1.2") / UDP())),
    Row("NOT_OWNED", "a segment that is not routed", up(IP(src=NET, dst=A.address) / UDP())),
    Row("OUTER_IP_BAD", "version 6", down(udp(), outer={"version": 6})),
    Row("OUTER_IP_BAD", "header of 16 bytes", down(udp(), outer={"ihl": 4})),
    Row("OUTER_IP_BAD", "longer than the frame", down(udp(), outer={"len": 2000})),
    Row("OUTER_IP_BAD", "no room for UDP", down(udp(), outer={"len": 27})),
    Row("OUTER_IP_CHECKSUM", "wrong", down(udp(), outer={"chksum": 1})),
    Row("OUTER_NOT_TUNNEL", "another port", down(udp(), udp={"dport": 6082})),
    Row("OUTER_NOT_TUNNEL", "another address", down(udp(), outer={"dst": "10.99.3.9"})),
    Row("OUTER_NOT_TUNNEL", "not UDP", down(udp(), outer={"proto": 6})),
    Row("OUTER_ICMP", "about nothing of ours", raw("downlink", OUTER_ERROR)),
    Row("OUTER_UDP_LENGTH", "too long", down(udp(), udp={"len": 500})),
    Row("OUTER_UDP_LENGTH", "too short", down(udp(), udp={"len": 8})),
    Row("OUTER_UDP_CHECKSUM", "wrong", down(udp(), udp={"chksum": 1})),
    # tunnel; more rows in test_geneve.py
    Row("GENEVE_SHORT", "no header", raw("downlink", rebuilt(over(A, b"")[:49]))),
    Row("GENEVE_VERSION", "1", down(udp(), ver=1)),
    Row("GENEVE_CONTROL", "the O bit", down(udp(), flags=0xC0)),
    Row("GENEVE_PROTO", "IPv4 without Ethernet", down(udp(), proto=0x0800)),
    Row("GENEVE_OPTION_BAD", "longer than the header says", down(udp(), options=b"\1\2\3\2" * 2)),
    Row("GENEVE_CRITICAL", "not ours", down(udp(), options=bytes.fromhex("0105800000000000"))),
    Row("TEP_UNKNOWN", "a stranger", down(udp(), tep="10.99.3.99")),
    Row("VNI_UNKNOWN", "of no segment", down(udp(), vni=77)),
    Row("SOURCE_SPOOFED", "no such port", down(udp(src="192.168.99.250"))),
    Row("SOURCE_SPOOFED", "another TEP's port", learnt_by_nobody),
    Row("SOURCE_SPOOFED", "another segment's VNI", down(udp(), vni=APP)),
    Row("SOURCE_SPOOFED", "another VRF's", down(udp(B), vm=RED)),
    Row("SOURCE_SPOOFED", "ARP for another", down(arp(src=C.address), vni=WEB)),
    Row("SOURCE_SPOOFED", "ARP with another's MAC", down(arp(mac=C.mac), vni=WEB)),
    Row("SOURCE_SPOOFED", "ARP over the transit", down(arp())),
    # inner and uplink IP
    Row("ARP_BAD", "cut short", down(bytes(arp())[:27], vni=WEB, inner={"type": 0x0806})),
    Row("ARP_BAD", "not for IPv4", down(arp(ptype=0x86DD), vni=WEB)),
    Row("ARP_BAD", "on the uplink", up(arp(hwlen=8, dst=SERVER.secondary))),
    Row("ARP_NOT_OURS", "for a neighbour", down(arp(dst=C.address), vni=WEB)),
    Row("ARP_NOT_OURS", "a reply", down(arp(op=2), vni=WEB)),
    Row("ARP_NOT_OURS", "a probe, RFC 5227", down(arp(src="0.0.0.0", dst=C.address), vni=WEB)),
    Row("ARP_NOT_OURS", "uplink, for a stranger", up(arp(dst="10.99.1.2"))),
    Row("IP_BAD", "version 6", down(udp(version=6))),
    Row("IP_BAD", "longer than the frame", down(udp(len=500))),
    Row("IP_BAD", "shorter than its header", down(udp(len=19))),
    Row("IP_BAD", "uplink, header cut", raw("uplink", wire.plain(inwards())[:33])),
    Row("IP_CHECKSUM", "wrong", down(udp(chksum=1))),
    Row("IP_CHECKSUM", "uplink", up(inwards(chksum=1))),
    Row("ECN_CONGESTED", "CE outside, no ECN inside", down(udp(), outer={"tos": 3})),
    Row("IP_OPTIONS", "record route", down(udp(options=[b"\7\7\4\0\0\0\0"]))),
    Row("FRAGMENT_BAD", "outer, no multiple of 8", down(udp(), outer={"flags": "MF"})),
    Row("FRAGMENT_BAD", "no multiple of 8", down(udp(flags="MF") / bytes(1))),
    Row("FRAGMENT_BAD", "beyond 65,535", up(inwards(frag=8191))),
    Row("FRAGMENT_BAD", "of nothing", down(IP(src=A.address, dst=NET, flags="MF"))),
    Row("FRAGMENT_DUPLICATE", "the same twice", twice),
    Row("FRAGMENT_OVERLAP", "another one at its place", overlapping),
    Row("FRAGMENT_TIMEOUT", "alone for 15 seconds", waiting(15)),
    Row("FRAGMENTS_FULL", "one more than are kept", one_datagram_too_many),
    Row("SOURCE_SPOOFED", "a fragment", down(udp(src=C.address, flags="MF"))),
    Row("TEP_UNKNOWN", "an outer fragment", down(udp(), tep=STRANGER, outer={"frag": 9})),
    Row("IP_MARTIAN", "from loopback", down(udp(src="127.0.0.1"))),
    Row("IP_MARTIAN", "to multicast", down(udp(dst="224.0.0.5"))),
    Row("LAND", "to itself", down(udp(dst=A.address))),
    Row("LAND", "uplink, to itself", up(inwards(src=SERVER.secondary))),
    Row("LAND", "to the address it leaves by", down(udp(TINY, dst=FEW.secondary), TINY)),
    Row("IP_MARTIAN", "uplink, from 0.0.0.1", up(inwards(src="0.0.0.1"))),
    Row("IP_MARTIAN", "uplink, from 255.255.255.255", up(inwards(src="255.255.255.255"))),
    Row("UPLINK_SPOOFED", "from an Elastic IP", up(inwards(src=POOL_A.elastic))),
    Row("UPLINK_SPOOFED", "from a secondary", up(inwards(src=POOL_A.secondary))),
    Row("UPLINK_SPOOFED", "from a segment", up(inwards(src=A.address))),
    Row("UPLINK_SPOOFED", "a SYN", up(inwards(WHOLE, TCP, src=SERVER.elastic))),
    Row("UPLINK_SPOOFED", "a fragment", up(inwards(src=POOL_A.elastic, flags="MF") / bytes(8))),
    Row("L4_SHORT", "TCP cut", down(IP(src=A.address, dst=NET, proto=6) / bytes(19))),
    Row("L4_SHORT", "TCP header longer than the packet", down(tcp("S", dataofs=15))),
    Row("L4_SHORT", "TCP header of 16 bytes", down(tcp("S", dataofs=4))),
    Row("L4_SHORT", "UDP cut", down(IP(src=A.address, dst=NET, proto=17) / bytes(7))),
    Row("L4_SHORT", "UDP length", down(IP(src=A.address, dst=NET) / UDP(len=9))),
    Row("L4_SHORT", "ICMP cut", down(IP(src=A.address, dst=NET, proto=1) / bytes(7))),
    Row("L4_SHORT", "an error that quotes too little", down(error(bytes(27), src=A.address))),
    Row("ICMP_UNSUPPORTED", "timestamp", down(IP(src=A.address, dst=NET) / ICMP(type=13))),
    Row("ICMP_UNSUPPORTED", "redirect", up(IP(src=NET, dst=WHOLE.secondary) / ICMP(type=5))),
    Row("ICMP_NO_SESSION", "about nothing", down(error(quoted(NET, A.address), src=A.address))),
    Row("ICMP_NO_SESSION", "an echo reply", down(IP(src=A.address, dst=NET) / ICMP(type=0))),
    Row("TTL_EXPIRED", "outwards", down(udp(ttl=1))),
    Row("TTL_EXPIRED", "between segments", down(udp(dst=B.address, ttl=1))),
    Row("TTL_EXPIRED", "inwards", up(inwards(ttl=1))),
    Row("DHCP_NOT_SERVED", "no scope", raw("downlink", dhcp.asked(B))),
    Row("DHCP_NOT_SERVED", "by the transit", asking(vni=TRANSIT)),
    Row("DHCP_PORT_UNKNOWN", "another MAC", asking(vm=NEWCOMER._replace(mac="0a:00:00:00:99:bb"))),
    Row("DHCP_PORT_UNKNOWN", "another TEP", asking(tep=TEP2)),
    Row("DHCP_SERVER", "an offer to all", asking(ports=(67, 68))),
    Row("DHCP_SERVER", "a relay, to the gateway", asking(ports=(67, 67), dst=GATEWAY_OF_WEB)),
    Row("DHCP_SERVER", "an offer to a workload", down(udp(dst=B.address, sport=67, dport=68))),
    Row("DHCP_SERVER", "a reply to the server's port", asking(op=2)),
    Row("DHCP_SPOOFED", "chaddr", asking(chaddr=bytes(6))),
    Row("DHCP_RELAYED", "giaddr", asking(giaddr="192.168.99.9")),
    Row("DHCP_BAD", "no cookie", asking(options=b"")),
    Row("DHCP_BAD", "not Ethernet", asking(htype=6)),
    Row("DHCP_CHECKSUM", "UDP", asking(udp={"chksum": 1})),
    Row("DHCP_RATE_PORT", "one too many", asking_too_much(dhcp_each=1, reserve=2)),
    Row("DHCP_RATE", "one too many", asking_too_much(dhcp_all=2, reserve=2)),
    Row("PUNT_FULL", "nobody takes them", asking_until_full),
    Row("PUNT_NOBODY", "nobody reads", lambda w: dhcp.serve(w).inject("downlink", dhcp.asked())),
    Row("PUNT_NOBODY", "the reader went", reader_gone),
    Row("IP_MARTIAN", "DHCP from loopback", asking(src="127.0.0.1")),
    Row("SOURCE_SPOOFED", "DHCP from another's address", asking(src=A.address)),
    Row("GATEWAY_ADDRESSED", "not a ping", down(udp(dst=GATEWAY_OF_WEB), vni=WEB)),
    Row("GATEWAY_ADDRESSED", "a port", down(tcp("S", dst=GATEWAY_OF_WEB), vni=WEB)),
    # decision
    Row("NO_ROUTE", "no default route", down(udp(RED, dst="192.0.2.1"), vm=RED)),
    Row("NO_ROUTE", "no way back", up(inwards(src="192.168.100.200"))),
    Row("BLACKHOLE", "a /32 inside a segment", down(udp(dst="192.168.100.200"))),
    Row("PORT_UNKNOWN", "in the segment, but no port", down(udp(dst="192.168.100.99"))),
    Row("PORT_UNKNOWN", "gone since", port_gone_before_the_sweep),
    Row("NO_NAT", "no rule", down(udp(LONE), vm=LONE)),
    Row("NO_NAT", "none any more", without_nat("snat", udp())),
    Row("NO_DNAT", "nobody's port", up(inwards(dport=9))),
    Row("NO_DNAT", "another protocol", up(inwards(proto=TCP, dport=7000))),
    Row("NO_DNAT", "a NO_DNAT rule", up(inwards(proto=TCP, dport=23))),
    Row("NO_DNAT", "a pool's address, unasked", up(inwards(POOL_A))),
    Row("NAT_FILTERED", "a stranger to the mapping", filtered),
    Row("NAT_PORTS_EXHAUSTED", "four ports, five endpoints", ports_exhausted),
    Row("NAT_PROTOCOL", "GRE from a pool", down(IP(src=A.address, dst=NET, proto=47) / bytes(8))),
    Row("QUOTA_SESSIONS", "one allowed by the rule", quota(sessions_each=1)),
    Row("QUOTA_PORTS", "one allowed by the rule", quota(ports_each=1)),
    Row("SESSION_CONFLICT", "two doors to one endpoint", conflict),
    Row("TCP_NO_SESSION", "a late ACK outwards", down(tcp("A"))),
    Row("TCP_NO_SESSION", "SYN and FIN at once", down(tcp("SF"))),
    Row("TCP_NO_SESSION", "a scan inwards", up(IP(src=NET, dst=WHOLE.secondary) / TCP(flags="A"))),
    Row("FIREWALL_DENIED", "outwards, dropped", down(udp(dst="198.51.100.66"))),
    Row("FIREWALL_DENIED", "outwards, rejected", down(udp(dst="198.51.100.67"))),
    Row("FIREWALL_DENIED", "inwards", up(inwards(src="198.51.100.68"))),
    # leaving
    Row("TOO_BIG", "uplink, DF", down(udp(flags="DF") / bytes(1500))),
    Row("TOO_BIG", "a fragment with DF", wide_pieces),
    Row("NEIGHBOUR_UNRESOLVED", "next hop without MAC", down(udp(dst="100.64.1.1"))),
    Row("NEIGHBOUR_UNRESOLVED", "unknown next hop", down(udp(dst="100.127.1.1"))),
    Row("NEIGHBOUR_UNRESOLVED", "TEP without MAC", down(udp(dst=LOST.address))),
    Row("EGRESS_SOURCE", "its segment is routed no more", routed_no_more),
    Row("EGRESS_SOURCE", "its rule exempts it no more", exempt_no_more),
    Row("HAIRPIN_LOOP", "an Elastic IP that has gone", elastic_gone_before_the_mark),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.reason}: {row.what}")
def test_provoked(world, row):
    """RFC 1812 section 4.2.2.1, RFC 1812 section 5.2.2, RFC 1812 section 5.3.4, RFC 1812 section
    5.3.7, RFC 1812 section 5.3.8.
    """
    row.provoke(world)
    assert world.drops() == {row.reason: 1}


def small(**given) -> Datapath:
    return Datapath(**{"sessions": 1024, "workload_addresses": 1024, "fresh": True, **given})


def test_session_table_full(built):
    with small() as dp:
        dp.nic_add("up0", "uplink")
        dp.nic_add("down0", "downlink")
        w = World(dp)
        w.inject("downlink", *[over(A, udp(sport=1 + i)) for i in range(1025)])
        assert w.drops() == {"SESSIONS_FULL": 1}
        assert dp.totals()["sessions"] == 1024
        w.sweep(after_s=301)
        assert dp.totals()["sessions"] == dp.totals()["mappings"] == 0
        assert w.down(A, udp())
        assert_accounted(dp)


def test_mapping_table_full(built):
    with small(mappings=8) as dp:
        dp.nic_add("up0", "uplink")
        dp.nic_add("down0", "downlink")
        w = World(dp)
        w.inject("downlink", *[over(A, udp(sport=1 + i)) for i in range(9)])
        assert w.drops() == {"NAT_MAPPINGS_FULL": 1}
        assert dp.totals()["sessions"] == 8  # the ninth left nothing behind
        w.sweep(after_s=301)
        assert w.down(A, udp(sport=9))
        assert_accounted(dp)


def test_no_port_to_leave_by(built):
    with small() as dp:
        dp.nic_add("down0", "downlink")
        w = World(dp)
        w.down(A, udp())
        assert w.drops() == {"EGRESS_NO_PORT": 1}
        assert_accounted(dp)


OF_THEIR_OWN = {"SESSIONS_FULL", "NAT_MAPPINGS_FULL", "EGRESS_NO_PORT"}
PROVOKES = {row.reason for row in ROWS} | OF_THEIR_OWN
