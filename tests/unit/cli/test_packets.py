"""packets.py: the frame that explain asks about is the one that would really come."""

import click
import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.dhcp import BOOTP
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether

from pcg.cli import packets
from pcg.model.errors import BackendError


def build(look, **wanted):
    given = {"source": "10.1.0.9", "destination": "8.8.8.8", **wanted}
    role, frame = packets.build(look, packets.Wanted(**given))
    return role, Ether(frame)


def test_a_workloads_packet_comes_by_its_tep_and_transit(look):
    role, frame = build(look, source="10.1.0.10", vrf="blue", flags="SA")
    assert role == "downlink"
    assert (frame[IP].src, frame[IP].dst) == ("10.99.0.2", "10.99.0.1")
    assert frame.dst == "02:00:00:00:01:02"
    assert frame[UDP].dport == 6081
    tunnel = frame[GENEVE]
    assert (tunnel.vni, tunnel.critical, tunnel.proto) == (5000, 1, 0x6558)
    (option,) = tunnel.options
    assert (option.classid, option.type, option.length) == (0x0104, 0x80, 1)
    inner = tunnel[Ether]
    assert (inner[IP].src, inner[TCP].dport, str(inner[TCP].flags)) == ("10.1.0.10", 80, "SA")


def test_a_tep_without_our_option_sends_none(look):
    _, frame = build(look)
    assert not frame[GENEVE].options
    assert not frame[GENEVE].critical


def test_a_segment_by_name_says_which_vrf_is_meant(look):
    _, frame = build(look, source="10.1.0.10", segment="web-red")
    assert (frame[GENEVE].vni, frame[IP].src) == (1002, "10.99.0.3")


def test_a_tep_says_which_vrf_is_meant_too(look):
    _, frame = build(look, source="10.1.0.10", entry="10.99.0.2")
    assert (frame[GENEVE].vni, frame[IP].src) == (5000, "10.99.0.2")
    _, frame = build(look, source="10.1.0.10", entry="10.99.0.3")
    assert frame[GENEVE].vni == 1002


def test_any_other_source_comes_by_the_uplink(look):
    role, frame = build(look, source="8.8.8.8", destination="10.99.1.11", protocol="icmp")
    assert role == "uplink"
    assert (frame.src, frame.dst) == ("02:00:00:00:00:05", "02:00:00:00:01:01")
    assert frame[ICMP].type == 8


def test_an_elastic_ip_arrives_as_the_secondary_that_the_cloud_maps_it_to(look):
    _, frame = build(look, source="8.8.8.8", destination="52.1.1.1")
    assert frame[IP].dst == "10.99.1.11"


def test_length_is_of_the_ip_packet(look):
    _, frame = build(look, source="8.8.8.8", length=1400)
    assert frame[IP].len == len(frame[IP]) == 1400


def test_other_protocols_have_no_ports(look):
    _, frame = build(look, source="8.8.8.8", protocol="esp")
    assert frame[IP].proto == 50


def test_an_unknown_vni_and_tep_are_built_as_asked(look):
    _, frame = build(look, source="1.2.3.4", vni=77, entry="10.99.0.99")
    assert (frame[GENEVE].vni, frame[IP].src) == (77, "10.99.0.99")


REFUSED = [
    ("several VRFs", {"source": "10.1.0.10"}, "say --vrf blue or red"),
    ("several, of another TEP", {"source": "10.1.0.10", "entry": "10.9.9.9"}, "say --vrf blue"),
    ("unknown VRF", {"vrf": "pink"}, "vrf pink: does not exist; there are: blue, red"),
    ("unknown segment", {"segment": "nope"}, "segment nope: does not exist"),
    ("a TEP, no network", {"source": "1.2.3.4", "entry": "10.99.0.2"}, "--vni or --segment"),
    ("a network, no TEP", {"source": "1.2.3.4", "vni": 77}, "say --from TEP"),
]


@pytest.mark.parametrize("what, wanted, words", REFUSED, ids=[r[0] for r in REFUSED])
def test_what_cannot_be_built(look, what, wanted, words):
    with pytest.raises(BackendError, match=words):
        build(look, **wanted)


def test_a_frame_in_one_line(look):
    _, frame = packets.build(look, packets.Wanted(source="10.1.0.9", destination="8.8.8.8"))
    line = packets.describe(frame)
    assert "10.99.0.3 -> 10.99.0.1" in line
    assert "10.1.0.9 -> 8.8.8.8 ttl 64" in line


class TestDhcp:
    def test_as_the_port_s_host_sends_it(self, look):
        role, frame = packets.dhcp(look, "02:00:00:00:00:09")
        seen = Ether(frame)
        assert (role, seen[IP].src, seen[GENEVE].vni) == ("downlink", "10.99.0.2", 1001)
        inner = seen[GENEVE][Ether]
        assert (inner.src, inner.dst) == ("02:00:00:00:00:09", "ff:ff:ff:ff:ff:ff")
        assert (inner[UDP].sport, inner[UDP].dport, inner[BOOTP].op) == (68, 67, 1)
        assert inner[BOOTP].chaddr[:6] == bytes.fromhex("020000000009")

    def test_of_several_segments_one_is_asked_for(self, look):
        with pytest.raises(BackendError, match="say --segment web or web-red"):
            packets.dhcp(look, "02:00:00:00:00:aa")
        _, frame = packets.dhcp(look, "02:00:00:00:00:aa", segment="web-red")
        assert Ether(frame)[GENEVE].vni == 1002

    def test_a_stranger_needs_a_place(self, look):
        with pytest.raises(BackendError, match="is no port's of a segment with DHCP"):
            packets.dhcp(look, "02:00:00:00:00:ff")
        _, frame = packets.dhcp(look, "02:00:00:00:00:ff", "10.99.0.3", "web")
        assert (Ether(frame)[IP].src, Ether(frame)[GENEVE].vni) == ("10.99.0.3", 1001)


def test_what_the_header_says_besides(look):
    ip = build(look, df=False, tos=0x2A, length=1600)[1][GENEVE][IP]
    assert (int(ip.flags), ip.tos, ip.len) == (0, 0x2A, 1600)
    assert str(build(look)[1][GENEVE][IP].flags) == "DF"


@pytest.mark.parametrize("protocol, least", [("tcp", 40), ("udp", 28), ("icmp", 28), ("gre", 20)])
def test_no_packet_is_shorter_than_its_headers(look, protocol, least):
    assert build(look, protocol=protocol, length=least)[1][GENEVE][IP].len == least
    with pytest.raises(BackendError, match=f"headers of {protocol}.*say {least} or more"):
        build(look, protocol=protocol, length=least - 1)


def test_explain_asks_for_a_packet_or_a_client(pcgctl, look):
    with pytest.raises(click.UsageError, match="say --src and --dst, or --dhcp MAC"):
        pcgctl("explain", "--src", "10.1.0.9")
    with pytest.raises(click.UsageError, match="is no Ethernet address"):
        pcgctl("explain", "--dhcp", "02:00")
    told = pcgctl("explain", "--dhcp", "02-00-00-00-00-09")
    assert "0.0.0.0 -> 255.255.255.255" in told
