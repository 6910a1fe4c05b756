"""dhcp.c: which DHCP of a workload goes on to the relay, and how often (RFC 2131)."""

import random
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from pcg.model.errors import BackendError
from tests.c import dhcp
from tests.c.dhcp import ALL_MACS, GATEWAY_MAC, GATEWAY_OF_WEB, ask, asked
from tests.c.packets import answer as back
from tests.c.packets import udp
from tests.c.places import (
    APP,
    DOWN_MAC,
    NET,
    NEWCOMER,
    RED,
    RED_WEB,
    TEP2,
    TINY,
    UP_MAC,
    VMS,
    WEB,
    WHOLE,
    A,
    B,
    C,
    ip,
    mac,
)
from tests.c.test_plain import counts
from tests.c.world import NEXTHOPS, TEPS, World, over
from tests.oracle.decision import Policy
from tests.oracle.fragments import cut
from tests.oracle.gateway import Twin

FREE = {"dhcp_each": 1_000_000, "dhcp_all": 1_000_000}
EXPIRED = NEWCOMER._replace(address="192.168.99.250")
SECOND = NEWCOMER._replace(mac="0a:00:00:00:99:ab")


@pytest.fixture
def served(world) -> World:
    return dhcp.serve(world, SECOND)


@pytest.fixture
def relay(served) -> dhcp.Relay:
    return dhcp.Relay(served.dp)


def unicast(vm, **given) -> bytes:
    """A renewal: from its address to the server's (RFC 2131 section 4.3.6)."""
    packet = ask(vm, "request", vm.address, GATEWAY_OF_WEB, ciaddr=vm.address, **given)
    return asked(vm, packet, inner_dst=GATEWAY_MAC)


def pieces(vm, packet, longest: int, **given) -> list[bytes]:
    return [asked(vm, p, inner={"type": 0x0800}, **given) for p in cut(bytes(packet), longest)]


class TestWhatGoesOn:
    def test_a_discover_as_it_came(self, served, relay):
        packet = Ether(src=NEWCOMER.mac, dst=ALL_MACS) / ask()
        assert served.inject("downlink", asked()) == []
        (punt,) = relay.read()
        assert punt[:3] == (WEB, mac(NEWCOMER.mac), ip(NEWCOMER.tep))
        assert punt.frame == bytes(packet)
        assert punt.at == served.now_ns / 1e9
        assert served.dp.totals()["punt"] == 1

    @pytest.mark.parametrize(
        "what, frame",
        [
            ("renewing", unicast(A)),
            ("rebinding", asked(A, ask(A, "request", A.address, ciaddr=A.address))),
            (
                "of an address that has expired",
                unicast(NEWCOMER._replace(address="192.168.99.250")),
            ),
            ("to all, by the gateway's MAC", asked(inner_dst=GATEWAY_MAC)),
            ("without a UDP checksum", asked(packet=ask(udp={"chksum": 0}))),
            ("broadcast flag", asked(packet=ask(flags=0x8000))),
            ("hops of a bridge", asked(packet=ask(hops=3))),
        ],
    )
    def test_of_a_known_port(self, served, relay, what, frame):
        served.inject("downlink", frame)
        assert len(relay.read()) == 1
        assert served.drops() == {}

    def test_without_what_stands_behind_it(self, served, relay):
        """Ethernet padding inside the tunnel is nobody's."""
        served.inject("downlink", asked(packet=bytes(ask()) + b"behind", inner={"type": 0x0800}))
        assert relay.read()[0].frame.endswith(bytes(ask())[-20:])

    @pytest.mark.parametrize("data, reason", [(8900, None), (8980, "DHCP_BAD")])
    def test_up_to_the_longest_frame(self, served, relay, data, reason):
        long = ask() / Raw(bytes(data))
        served.inject("downlink", *pieces(NEWCOMER, long, 1500))
        assert len(relay.read()) == (not reason)
        assert served.drops() == ({reason: 1} if reason else {})


