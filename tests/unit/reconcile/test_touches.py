"""touches.py: every change reaches the sessions it concerns, whichever way they were opened.

`concerned` is what the datapath does with a touch; the tuples are those of touches.py's table.
"""

import msgspec
import pytest

from pcg.model import desired as d
from pcg.reconcile import compile as c
from pcg.reconcile.addresses import address, covers
from pcg.reconcile.numbers import Numbers, numbers_for
from pcg.reconcile.touches import NOTHING, RECORDS_MAX, TOUCHES_MAX, moved, touches, whole
from tests.unit.reconcile.examples import DESIRED, DNAT, RULE, SNAT, public

WORKLOAD, SERVER, REMOTE = "192.168.1.9", "192.168.1.8", "198.51.100.7"
# forward tuple before and after translation: (source, destination)
SNATTED = ((WORKLOAD, REMOTE), ("10.0.1.11", REMOTE))
DNATTED = ((REMOTE, "10.0.1.12"), (REMOTE, SERVER))
HAIRPIN = ((WORKLOAD, "203.0.113.12"), ("10.0.1.11", SERVER))


def policy(**changes) -> c.Policy:
    desired = msgspec.structs.replace(DESIRED, **changes)
    return c.compile_policy(desired, numbers_for(desired, numbers_for(DESIRED, Numbers())))


def concerned(found, session, vrf=0) -> bool:
    return any(
        t.vrf == vrf
        and covers(t.src_be, t.src_len, address(src))
        and covers(t.dst_be, t.dst_len, address(dst))
        for t in found
        for src, dst in session
    )


def changed(value, **changes):
    return msgspec.structs.replace(value, **changes)


REFLEXIVE = d.Nat(
    id="own",
    vrf="t1",
    action=d.NatAction.REFLEXIVE,
    match=d.Match(source=(SERVER,)),
    translated=("eip-web",),
)
PUBLICS, FIREWALL, WEB = DESIRED.public_addresses, DESIRED.firewall, DESIRED.segments[0]
OTHER_POOL = changed(SNAT, translated=("eip-web",))
OTHER_TARGET = changed(DNAT, translated=("192.168.1.77",))
TO_PEER = d.Route(vrf="t1", prefix="198.51.100.0/24", blackhole=True)
MOVED_EIP = public("eip-out", "t1", 99)
NO_RULES = changed(FIREWALL, sections=())
ALLOW_IN = changed(FIREWALL, default_in=d.FirewallAction.ALLOW)
ROUTED_WEB = changed(WEB, routed=True)
BOTH = [SNATTED, DNATTED]
# fmt: off
ROWS = [
    # change                     what the policy becomes                      concerned
    ("SNAT rule removed",        {"nat": (DNAT,)},                            [SNATTED]),
    ("SNAT draws from another",  {"nat": (DNAT, OTHER_POOL)},                 [SNATTED]),
    ("DNAT rule removed",        {"nat": (SNAT,)},                            [DNATTED, HAIRPIN]),
    ("DNAT leads elsewhere",     {"nat": (SNAT, OTHER_TARGET)},               [DNATTED, HAIRPIN]),
    ("1:1 rule added",           {"nat": (SNAT, DNAT, REFLEXIVE)},            [DNATTED]),
    ("default route removed",    {"routes": DESIRED.routes[1:]},              BOTH),
    ("route to the peer added",  {"routes": (*DESIRED.routes, TO_PEER)},      BOTH),
    ("public address replaced",  {"public_addresses": (MOVED_EIP, *PUBLICS[1:])}, [SNATTED]),
    ("firewall rule removed",    {"firewall": NO_RULES},                      [DNATTED]),
    ("default action changed",   {"firewall": ALLOW_IN},                      BOTH),
    ("segment becomes routed",   {"segments": (ROUTED_WEB, *DESIRED.segments[1:])}, BOTH),
]
# fmt: on


@pytest.mark.parametrize("what, to, sessions", ROWS, ids=[r[0] for r in ROWS])
def test_change_reaches_its_sessions_in_either_direction(what, to, sessions):
    for old, new in ((policy(), policy(**to)), (policy(**to), policy())):
        found = touches(old, new)
        assert [concerned(found, s) for s in sessions] == [True] * len(sessions)


def test_no_change_touches_nothing_and_is_not_empty():
    assert touches(policy(), policy()) == [NOTHING]
    assert not concerned([NOTHING], SNATTED)


def test_one_route_leaves_other_sessions_alone():
    route = d.Route(vrf="t1", prefix="192.0.2.0/24", blackhole=True)
    found = touches(policy(), policy(routes=(*DESIRED.routes, route)))
    assert not concerned(found, SNATTED)
    assert not concerned(found, SNATTED, vrf=1)


def test_other_vrf_is_left_alone():
    found = touches(policy(), policy(nat=()))
    assert {t.vrf for t in found} == {0}


def test_firewall_rule_on_the_elastic_ip_reaches_what_came_to_the_secondary():
    rule = changed(RULE, destination=("eip-web",))
    section = d.FirewallSection(id="s", vrf="t1", rules=(rule,))
    to = {"firewall": changed(DESIRED.firewall, sections=(section,))}
    base = {"firewall": changed(DESIRED.firewall, sections=())}
    assert concerned(touches(policy(**base), policy(**to)), DNATTED)


@pytest.mark.parametrize("vrf", [0, 1])
def test_an_elastic_ip_reaches_who_talks_to_it_in_any_vrf(vrf):
    without, there = policy(public_addresses=PUBLICS[:1], nat=(SNAT,)), policy(nat=(SNAT,))
    to = PUBLICS[1].address
    outwards, inwards = (("10.0.1.77", to),), ((to, "10.0.1.78"),)
    for found in (touches(without, there), touches(there, without)):
        assert concerned(found, outwards, vrf)
        assert concerned(found, inwards, vrf)
        assert not concerned(found, SNATTED, vrf)


def test_many_elastic_ips_become_every_vrf():
    many = [public(f"eip-{i}", "t2", 50 + i) for i in range(RECORDS_MAX + 1)]
    found = touches(policy(), policy(public_addresses=(*PUBLICS, *many)))
    assert found == [whole(0), whole(1)]


def test_an_elastic_ip_among_many_vrfs_becomes_every_vrf():
    vrfs = tuple(d.Vrf(id=f"v{i}") for i in range(TOUCHES_MAX // 4))
    of_many = {"vrfs": (*DESIRED.vrfs, *vrfs)}
    found = touches(
        policy(**of_many, public_addresses=PUBLICS[:1], nat=(SNAT,)), policy(**of_many, nat=(SNAT,))
    )
    assert found == [whole(vrf) for vrf in range(len(of_many["vrfs"]))]


def test_many_changes_become_whole_vrfs():
    routes = tuple(
        d.Route(vrf="t2", prefix=f"10.{i}.0.0/16", blackhole=True) for i in range(RECORDS_MAX + 1)
    )
    found = touches(policy(), policy(routes=(*DESIRED.routes, *routes)))
    assert found == [whole(1)]


def test_order_of_rules_matters():
    assert moved("abcd", "abdc") == ["c", "d"]
    assert moved("aab", "ab") == ["a"]
    twin = changed(SNAT, id="other", priority=SNAT.priority + 1, translated=("eip-web",))
    turned = (changed(SNAT, priority=500), twin)
    assert concerned(touches(policy(nat=(SNAT, twin)), policy(nat=turned)), SNATTED)
