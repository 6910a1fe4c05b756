"""Between segments, towards the gateway itself, by route: what needs no translation."""

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP

from pcg.reconcile import records as r
from tests.c import wire
from tests.c.packets import PONG, flow, gre, one, ping, tcp, udp
from tests.c.places import (
    APP,
    GATEWAY,
    HOP,
    HOP_MAC,
    LONE,
    LONELY,
    NET,
    POOL_A,
    RED,
    RED_WEB,
    SERVER,
    THIN,
    TRANSIT,
    UP_MAC,
    WEB,
    A,
    B,
    C,
    R,
    ip,
    mac,
)
from tests.c.world import over

EVERYBODY = "ff:ff:ff:ff:ff:ff"


class TestBetweenSegments:
    @pytest.mark.parametrize("vni", [WEB, TRANSIT], ids=["segment", "transit"])
    @pytest.mark.parametrize("packet", [udp, gre, ping], ids=["udp", "gre", "icmp"])
    def test_routed(self, world, vni, packet):
        sent = one(world.down(A, packet(dst=B.address), vni=vni))
        assert (sent.ip.src, sent.ip.dst, sent.ip.ttl) == (A.address, B.address, 63)
        assert (sent.vni, sent.tep, sent.eth.dst) == (APP, B.tep, B.mac)
        assert sent.eth.src == GATEWAY[APP][1]
        assert world.dp.totals()["sessions"] == 0  # stateless: the reply may go another way

    def test_any_tcp_segment_passes(self, world):
        for flags in ("S", "SA", "A", "FA", "R", "SF"):
            assert world.down(A, tcp(flags, dst=B.address))

    def test_to_the_same_tep_and_to_the_same_segment(self, world):
        assert one(world.down(A, udp(dst=R.address))).tep == A.tep
        assert one(world.down(A, udp(dst=C.address))).vni == WEB

    def test_not_into_another_vrf(self, world):
        """RED has A's very address; from A's VRF it cannot be meant."""
        world.dp.put("ports", [RED._replace(address="192.168.99.200").record])
        (told,) = world.down(A, udp(dst="192.168.99.200"))
        assert (told.tep, told.ip.dst, told.ip[ICMP].type) == (A.tep, A.address, 3)
        assert world.drops() == {"PORT_UNKNOWN": 1}

    def test_the_firewall_is_not_asked(self, world):
        world.policy.defaults = (1, 1)
        world.commit()
        assert world.down(A, udp(dst=B.address))
        assert not world.down(A, udp())

    def test_no_option_towards_a_tep_that_takes_none(self, world):
        assert one(world.down(A, udp(dst=THIN.address))).tep == THIN.tep

    def test_source_port_follows_the_flow(self, world):
        """RFC 8926 section 3.3."""
        sports = [one(world.down(A, udp(dst=B.address, sport=s))).sport for s in range(1, 40)]
        assert len(set(sports)) > 30
        assert one(world.down(A, udp(dst=B.address, sport=1))).sport == sports[0]

    @pytest.mark.parametrize("tos", [0, 0b10111000, 1, 2, 3])
    def test_dscp_and_ecn_go_onto_the_outer_header(self, world, tos):
        """RFC 6040 section 4.1."""
        assert one(world.down(A, udp(dst=B.address, tos=tos))).ip.tos == tos

    def test_without_the_outer_checksum(self, world):
        """RFC 8926 section 4.3."""
        world.policy.udp_checksum = 0
        world.commit()
        assert world.down(A, udp(dst=B.address))

    @pytest.mark.parametrize("n", [*range(20), 100, 1399, 1400, 8000])
    def test_any_length(self, world, n):
        """Odd lengths and the outer checksum from headers alone."""
        data = bytes(i % 251 for i in range(n))
        sent = one(world.down(A, udp(dst=B.address, data=data)))
        assert len(sent.ip) == 28 + n

    def test_zero_inner_checksum(self, world):
        packet = udp(dst=B.address)
        packet[UDP].chksum = 0
        assert one(world.down(A, packet)).ip[UDP].chksum == 0

    def test_counters_of_segments(self, world):
        world.down(A, udp(dst=B.address), vni=WEB)
        rows = {row["id"]: row for row in world.dp.counters("segments")}
        assert (rows[WEB]["in_packets"], rows[WEB]["out_packets"]) == (1, 0)
        assert (rows[APP]["in_packets"], rows[APP]["out_packets"]) == (0, 1)

    def test_a_removed_segments_counters_are_anothers(self, world):
        """More VNIs than there are places, a few at a time; each begins at nothing."""
        world.down(A, udp(dst=B.address), vni=WEB)
        others = [s for s in world.policy.segments if s.vni != WEB]
        template = next(s for s in others if s.vni == LONELY)
        for round_ in range(8):
            more = [template._replace(vni=100_000 * (round_ + 1) + i) for i in range(9000)]
            world.dp.commit(world.policy.tables() | {"segments": [*others, *more]}, round_)
            rows = {row["id"]: row for row in world.dp.counters("segments")}
            assert set(rows) == {s.vni for s in [*others, *more]}
            assert rows[APP]["out_packets"] == 1
            assert sum(rows[s.vni]["in_packets"] for s in more) == 0
        world.commit()
        world.down(A, udp(dst=B.address), vni=WEB)
        rows = {row["id"]: row for row in world.dp.counters("segments")}
        assert (rows[WEB]["in_packets"], rows[APP]["out_packets"]) == (1, 2)


