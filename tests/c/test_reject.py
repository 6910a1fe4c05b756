"""REJECT: RST to TCP, both ways, by RFC 9293 section 3.10.7.1; ICMP 3/13 to the rest."""

import pytest
from scapy.layers.inet import ICMP, TCP

from pcg.reconcile import records as r
from tests.c.packets import answer, complaint, flow, inside, ping, ports, prohibited, tcp, udp
from tests.c.places import NET, PLAIN, SERVER, A, B
from tests.c.test_rule_change import numbers, one
from tests.c.world import over

REJECT = 2


@pytest.fixture(autouse=True)
def shut(world):
    """Nothing new comes in or goes out."""
    world.policy.defaults, world.policy.firewall = (REJECT, REJECT), []
    world.commit()


# RFC 9293 section 3.10.7.1: "If the ACK bit is off, sequence number zero is used,
# <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>. If the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>"
SEGMENTS = [
    ("S", b"", (0, 101, "RA")),
    ("S", b"data", (0, 105, "RA")),
    ("F", b"", (0, 101, "RA")),
    ("A", b"data", (7, 0, "R")),
    ("SA", b"", (7, 0, "R")),
    ("", b"data", (0, 104, "RA")),
]


@pytest.mark.parametrize("flags, data, wanted", SEGMENTS)
def test_outwards(world, flags, data, wanted):
    said = one(world.down(A, tcp(flags, seq=100, ack=7) / data))
    assert (said.tep, flow(said), numbers(said)) == (A.tep, (NET, A.address, 80, 1000), wanted)
    assert world.drops() == {"FIREWALL_DENIED": 1}


@pytest.mark.parametrize("flags, data, wanted", SEGMENTS)
def test_inwards(world, flags, data, wanted):
    """RFC 9293 section 3.10.7.1."""
    said = one(world.up(tcp(flags, NET, SERVER.secondary, dport=80, seq=100, ack=7) / data))
    assert said.role == "uplink"
    assert (flow(said), numbers(said)) == ((SERVER.secondary, NET, 80, 1000), wanted)
    assert world.drops() == {"FIREWALL_DENIED": 1}


def test_inwards_to_a_routed_segment(world):
    said = one(world.up(tcp("S", NET, PLAIN.address, dport=80)))
    assert (flow(said), said.role) == ((PLAIN.address, NET, 80, 1000), "uplink")


def test_a_hairpin_is_told_by_whom_it_dialled(world):
    world.policy.defaults = (REJECT, 0)
    world.commit()
    said = one(world.down(A, tcp("S", dst=SERVER.elastic, dport=80)))
    assert (said.tep, flow(said)) == (A.tep, (SERVER.elastic, A.address, 80, 1000))


@pytest.mark.parametrize("packet", [udp(), ping()], ids=["udp", "ping"])
def test_others_are_told_by_icmp(world, packet):
    """RFC 1812 section 5.2.7.1."""
    assert prohibited(world.down(A, packet))


def test_others_inwards(world):
    said = one(world.up(udp(NET, SERVER.secondary, dport=7000)))
    assert (said.ip[ICMP].type, said.ip[ICMP].code, said.ip.src) == (3, 13, SERVER.secondary)
    assert ports(inside(said)) == (1000, 7000)


def test_a_reset_is_not_answered(world):
    """RFC 9293 section 3.10.7.1: "An incoming segment containing a RST is discarded." """
    assert not world.down(A, tcp("R"))
    assert not world.down(A, tcp("RA"))
    assert not world.up(tcp("R", NET, SERVER.secondary, dport=80))
    assert world.drops() == {"FIREWALL_DENIED": 3}


def test_nor_is_an_icmp_error(world):
    world.policy.defaults = (0, 0)
    world.commit()
    out = one(world.down(A, tcp("S")))
    world.policy.defaults = (REJECT, REJECT)
    world.commit()
    assert not world.up(complaint(out, "198.51.100.200"))


def test_a_connection_that_was_allowed_is_reset_by_its_next_segment(world):
    world.policy.defaults = (0, 0)
    world.commit()
    out = one(world.down(A, tcp("S")))
    world.up(answer(out, "SA", b""))
    world.policy.defaults = (REJECT, REJECT)
    world.commit()
    assert numbers(one(world.down(A, tcp("A", seq=5, ack=9)))) == (9, 0, "R")


def test_at_the_rate_of_all_that_we_make(world):
    """RFC 1812 section 4.3.2.8, held for RST too."""
    frames = [over(B, tcp("S", B.address, sport=port)) for port in range(1, 101)]
    assert len(world.inject("downlink", *frames)) == 50
    assert world.dp.totals()["unmade"] == 50


def test_a_trace_names_the_rule_and_nothing_is_sent(world):
    world.policy.firewall = [r.Firewall(6, 0, REJECT, 2, 0, r.Match(), "six")]
    world.commit()
    told, shown = world.dp.explain("downlink", over(A, tcp("S")))
    assert (told[-1]["reason"], told[-1]["fw_id"], shown) == ("FIREWALL_DENIED", 6, None)
    assert TCP in one(world.down(A, tcp("S"))).ip
