"""A drawn port by which answers would reach somebody else is not used: another one is drawn."""

import pytest

from tests.c.packets import answer, flow, ping, tcp, udp
from tests.c.places import FEW, NET, TINY, WHOLE, A, Public
from tests.c.test_rule_change import one
from tests.c.world import nat, over, source

FIRST, LAST = 2000, 2003


@pytest.fixture
def shared(world):
    """WHOLE's address leads every protocol and port to C, and lends four ports to A."""
    world.policy.nat["lent"] = nat(12, 1, source(A.address, 32), WHOLE, ports=(FIRST, LAST))
    world.policy.nat = {"lent": world.policy.nat.pop("lent"), **world.policy.nat}
    world.commit()
    return world


@pytest.mark.parametrize("taken", range(4))
@pytest.mark.parametrize("what", [udp, tcp])
def test_ports_by_which_the_peer_came_in(shared, taken, what):
    """NET:53 talks to C by some of the four; A gets one of the others, whichever is drawn."""
    make = (lambda **given: tcp("S", **given)) if what is tcp else udp
    came = list(range(FIRST, FIRST + taken))
    for port in came:
        assert shared.up(make(src=NET, dst=WHOLE.secondary, sport=53, dport=port))
    out = one(shared.down(A, make(dport=53, sport=777)))
    assert out.ip.src == WHOLE.secondary
    assert out.ip.sport in set(range(FIRST, LAST + 1)) - set(came)
    back = one(shared.up(answer(out)))
    assert back.ip.dst == A.address
    assert shared.drops() == {}


def test_all_of_them(shared):
    for port in range(FIRST, LAST + 1):
        shared.up(udp(NET, WHOLE.secondary, sport=53, dport=port))
    assert not [s for s in shared.down(A, udp(dport=53)) if s.role == "uplink"]
    assert shared.drops() == {"NAT_PORTS_EXHAUSTED": 1}  # each was drawn once, in vain
    shared.sweep()
    totals = shared.dp.totals()
    assert (totals["sessions"], totals["mappings"]) == (4, 0)


@pytest.mark.parametrize("taken", range(5))
def test_explained(shared, taken):
    """What is said before is what happens: by a port drawn in vain nothing is told."""
    for port in range(FIRST, FIRST + taken):
        shared.up(udp(NET, WHOLE.secondary, sport=53, dport=port))
    told, sent = shared.dp.explain("downlink", over(A, udp(dport=53)))
    assert told[-1]["reason"] == ("NAT_PORTS_EXHAUSTED" if taken > LAST - FIRST else "")
    assert bool(sent) == (taken <= LAST - FIRST)


def test_an_identifier(shared):
    """RFC 5508: an ICMP identifier stands where ports do."""
    for id_ in (FIRST, FIRST + 1, FIRST + 2):
        assert shared.up(ping(NET, WHOLE.secondary, id_=id_))
    assert flow(one(shared.down(A, ping())))[2] == LAST
    assert shared.drops() == {}


def test_what_was_drawn_in_vain_comes_back(shared):
    for port in range(FIRST, LAST):
        shared.up(udp(NET, WHOLE.secondary, sport=53, dport=port))
    for sport in range(1, 6):
        assert one(shared.down(A, udp(dport=53, sport=sport))).ip.sport == LAST
        shared.sweep(after_s=299)
        for port in range(FIRST, LAST):
            shared.up(udp(NET, WHOLE.secondary, sport=53, dport=port))
        shared.sweep(after_s=2)
    (row,) = [row for row in shared.dp.counters("publics") if row["id"] == WHOLE.index]
    assert row["ports_used"] == 0


def test_its_mapping_serves_others_and_stays(shared):
    """RFC 4787 REQ-1: the endpoint keeps its port; by it NET cannot be told from C's peer."""
    out = one(shared.down(A, udp(dst="198.51.100.77", dport=53)))
    assert shared.up(udp(NET, WHOLE.secondary, sport=53, dport=out.ip.sport))
    assert not shared.down(A, udp(dport=53))
    assert shared.drops() == {"SESSION_CONFLICT": 1}
    assert one(shared.down(A, udp(dst="198.51.100.78", dport=53))).ip.sport == out.ip.sport


def test_a_public_address_with_another_number(world):
    """Until housekeeping has been there, ports are held in the name of the old one."""
    held = one(world.down(TINY, udp(TINY.address, sport=1))).ip.sport
    new = Public(50, FEW.elastic, FEW.secondary)
    world.policy.publics = (*(p for p in world.policy.publics if p is not FEW), new)
    world.policy.nat["tiny"] = nat(7, 1, source(TINY.address, 32), new, ports=(FIRST, LAST))
    world.dp.commit(world.policy.tables(), 2)
    drawn = {one(world.down(TINY, udp(TINY.address, sport=s))).ip.sport for s in (2, 3, 4)}
    assert drawn == set(range(FIRST, LAST + 1)) - {held}
    assert world.drops() == {}
