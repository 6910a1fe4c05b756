"""Firewall rules as records: what is multiplied out, what becomes a group, and that both mean the
same."""

from ipaddress import IPv4Address

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from pcg.model import desired as d
from pcg.reconcile import compile as c
from pcg.reconcile.addresses import address, text
from pcg.reconcile.compile_firewall import LISTS, MULTIPLIED_MAX
from pcg.reconcile.numbers import Numbers, numbers_for, numbers_of
from pcg.reconcile.touches import NOTHING, touches, whole
from tests.oracle.rules import Flow, ruling
from tests.unit.reconcile.examples import DESIRED, RULE, ports

PARTNERS = d.Group(id="partners", vrf="t1", members=("192.0.2.0/25", "198.51.100.9", "eip-web"))
NOBODY = d.Group(id="nobody", vrf="t1")
TWO_SERVICES = (d.Service(protocol=d.Protocol.TCP, destination_ports=ports(1, 2)),)


def hosts(prefix: str, n: int) -> tuple[str, ...]:
    return tuple(f"{prefix}.{i >> 8}.{i & 255}" for i in range(n))


def compiled(*rules: d.FirewallRule, groups=(PARTNERS, NOBODY)) -> c.Policy:
    section = d.FirewallSection(id="s", vrf="t1", rules=rules)
    desired = changed(DESIRED, groups=groups, firewall=d.Firewall(sections=(section,)))
    return c.compile_policy(desired, numbers_for(desired, Numbers()))


def of(policy: c.Policy, group: int) -> set[str]:
    return {f"{text(m.prefix_be)}/{m.prefix_len}" for m in policy["members"] if m.group == group}


def test_a_group_is_its_members_once_and_its_number_in_each_rule():
    rules = (changed(RULE, source=("partners",)), changed(RULE, id="b", destination=("partners",)))
    policy = compiled(*rules)
    assert [(g.id, g.name) for g in policy["groups"]] == [(1, "partners"), (2, "nobody")]
    assert of(policy, 1) == {"192.0.2.0/25", "198.51.100.9/32", "203.0.113.12/32", "10.0.1.12/32"}
    ends = [
        (r.src_group, r.dst_group, r.match.src_len, r.match.dst_len) for r in policy["firewall"]
    ]
    assert {e for e in ends if e[0]} == {(1, 0, 0, ends[0][3])}
    assert {e for e in ends if e[1]} == {(0, 1, ends[-1][2], 0)}


def test_thousands_times_thousands_times_services():
    rule = changed(
        RULE,
        source=hosts("10.1", 2000),
        destination=hosts("10.2", 2000),
        services=(d.Service(protocol=d.Protocol.TCP, destination_ports=ports(*range(1, 11))),),
    )
    policy = compiled(rule)
    assert (len(policy["firewall"]), len(policy["members"])) == (10, 4000 + 4)
    assert {(r.src_group, r.dst_group) for r in policy["firewall"]} == {(LISTS + 2, LISTS + 3)}


def test_few_are_multiplied_out():
    rule = changed(RULE, source=hosts("10.1", 4), destination=hosts("10.2", 4), services=())
    policy = compiled(rule, groups=())
    assert len(policy["firewall"]) == MULTIPLIED_MAX == 16
    assert policy["members"] == []


def test_a_group_beside_addresses_is_a_list_of_its_own():
    rule = changed(RULE, source=("partners", "10.0.0.1"), destination=(), services=())
    policy = compiled(rule)
    (record,) = policy["firewall"]
    assert of(policy, record.src_group) == of(policy, 1) | {"10.0.0.1/32"}
    assert (record.src_group, record.dst_group) == (LISTS + 2, 0)


def test_a_group_of_nobody_matches_nothing():
    (record,) = compiled(changed(RULE, source=("nobody",), destination=(), services=()))["firewall"]
    assert record.src_group == 2
    flow = Flow(bytes(4), bytes(4), 6, 1, 23)
    assert ruling([record], [], 0, 1, flow, False).rule == 0


def test_numbers_of_groups_stay():
    first = compiled(changed(RULE, source=("partners",)))
    known = numbers_of(first)
    desired = changed(DESIRED, groups=(d.Group(id="aa", vrf="t1"), PARTNERS))
    assert numbers_for(desired, known).groups == {"aa": 3, "partners": 1}


def test_touched_is_who_joins_or_leaves():
    rule = changed(RULE, source=("partners",))
    joined = changed(PARTNERS, members=(*PARTNERS.members, "198.51.100.77"))
    old, new = compiled(rule), compiled(rule, groups=(joined, NOBODY))
    for found in (touches(old, new), touches(new, old)):
        assert {t.src_be for t in found if t.src_len} == {address("198.51.100.77")}
        assert {t.dst_be for t in found if t.dst_len} == {address("198.51.100.77")}
    assert touches(old, old) == [NOTHING]
    many = changed(PARTNERS, members=hosts("10.9", 1000))
    assert touches(old, compiled(rule, groups=(many, NOBODY))) == [whole(0)]


def test_who_is_in_a_rule_with_a_group_is_touched_by_its_change():
    old = compiled(changed(RULE, source=("partners",), destination=()))
    new = compiled(changed(RULE, source=("partners",), destination=(), log=not RULE.log))
    assert whole(0) in touches(old, new)


items = st.sampled_from(["10.1.0.0/29", "10.1.0.4/31", "partners", "nobody", "eip-web", "eip-out"])
ADDRESSES = """
    10.1.0.3 10.1.0.5 10.1.0.9 10.1.0.17 192.0.2.1 192.0.2.200 198.51.100.9
    203.0.113.12 10.0.1.12 10.0.1.11
"""
addresses = st.sampled_from(ADDRESSES.split())
lists = st.lists(items | st.integers(0, 20).map("10.1.0.{}".format), unique=True, max_size=9)


def named(item: str, at: str) -> bool:
    """Is the address meant by an item of a rule's list?"""
    publics = {"eip-web": ("203.0.113.12", "10.0.1.12"), "eip-out": ("203.0.113.11", "10.0.1.11")}
    if item in publics:
        return at in publics[item]
    if item in ("partners", "nobody"):
        return item == "partners" and any(named(i, at) for i in PARTNERS.members)
    base, _, length = item.partition("/")
    shift = 32 - int(length or 32)
    return int(IPv4Address(base)) >> shift == int(IPv4Address(at)) >> shift


@given(lists, lists, st.lists(st.tuples(addresses, addresses), min_size=1, max_size=8))
@settings(deadline=None, derandomize=True, database=None, max_examples=300)
def test_records_mean_what_the_lists_say(source, destination, asked):
    rule = changed(
        RULE, source=tuple(source), destination=tuple(destination), services=TWO_SERVICES
    )
    policy = compiled(rule)
    for src, dst in asked:
        flow = Flow(address(src), address(dst), 6, 9, 2)
        wanted = all(
            not listed or any(named(i, at) for i in listed)
            for listed, at in ((source, src), (destination, dst))
        )
        got = ruling(policy["firewall"], policy["members"], 0, 1, flow, False).rule
        assert bool(got) == wanted, (src, dst)