class TestRoutes:
    def test_longest_prefix_wins(self, world):
        world.dp.put("nexthops", [r.Nexthops(ip("10.99.1.9"), mac("0e:00:00:00:00:09"), 1)])
        for prefix, length in (("198.51.0.0", 16), ("198.51.100.9", 32)):
            route = r.Routes(0, ip(prefix), length, 0, ip("10.99.1.9"), 0)
            world.policy.routes[f"{prefix}/{length}"] = route
        world.policy.routes["100"] = r.Routes(0, ip("198.51.100.0"), 24, 0, ip(HOP), 0)
        world.commit()
        ways = {"198.51.100.9": 9, "198.51.100.10": 1, "198.51.7.7": 9, "8.8.8.8": 1}
        for dst, by in ways.items():
            (sent,) = world.dp.inject("downlink", [over(A, udp(dst=dst))], world.now_ns)
            assert sent.frame[5] == by, dst

    def test_blackhole_inside_a_segment(self, world):
        world.dp.put("ports", [B._replace(address="192.168.100.200").record])
        assert not world.down(A, udp(dst="192.168.100.200"))
        assert world.drops() == {"BLACKHOLE": 1}

    def test_a_blackhole_holds_inwards_too(self, world):
        world.policy.routes["hole"] = r.Routes(0, ip(B.address), 32, 2, bytes(4), 0)
        world.commit()
        assert not world.up(udp(NET, SERVER.secondary, dport=7000))
        assert world.drops() == {"BLACKHOLE": 1}

    def test_no_default_route(self, world):
        del world.policy.routes["default"]
        world.commit()
        (told,) = world.down(A, udp())
        assert (told.role, told.ip.dst, told.ip[ICMP].type) == ("downlink", A.address, 3)
        assert world.drops() == {"NO_ROUTE": 1}


class TestGatewayItself:
    @pytest.mark.parametrize("vm, vni", [(A, WEB), (RED, RED_WEB)], ids=["blue", "red"])
    def test_arp_of_its_segment(self, world, vm, vni):
        asked = ARP(op=1, psrc=vm.address, hwsrc=vm.mac, pdst=GATEWAY[vni][0])
        sent = one(world.down(vm, asked, vni=vni, inner_dst=EVERYBODY))
        assert (sent.ip.op, sent.ip.hwsrc, sent.ip.psrc) == (2, GATEWAY[vni][1], GATEWAY[vni][0])
        assert (sent.ip.hwdst, sent.ip.pdst) == (vm.mac, vm.address)
        assert (sent.vni, sent.tep, sent.eth.dst) == (vni, vm.tep, vm.mac)

    def test_not_for_another_segments_gateway(self, world):
        asked = ARP(op=1, psrc=A.address, hwsrc=A.mac, pdst=GATEWAY[APP][0])
        assert not world.down(A, asked, vni=WEB, inner_dst=EVERYBODY)
        assert world.drops() == {"ARP_NOT_OURS": 1}

    @pytest.mark.parametrize("vni", [WEB, TRANSIT], ids=["segment", "transit"])
    @pytest.mark.parametrize("gateway", [WEB, APP], ids=["own", "another's"])
    def test_ping(self, world, vni, gateway):
        """RFC 792, RFC 1122 section 3.2.2.6."""
        asked = ping(dst=GATEWAY[gateway][0], id_=99, seq=3)
        sent = one(world.down(A, asked, vni=vni))
        assert (sent.ip.src, sent.ip.dst) == (GATEWAY[gateway][0], A.address)
        assert (sent.ip[ICMP].type, sent.ip[ICMP].id, sent.ip[ICMP].seq) == (PONG, 99, 3)
        assert bytes(sent.ip[ICMP].payload) == b"ping"
        assert (sent.vni, sent.eth.dst) == (WEB, A.mac)

    def test_ping_of_another_vrfs_workload(self, world):
        """The same address in two VRFs: the answer goes to the one that asked."""
        sent = one(world.down(RED, ping(RED.address, GATEWAY[RED_WEB][0])))
        assert (sent.vni, sent.tep) == (RED_WEB, RED.tep)

    def test_arp_of_secondary_addresses(self, world):
        for public in (POOL_A, SERVER):
            asked = ARP(op=1, psrc=HOP, hwsrc=HOP_MAC, pdst=public.secondary)
            sent = one(world.inject("uplink", wire.plain(asked, dst=EVERYBODY)))
            assert (sent.role, sent.ip.op, sent.ip.hwsrc) == ("uplink", 2, UP_MAC)
            assert (sent.ip.psrc, sent.ip.pdst, sent.ip.hwdst) == (public.secondary, HOP, HOP_MAC)

    def test_ping_from_outside_is_not_for_it(self, world):
        world.policy.segments = [s._replace(flags=1) for s in world.policy.segments]
        world.commit()
        assert not world.up(ping(NET, GATEWAY[WEB][0]))
        assert world.drops() == {"GATEWAY_ADDRESSED": 1}


def test_mtu_is_the_segments_or_the_underlays(world):
    """THIN's underlay takes 1500: 1450 inside, without our option."""
    assert world.down(A, udp(dst=THIN.address, data=bytes(1450 - 28)))
    (told,) = world.down(A, udp(dst=THIN.address, data=bytes(1451 - 28), flags="DF"))
    assert told.ip[ICMP].nexthopmtu == 1450
    assert world.down(A, udp(dst=B.address, data=bytes(8943 - 28)))
    (told,) = world.down(A, udp(dst=B.address, data=bytes(8944 - 28), flags="DF"))
    assert told.ip[ICMP].nexthopmtu == 8943
    assert world.drops() == {"TOO_BIG": 2}


def test_lone_workloads_still_reach_each_other(world):
    assert flow(one(world.down(LONE, udp(LONE.address, A.address))))[0] == LONE.address
    assert IP in one(world.down(A, udp(dst=LONE.address))).ip
