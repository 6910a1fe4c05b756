"""A rule with overflow: what its ports cannot serve any more shares them, by destination.

RFC 4787 REQ-3: "A NAT MUST NOT have a "Port assignment" behavior of "Port overloading"." So it is
off unless a rule says so, and then only once the pool's ports have run out.
"""

from socket import inet_aton

import pytest
from scapy.layers.inet import ICMP

from pcg.datapath import views
from tests.c.packets import answer, complaint, flow, inside, one, ping, ports, prohibited, tcp, udp
from tests.c.places import FEW, NET, OTHER_NET, POOL_A, TINY
from tests.c.world import over

PORTS = {2000, 2001, 2002, 2003}
ID = 7  # the rule "tiny": FEW's four ports for TINY


def change(w, **given) -> None:
    w.policy.nat["tiny"] = w.policy.nat["tiny"]._replace(**given)
    w.commit()


def overflowed(w) -> int:
    return sum(row["overflow"] for row in w.dp.counters("nat") if row["id"] == ID)


def says(sport, dst=NET, dport=53):
    return udp(TINY.address, dst, sport=sport, dport=dport)


@pytest.fixture
def full(world):
    """Four inside endpoints of TINY have taken FEW's four ports, all towards NET:53."""
    change(world, overflow=1)
    for sport in range(1, 5):
        assert world.down(TINY, says(sport))
    assert overflowed(world) == 0
    return world


def test_not_unless_the_rule_says_so(world):
    """RFC 4787 REQ-3."""
    for sport in range(1, 5):
        assert world.down(TINY, says(sport))
    assert prohibited(world.down(TINY, says(5, OTHER_NET)))
    assert world.drops() == {"NAT_PORTS_EXHAUSTED": 1}


def test_a_port_serves_another_destination(full):
    """RFC 7857 section 3."""
    out = one(full.down(TINY, says(5, OTHER_NET)))
    assert (out.ip.src, out.ip.dst) == (FEW.secondary, OTHER_NET)
    assert out.ip.sport in PORTS
    assert flow(one(full.up(answer(out)))) == (OTHER_NET, TINY.address, 53, 5)
    assert overflowed(full) == 1
    assert full.dp.totals()["mappings"] == 4


def test_explained(full):
    told, sent = full.dp.explain("downlink", over(TINY, says(5, OTHER_NET)))
    assert told[-1]["verdict"] == "sent"
    assert sent[26:30] == inet_aton(FEW.secondary)
    told, _ = full.dp.explain("downlink", over(TINY, says(5)))
    assert told[-1]["reason"] == "NAT_PORTS_EXHAUSTED"
    assert overflowed(full) == 0


def test_as_many_as_ports_for_each_destination(full):
    """The tuple (destination, port, outside port) is what may not be there twice."""
    sent = full.inject("downlink", *[over(TINY, says(s, OTHER_NET)) for s in range(5, 10)])
    outside = [seen.ip.sport for seen in sent if seen.role == "uplink"]
    assert set(outside) == PORTS
    assert len(outside) == 4
    assert full.drops() == {"NAT_PORTS_EXHAUSTED": 1}
    assert one(full.down(TINY, says(9, OTHER_NET, 54))).role == "uplink"  # another port of it
    assert overflowed(full) == 5


@pytest.mark.parametrize("packet", [ping, tcp], ids=["icmp", "tcp"])
def test_other_protocols(world, packet):
    change(world, overflow=1)
    flags = {"flags": "S"} if packet is tcp else {}
    key = "id_" if packet is ping else "sport"
    for n in range(1, 5):
        world.down(TINY, packet(src=TINY.address, **{key: n}, **flags))
    out = one(world.down(TINY, packet(src=TINY.address, dst=OTHER_NET, **{key: 5}, **flags)))
    assert one(world.up(answer(out))).ip.dst == TINY.address
    assert overflowed(world) == 1


def test_nobody_else_gets_in_by_it(full):
    """Not the destination's other ports either: they are told apart by the whole tuple alone."""
    out = one(full.down(TINY, says(5, OTHER_NET)))
    assert not full.up(udp(OTHER_NET, FEW.secondary, sport=54, dport=out.ip.sport))
    assert full.drops() == {"NAT_FILTERED": 1}