class TestWhatIsNone:
    @pytest.mark.parametrize(
        "what, frame, reason",
        [
            ("another source port", asked(packet=ask(ports=(1068, 67))), "IP_MARTIAN"),
            ("to a multicast MAC", asked(inner_dst="01:00:5e:00:00:01"), "IP_MARTIAN"),
            ("TFTP to all", asked(packet=ask(ports=(68, 69))), "IP_MARTIAN"),
            ("cut short", asked(packet=IP(src="0.0.0.0", dst="255.255.255.255", proto=17)), None),
            ("TCP to all", asked(packet=IP(src="0.0.0.0", dst="255.255.255.255", proto=6)), None),
        ],
    )
    def test_is_what_it_was(self, served, relay, what, frame, reason):
        served.inject("downlink", frame)
        assert served.drops() == {reason or "IP_MARTIAN": 1}

    def test_something_else_to_the_gateway(self, served, relay):
        served.down(A, udp(dst=GATEWAY_OF_WEB, sport=1068, dport=67), vni=WEB)
        assert served.drops() == {"GATEWAY_ADDRESSED": 1}

    def test_a_server_elsewhere_is_asked_as_any_host(self, served, relay):
        assert len(served.down(A, udp(dst=B.address, sport=68, dport=67))) == 1
        assert len(served.down(A, udp(dst=NET, sport=68, dport=67))) == 1

    def test_by_the_same_mac_elsewhere(self, served, relay):
        """RED has A's MAC and address, in another VRF, on a segment without a scope."""
        served.inject("downlink", asked(RED))
        assert served.drops() == {"DHCP_NOT_SERVED": 1}
        served.inject("downlink", asked(NEWCOMER, vni=APP))
        assert served.drops() == {"DHCP_NOT_SERVED": 1}


class TestFragments:
    @pytest.mark.parametrize("seed", range(4))
    def test_in_any_order_and_two_clients_at_once(self, served, relay, seed):
        """Neither has an address, both have chosen the same identification."""
        long = [ask(vm, ip={"id": 7}) / Raw(bytes(1000)) for vm in (NEWCOMER, SECOND)]
        frames = pieces(NEWCOMER, long[0], 600) + pieces(SECOND, long[1], 600)
        random.Random(seed).shuffle(frames)
        served.inject("downlink", *frames)
        got = {punt.mac: punt.frame[14 + 20 :] for punt in relay.read()}
        assert got == {
            mac(vm.mac): bytes(packet)[20:]
            for vm, packet in zip((NEWCOMER, SECOND), long, strict=True)
        }
        assert served.drops() == {}

    def test_of_a_stranger_are_not_kept(self, served, relay):
        stranger = NEWCOMER._replace(mac="0a:00:00:00:99:cc")
        served.inject("downlink", *pieces(stranger, ask(stranger), 200))
        assert served.drops() == {"IP_MARTIAN": 2}
        assert served.dp.totals()["held"] == 0

    def test_the_rest_never_comes(self, served, relay):
        served.inject("downlink", pieces(NEWCOMER, ask(), 200)[0])
        assert served.dp.totals()["held"] == 1
        served.sweep(after_s=15)
        assert served.drops() == {"FRAGMENT_TIMEOUT": 1}
        (row,) = [row for row in served.dp.ledger() if row["reason"] == "FRAGMENT_TIMEOUT"]
        assert (row["vni"], row["src"], row["vrf"]) == (WEB, "0.0.0.0", None)

    def test_of_something_else_to_the_gateway(self, served, relay):
        packet = udp(dst=GATEWAY_OF_WEB, data=bytes(1000))
        served.inject("downlink", *pieces(A, packet, 600, inner_dst=GATEWAY_MAC))
        assert served.drops() == {"GATEWAY_ADDRESSED": 1}

    def test_joined_ones_are_judged_like_any(self, served, relay):
        served.inject("downlink", *pieces(NEWCOMER, ask(giaddr="1.2.3.4"), 200))
        assert served.drops() == {"DHCP_RELAYED": 1}


