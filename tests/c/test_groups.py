"""columns.c and the firewall of decide.c: rules about groups, as their slow twin decides."""

import random
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP

from pcg.model.errors import BackendError
from pcg.reconcile import records as r
from tests.c import wire
from tests.c.packets import udp
from tests.c.places import NET, PLAIN, A, ip
from tests.c.test_twins import SHARED
from tests.c.world import nat, over, source
from tests.oracle.rules import ALLOW, DROP, REJECT, Flow, ruling

IN, OUT = 1, 2
NEAR = 0xC6336400  # 198.51.100.0
PORTS = (0, 53, 80, 443, 65535)

# Few bits that differ, so that prefixes nest and groups overlap.
prefixes = st.tuples(
    st.integers(0, 63).map(lambda n: NEAR ^ (n & 7) ^ (n >> 3) << 7),
    st.sampled_from([0, 8, 22, 24, 25, 29, 30, 31, 32, 32, 32]),
).map(lambda p: ((p[0] >> 32 - p[1] << 32 - p[1]).to_bytes(4), p[1]))
groups = st.lists(st.lists(prefixes, max_size=6), min_size=1, max_size=5)
sides = st.integers(0, 6)  # 0: a prefix; 6: a group that nobody has defined
ranges = st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS)).map(sorted)
ours = st.sampled_from([(ip(PLAIN.address), 32), (ip("198.18.7.0"), 24), (bytes(4), 0)])


@st.composite
def rules(draw, direction):
    """A rule about flows between PLAIN and the net."""
    far = draw(prefixes)
    near, group = draw(ours), draw(sides)
    protocol = draw(st.sampled_from([0, 17, 17, 6]))
    dports = draw(ranges) if protocol else (0, 65535)
    src, dst = (near, far) if direction == OUT else (far, near)
    ends = (0, group) if direction == OUT else (group, 0)
    match = r.Match(*(src[0], dst[0], src[1], dst[1]), protocol, 0, 65535, *dports)
    action, stateless = draw(st.sampled_from([ALLOW, ALLOW, DROP, REJECT])), draw(st.integers(0, 1))
    way = draw(st.sampled_from([direction, direction, 3, 3 - direction]))
    return r.Firewall(1, 0, action, way, 0, match, "", *ends, stateless)


def members_of(found) -> list[r.Members]:
    rows = {r.Members(0, i + 1, *p) for i, group in enumerate(found) for p in group}
    return sorted(rows)


def seen(events) -> tuple[int, bool, bool]:
    """(rule, allowed, with a session), as the path says."""
    asked = next(e for e in events if e["stage"] == "session_lookup")
    allowed = asked["verdict"] != "dropped"
    assert allowed or asked["reason"] == "FIREWALL_DENIED", asked
    return asked["fw_id"], allowed, allowed and "no session" not in asked["note"]


@pytest.mark.parametrize("direction", [OUT, IN])
def test_as_by_asking_each(world, direction):
    @given(st.data(), groups, st.integers(0, 2))
    @settings(SHARED, max_examples=100)
    def twin(data, found, default):
        listed = data.draw(st.lists(rules(direction), min_size=1, max_size=12))
        listed = [rule._replace(id=i + 1) for i, rule in enumerate(listed)]
        members = members_of(found)
        world.policy.firewall, world.policy.members = listed, members
        world.policy.defaults = (default, default)
        world.commit()
        for n in (0, 1, 5, 0x80, 0x87, 0x380, 0x4000):
            far, dport = (NEAR ^ n).to_bytes(4), data.draw(st.sampled_from(PORTS))
            peer = str(IPv4Address(far))
            if direction == OUT:
                frame = over(PLAIN, udp(PLAIN.address, peer, 9, dport))
                flow = Flow(ip(PLAIN.address), far, 17, 9, dport)
            else:
                frame = wire.plain(udp(peer, PLAIN.address, 9, dport))
                flow = Flow(far, ip(PLAIN.address), 17, 9, dport)
            events, _ = world.dp.explain("downlink" if direction == OUT else "uplink", frame)
            want = ruling(listed, members, default, direction, flow, False)
            assert seen(events) == (want.rule, want.action == ALLOW, want.session), (peer, dport)

    twin()


def test_translated_flows_keep_their_session(world):
    """By the address that firewall_match names, also where a group has it."""
    world.policy.nat["snat"] = nat(9, 1, source("192.168.0.0", 16), *world.policy.publics[:1])
    outside = world.policy.publics[0].secondary
    for fw_match, address in ((0, outside), (1, A.address)):
        rule = world.policy.nat["snat"]
        world.policy.nat["snat"] = rule._replace(fw_match=fw_match)
        world.policy.defaults = (DROP, DROP)
        world.policy.members = [r.Members(0, 7, ip(address), 32)]
        allow = r.Firewall(1, 0, ALLOW, OUT, 0, r.Match(), "", 7, 0, 1)
        world.policy.firewall = [allow]
        world.commit()
        events, _ = world.dp.explain("downlink", over(A, udp()))
        flow = Flow(ip(address), ip(NET), 17, 1000, 53)
        want = ruling([allow], world.policy.members, DROP, OUT, flow, True)
        assert seen(events) == (want.rule, want.action == ALLOW, want.session) == (1, True, True)