def test_the_port_s_owner_goes_where_a_sharer_is(full):
    """Its own port leads there for somebody else: it shares another one."""
    sharer = one(full.down(TINY, says(5, OTHER_NET)))
    (owner,) = [s for s in range(1, 5) if one(full.down(TINY, says(s))).ip.sport == sharer.ip.sport]
    told, _ = full.dp.explain("downlink", over(TINY, says(owner, OTHER_NET)))
    assert told[-2]["note"] == f"port drawn at random, source becomes {FEW.secondary}"
    out = one(full.down(TINY, says(owner, OTHER_NET)))
    assert out.ip.sport != sharer.ip.sport
    assert flow(one(full.up(answer(out)))) == (OTHER_NET, TINY.address, 53, owner)
    assert flow(one(full.up(answer(sharer)))) == (OTHER_NET, TINY.address, 53, 5)


def test_errors_find_it(full):
    out = one(full.down(TINY, says(5, OTHER_NET)))
    seen = one(full.up(complaint(out, "198.51.100.254")))
    assert (seen.ip[ICMP].type, seen.ip.dst) == (3, TINY.address)
    assert ports(inside(seen)) == (5, 53)


def test_another_decision_keeps_its_port(full):
    out = one(full.down(TINY, says(5, OTHER_NET)))
    full.policy.defaults = (0, 0)
    full.policy.firewall = []
    full.commit()
    full.policy.nat["tiny"] = full.policy.nat["tiny"]._replace(log=1)  # made anew, in its name
    full.commit()
    assert flow(one(full.down(TINY, says(5, OTHER_NET)))) == flow(out)
    assert overflowed(full) == 1


@pytest.mark.parametrize("given", [{"overflow": 0}, {"port_first": 3000, "port_last": 3003}])
def test_it_ends_when_the_rule_no_longer_allows_it(full, given):
    out = one(full.down(TINY, says(5, OTHER_NET)))
    change(full, **given)
    assert not full.up(answer(out))


def test_a_port_promised_to_a_door_is_never_shared(world):
    world.policy.nat["door"] = world.policy.nat["web"]._replace(
        id=11, match=world.policy.nat["web"].match._replace(dport_first=2000, dport_last=2001)
    )
    match = world.policy.nat["door"].match
    world.policy.nat["door"] = world.policy.nat["door"]._replace(
        match=match._replace(dst_be=bytes([10, 99, 1, 14]))
    )
    change(world, overflow=1)
    for sport in (1, 2):
        world.down(TINY, says(sport))
    sent = world.inject("downlink", *[over(TINY, says(s, OTHER_NET)) for s in range(3, 9)])
    assert {seen.ip.sport for seen in sent if seen.role == "uplink"} == {2002, 2003}


def test_every_address_of_the_pool(world):
    change(world, overflow=1, n_pool=2, pool=(FEW.index, POOL_A.index, *(0,) * 14))
    sent = world.inject("downlink", *[over(TINY, says(s)) for s in range(1, 9)])
    assert len({flow(seen)[::2] for seen in sent}) == 8
    sent = world.inject("downlink", *[over(TINY, says(s, OTHER_NET)) for s in range(9, 17)])
    assert {seen.ip.src for seen in sent} == {FEW.secondary, POOL_A.secondary}
    assert len({flow(seen)[::2] for seen in sent}) == 8


def test_a_quota_is_not_got_round_by_it(full):
    change(full, ports_each=4)
    assert prohibited(full.down(TINY, says(5, OTHER_NET)))
    assert full.drops() == {"QUOTA_PORTS": 1}


def test_it_leaves_nothing_behind(full):
    for sport in range(5, 9):
        assert full.down(TINY, says(sport, OTHER_NET))
    full.sweep(after_s=301)
    assert (full.dp.totals()["sessions"], full.dp.totals()["mappings"]) == (0, 0)
    rows = [views.view("usage", row) for row in full.dp.read("usage")]
    assert not any(row["sessions"] or row["ports"] for row in rows)
    assert {one(full.down(TINY, says(s))).ip.sport for s in range(1, 5)} == PORTS