class TestClients:
    def test_one_that_moves(self, served, relay):
        moved = NEWCOMER._replace(tep=TEP2)
        served.dp.put("clients", [dhcp.client(moved)])
        served.inject("downlink", asked(moved))
        assert relay.read()[0].tep == ip(TEP2)
        served.inject("downlink", asked())
        assert served.drops() == {"DHCP_PORT_UNKNOWN": 1}

    def test_one_that_is_gone(self, served, relay):
        served.dp.delete("clients", [dhcp.client(NEWCOMER), dhcp.client(RED)])
        served.inject("downlink", asked())
        assert served.drops() == {"DHCP_PORT_UNKNOWN": 1}

    def test_read_back(self, served):
        held = served.dp.read("clients")
        assert dhcp.client(A) in held
        assert len(held) == len({vm for vm in VMS if vm.vni == WEB}) + 2

    def test_a_full_table_takes_none_and_says_so(self, served):
        many = [dhcp.client(NEWCOMER)._replace(mac=struct.pack("!HI", 2, i)) for i in range(1024)]
        before = served.dp.read("clients")
        with pytest.raises(BackendError, match="nothing was written"):
            served.dp.put("clients", many)
        assert served.dp.read("clients") == before
        served.dp.delete("clients", before)
        served.dp.put("clients", many)
        assert len(served.dp.read("clients")) == 1024

    def test_places_serve_again_and_nothing_is_written_twice(self, served):
        for i in range(3000):
            row = dhcp.client(NEWCOMER)._replace(mac=struct.pack("!HI", 2, i))
            served.dp.put("clients", [row])
            served.dp.delete("clients", [row])
        changes = served.dp.totals()["changes"]
        served.dp.put("clients", served.dp.read("clients"))
        assert served.dp.totals()["changes"] == changes


class TestRates:
    def test_a_flood_from_one_port_is_its_own(self, served, relay):
        """10 a second of one port, two seconds' worth at once."""
        served.inject("downlink", *[asked()] * 500)
        assert served.drops() == {"DHCP_RATE_PORT": 480}
        served.inject("downlink", asked(SECOND), asked(TINY))
        assert [punt.mac for punt in relay.read()[20:]] == [mac(SECOND.mac), mac(TINY.mac)]

    def test_what_is_not_used_comes_back(self, served, relay):
        for _ in range(3):
            served.inject("downlink", *[asked()] * 30)
            served.drops()
            relay.read()
            served.now_s += 1
        served.inject("downlink", *[asked()] * 30)
        assert served.drops() == {"DHCP_RATE_PORT": 20}

    def test_in_all(self, served, relay):
        served.policy.quota = {"dhcp_all": 5, "dhcp_each": 5}
        served.commit()
        served.inject("downlink", *[asked(vm) for vm in (NEWCOMER, SECOND, A, TINY)] * 2)
        assert served.drops() == {"DHCP_RATE": 3}
        served.now_s += 1
        served.inject("downlink", *[asked(vm) for vm in (NEWCOMER, SECOND, A, TINY)] * 2)
        assert served.drops() == {"DHCP_RATE": 3}

    def test_none_at_all(self, served, relay):
        served.policy.quota = {"dhcp_all": 0}
        served.commit()
        served.inject("downlink", asked())
        assert served.drops() == {"DHCP_RATE": 1}

    def test_what_is_refused_uses_nothing_up(self, served, relay):
        served.inject("downlink", *[asked(packet=ask(giaddr="1.1.1.1"))] * 100)
        served.inject("downlink", asked())
        assert served.drops() == {"DHCP_RELAYED": 100}
        assert len(relay.read()) == 1