def test_two_thousand_sources_and_destinations_are_four_thousand_members(world):
    """Ten services of one rule: ten records. Every address is met, its neighbours are not."""
    rng = random.Random(3)
    sources = rng.sample(range(0x0A000000, 0x0A0FFFFF, 2), 2000)
    targets = rng.sample(range(NEAR, NEAR + 0x4000, 2), 2000)
    sources.append(int.from_bytes(ip(PLAIN.address)))
    pairs = [(1, s) for s in sources] + [(2, t) for t in targets]
    world.policy.members = sorted(r.Members(0, g, a.to_bytes(4), 32) for g, a in pairs)
    match = [r.Match(protocol=17, dport_first=n, dport_last=n) for n in range(10, 20)]
    world.policy.firewall = [r.Firewall(1, 0, DROP, OUT, 0, m, "big", 1, 2) for m in match]
    world.commit()
    assert len(world.dp.read("members")) == 4001
    for target in rng.sample(targets, 50):
        for address, dport, want in ((target, 15, 1), (target + 1, 15, 0), (target, 20, 0)):
            sent = IP(src=PLAIN.address, dst=str(IPv4Address(address))) / UDP(sport=1, dport=dport)
            events, _ = world.dp.explain("downlink", over(PLAIN, sent))
            assert events[-1]["fw_id"] == want, (address, dport)


def test_more_pairs_than_a_word_has_bits(world):
    """200 rules, each with a group of its own; one address is in all, others in one each."""
    members = [r.Members(0, g, ip(NET), 32) for g in range(1, 201)]
    members += [r.Members(0, g, (NEAR + 256 + g).to_bytes(4), 32) for g in range(1, 201)]
    world.policy.members = sorted(members)
    world.policy.firewall = [
        r.Firewall(g, 0, ALLOW, OUT, 0, r.Match(protocol=17, dport_first=g, dport_last=g), "", 0, g)
        for g in range(1, 201)
    ]
    world.commit()
    for g in (1, 2, 63, 64, 65, 128, 129, 199, 200):
        for address, dport, want in ((ip(NET), g, g), ((NEAR + 256 + g).to_bytes(4), g, g)):
            packet = udp(PLAIN.address, str(IPv4Address(address)), 9, dport)
            events, _ = world.dp.explain("downlink", over(PLAIN, packet))
            assert events[-1]["fw_id"] == want
        events, _ = world.dp.explain("downlink", over(PLAIN, udp(PLAIN.address, NET, 9, 201)))
        assert events[-1]["fw_id"] == 0


def test_what_was_put_is_read(world):
    world.policy.groups = [r.Groups(3, 0, "partners")]
    world.policy.members = [r.Members(0, 3, ip("10.0.0.0"), 8), r.Members(1, 2, ip(NET), 32)]
    world.commit()
    assert world.dp.read("groups") == world.policy.groups
    assert sorted(world.dp.read("members")) == world.policy.members


@pytest.mark.parametrize("member", [r.Members(9, 1, bytes(4), 0), r.Members(0, 1, bytes(4), 33)])
def test_what_no_group_can_have_is_refused(world, member):
    world.policy.members = [member]
    with pytest.raises(BackendError, match=r"members\[0\]"):
        world.commit()
    world.policy.members = []


def test_prefixes_that_begin_at_the_same_address(world):
    """Each ends where it ends: what is outside the narrow one is in the wide ones only."""
    lengths = {1: 32, 2: 30, 3: 24, 4: 22, 5: 0}
    base = NEAR >> 10 << 10
    world.policy.members = sorted(
        r.Members(0, g, (base if n else 0).to_bytes(4), n) for g, n in lengths.items()
    )
    allow = [r.Firewall(g, 0, ALLOW, OUT, 0, r.Match(), "", 0, g) for g in lengths]
    for turned in (False, True):
        world.policy.firewall = allow[::-1] if turned else allow
        world.commit()
        for offset, want in ((0, 1), (1, 2), (3, 2), (4, 3), (255, 3), (256, 4), (1024, 5)):
            peer = str(IPv4Address(base + offset))
            events, _ = world.dp.explain("downlink", over(PLAIN, udp(PLAIN.address, peer)))
            assert events[-1]["fw_id"] == (5 if turned else want), offset
