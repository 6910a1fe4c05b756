"""Pools of public addresses: the firewall is asked about the one that a session leaves by."""

import pytest

from pcg.reconcile import records as r
from tests.c.packets import udp
from tests.c.places import POOL_A, POOL_B, A
from tests.c.world import SNAT, ip, nat, over, source

ALLOW, DROP = 0, 1
OUT = 2


def from_(public, action: int, id_: int) -> r.Firewall:
    match = r.Match(src_be=ip(public.secondary), src_len=32)
    return r.Firewall(id_, 0, action, OUT, 0, match, f"from {public.elastic}")


@pytest.fixture(params=["by prefix", "by group"])
def named(request):
    """A rule about one public address, and its group's members: by prefix, or as a group of one."""

    def rule(public, action: int) -> tuple[r.Firewall, list[r.Members]]:
        made = from_(public, action, 1)
        if request.param == "by prefix":
            return made, []
        match = made.match._replace(src_be=bytes(4), src_len=0)
        return made._replace(match=match, src_group=1), [r.Members(0, 1, ip(public.secondary), 32)]

    return rule


def sends(w, sport: int) -> str | None:
    """As whom A's packet leaves."""
    sent = [one.ip.src for one in w.down(A, udp(sport=sport)) if one.role == "uplink"]
    return sent[0] if sent else None


def rule_of(w, sport: int) -> int:
    (found,) = [one for one in w.dp.sessions() if one["fwd_sport"] == sport]
    return found["fw_id"]


@pytest.fixture(params=[False, True], ids=["own ports", "overflow"])
def first(world, request):
    """Each address has one port; `first` is asked first for A, and its port is given away."""
    rule = nat(9, SNAT, source("192.168.0.0", 16), POOL_A, POOL_B, ports=(2000, 2000))
    world.policy.nat = {"snat": rule._replace(overflow=request.param)}
    world.commit()
    return {pub.secondary: pub for pub in (POOL_A, POOL_B)}[sends(world, 1)]


@pytest.fixture
def second(first):
    return POOL_B if first is POOL_A else POOL_A


class TestWhenTheFirstIsFull:
    def test_the_next_one_helps(self, world, second):
        assert sends(world, 2) == second.secondary

    def test_but_not_one_that_the_firewall_denies(self, world, second):
        world.policy.firewall = [from_(second, DROP, 1)]
        world.commit()
        assert sends(world, 2) is None
        assert world.drops() == {"NAT_PORTS_EXHAUSTED": 1}

    def test_what_denies_the_first_denies_it(self, world, first):
        """No shopping around: whoever is paired with a denied address is denied."""
        world.policy.firewall = [from_(first, DROP, 1)]
        world.commit()
        assert sends(world, 2) is None
        assert world.drops() == {"FIREWALL_DENIED": 1}

    def test_it_is_in_the_name_of_the_rule_that_let_it(self, world, first, second):
        world.policy.firewall = [from_(first, ALLOW, 1), from_(second, ALLOW, 2)]
        world.commit()
        assert [sends(world, 1), sends(world, 2)] == [first.secondary, second.secondary]
        assert (rule_of(world, 1), rule_of(world, 2)) == (1, 2)


class TestSessionsThatLive:
    def test_by_the_second_they_are_judged_as_such(self, world, first, second):
        assert sends(world, 2) == second.secondary
        world.policy.firewall = [from_(first, DROP, 1)]
        world.commit()
        assert sends(world, 1) is None
        assert sends(world, 2) == second.secondary

    def test_a_mapping_of_the_second_opens_others(self, world, first, second, named):
        """By that address, which the firewall tells from the first one, however it names them."""
        sends(world, 2)
        rule, world.policy.members = named(first, DROP)
        world.policy.firewall = [rule]
        world.commit()
        another = world.down(A, udp(sport=2, dst="198.51.100.10"))
        assert [one.ip.src for one in another] == [second.secondary]


def test_two_of_one_endpoint_in_a_burst(world, first, second):
    """The second finds the mapping that the first has just made, by an address denied to it."""
    rule = from_(second, DROP, 1)
    far = rule.match._replace(dst_be=ip("198.51.100.10"), dst_len=32)
    world.policy.firewall = [rule._replace(match=far)]
    world.commit()
    pair = [over(A, udp(sport=2)), over(A, udp(sport=2, dst="198.51.100.10"))]
    sent = world.inject("downlink", *pair)
    assert [(one.ip.src, one.ip.dst) for one in sent] == [(second.secondary, "198.51.100.9")]
    assert world.drops() == {"FIREWALL_DENIED": 1}


def test_a_pool_that_grows_leaves_them_alone(world):
    """Those that stand on the address there was are not asked about the new one."""
    world.policy.nat = {"snat": nat(9, SNAT, source("192.168.0.0", 16), POOL_A)}
    world.policy.firewall = [from_(POOL_B, DROP, 1)]
    world.commit()
    for sport in range(1, 9):
        assert sends(world, sport) == POOL_A.secondary
    world.policy.nat["snat"] = nat(9, SNAT, source("192.168.0.0", 16), POOL_A, POOL_B)
    world.commit()
    assert world.dp.totals()["sessions"] == 8
    assert [sends(world, sport) for sport in range(1, 9)] == [POOL_A.secondary] * 8