class TestServers:
    """Only the gateway is one: of what is forwarded, too, past the stages as through them."""

    @pytest.mark.parametrize("ports", [(67, 68), (67, 1000), (1000, 68)])
    def test_not_to_another_workload(self, served, ports):
        frames = [over(A, udp(dst=to.address, sport=ports[0], dport=ports[1])) for to in (B, C)]
        counted = []
        for traced in (0, 1_000_000):
            served.dp.trace_start(traced)
            before = counts(served)
            assert served.inject("downlink", *frames) == []
            after = counts(served)
            counted.append(
                {k: n - before.get(k, 0) for k, n in after.items() if isinstance(n, int)}
            )
        assert served.drops() == {"DHCP_SERVER": 4}
        assert counted[0] == counted[1]

    def test_from_anywhere_else_is_no_matter_of_ours(self, served):
        assert len(served.down(A, udp(sport=67))) == 1
        assert len(served.down(A, udp(sport=1000, dport=68))) == 1

    def test_a_published_one_answers_who_asked_it(self, served):
        """WHOLE publishes C, whatever it serves."""
        (asking,) = served.up(udp(NET, WHOLE.secondary, sport=68, dport=67))
        (reply,) = served.down(C, back(asking))
        assert (reply.ip.src, reply.ip[UDP].sport) == (WHOLE.secondary, 67)


class TestTwin:
    """Random requests, with anything wrong about them, end as the oracle says."""

    WORDS = (
        st.fixed_dictionaries(
            {},
            optional={
                "src": st.sampled_from(
                    ["0.0.0.0", A.address, "127.0.0.1", "192.168.99.250", GATEWAY_OF_WEB]
                ),
                "dst": st.sampled_from([GATEWAY_OF_WEB, "255.255.255.255", B.address]),
                "ports": st.sampled_from([(68, 67), (67, 68), (1000, 67), (68, 68), (67, 67)]),
                "op": st.sampled_from([1, 2]),
                "htype": st.sampled_from([1, 6]),
                "hlen": st.sampled_from([6, 0, 16]),
                "giaddr": st.sampled_from(["0.0.0.0", "10.0.0.1"]),
                "chaddr": st.sampled_from([mac(A.mac), mac(NEWCOMER.mac), bytes(16)]),
                "udp": st.sampled_from(
                    [{}, {"chksum": 0}, {"chksum": 7}, {"len": 9}, {"len": 900}]
                ),
            },
        ),
        st.sampled_from([NEWCOMER, A, C, B, RED, SECOND._replace(mac="0a:00:00:00:99:cc")]),
        st.sampled_from([WEB, WEB, WEB, APP, RED_WEB]),
        st.sampled_from([None, None, TEP2]),
        st.sampled_from([ALL_MACS, GATEWAY_MAC, "01:00:5e:00:00:01"]),
        st.one_of(st.none(), st.integers(20, 300)),
    )

    @settings(max_examples=400, suppress_health_check=list(HealthCheck))
    @given(*WORDS)
    def test_agrees(self, served, words, vm, vni, tep, eth_dst, cut_at):
        if served.policy.quota != FREE:
            served.policy.quota = FREE
            served.commit()
            dhcp.Relay(served.dp)
        packet = bytes(ask(vm, **words))
        if cut_at:
            packet = packet[:cut_at]
        frame = asked(vm, packet, vni=vni, tep=tep, inner_dst=eth_dst, inner={"type": 0x0800})
        records = [one.record for one in VMS], TEPS, NEXTHOPS, served.dp.read("clients")
        twin = Twin(Policy(served.policy.tables(), *records), (mac(UP_MAC), mac(DOWN_MAC)))
        twin.frame("downlink", frame, 0, drawn=lambda key: (0, 0))
        before = served.dp.totals()["punt"]
        served.dp.inject("downlink", [frame], served.now_ns)
        served.now_s += 0.001
        assert served.dp.totals()["punt"] - before == twin.punted
        assert served.drops() == dict.fromkeys(twin.why, 1)
        served.dp.punts_raw(bytearray(1 << 16), gone=True)
