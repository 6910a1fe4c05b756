"""classify.c: of many rules the first that fits, as its slow twin finds it."""

import random
from ipaddress import IPv4Address

import pytest
from scapy.layers.inet import IP, TCP, UDP

from pcg.reconcile import records as r
from tests.c.places import PLAIN, ip
from tests.c.world import over
from tests.oracle.rules import first

# Few addresses and ports, so that rules overlap and most packets meet several.
NETS = ["198.51.100.0", "198.51.100.128", "198.51.0.0", "203.0.113.0", "8.8.8.8"]
LENGTHS = [15, 16, 24, 25, 25, 31, 32, 32, 32]
PORTS = [0, 1, 53, 80, 443, 1024, 8080, 65535]


def rule(rng: random.Random) -> r.Match:
    src_len = rng.choice([0, 24, 32, 32])
    sport, dport = sorted(rng.choices(PORTS, k=2)), sorted(rng.choices(PORTS, k=2))
    protocol = rng.choice([0, 6, 6, 17, 17])
    anywhere = protocol == 0
    if rng.random() < 0.6:
        sport = [0, 65535]
    return r.Match(
        src_be=ip(rng.choice([PLAIN.address, "198.18.7.0", "198.18.7.8"])),
        src_len=src_len,
        dst_be=ip(rng.choice(NETS)),
        dst_len=rng.choice(LENGTHS),
        protocol=protocol,
        sport_first=0 if anywhere else sport[0],
        sport_last=65535 if anywhere else sport[1],
        dport_first=0 if anywhere else dport[0],
        dport_last=65535 if anywhere else dport[1],
    )


def packet(rng: random.Random) -> tuple[str, type, int, int]:
    near = int(IPv4Address(rng.choice(NETS))) + rng.choice([0, 1, 5, 129])
    return str(IPv4Address(near)), rng.choice([UDP, TCP]), rng.choice(PORTS[1:]), rng.choice(PORTS)


@pytest.mark.parametrize("n", [1, 7, 40, 400])
def test_first_match_as_by_asking_each(world, n):
    rng = random.Random(n + 1)
    matches = [rule(rng) for _ in range(n)]
    world.policy.firewall = [
        r.Firewall(i + 1, 0, rng.choice([0, 1]), 2, 0, m, f"r{i}") for i, m in enumerate(matches)
    ]
    world.commit()
    met = set()
    for _ in range(300):
        dst, l4, sport, dport = packet(rng)
        given = {"flags": "S"} if l4 is TCP else {}
        sent = IP(src=PLAIN.address, dst=dst) / l4(sport=sport, dport=dport, **given)
        events, _ = world.dp.explain("downlink", over(PLAIN, sent))
        number = 6 if l4 is TCP else 17
        want = first(matches, ip(PLAIN.address), ip(dst), number, sport, dport)
        assert events[-1]["fw_id"] == (0 if want is None else want + 1), (dst, l4, sport, dport)
        met.add(want)
    assert len(met) >= min(n, 4)  # not always the same one


def test_of_a_thousand_rules_alike_but_for_their_ports_the_first_wins(world):
    same = [
        r.Match(dst_be=ip("8.8.8.8"), dst_len=32, protocol=17, dport_first=i, dport_last=i + 1)
        for i in range(1, 1001)
    ]
    world.policy.firewall = [r.Firewall(i + 1, 0, 0, 2, 0, m, "") for i, m in enumerate(same)]
    world.commit()
    for dport, want in [(1, 1), (2, 1), (500, 499), (1001, 1000), (1002, 0)]:
        sent = IP(src=PLAIN.address, dst="8.8.8.8") / UDP(sport=9, dport=dport)
        events, _ = world.dp.explain("downlink", over(PLAIN, sent))
        assert events[-1]["fw_id"] == want


def test_where_many_rules_differ_by_their_ports_the_first_wins_still(world):
    """Ranges that overlap, end at either end, and some that want a source port."""
    rng = random.Random(5)
    same = []
    for i in range(300):
        first_, last = sorted(rng.choice([0, 65535, *range(1, 400)]) for _ in range(2))
        ports = {"dport_first": first_, "dport_last": last}
        ports |= {"sport_first": 9, "sport_last": 9} if i % 3 == 0 else {}
        same.append(r.Match(dst_be=ip("8.8.8.8"), dst_len=32, protocol=17, **ports))
    same.sort(key=lambda m: m.dport_last - m.dport_first)  # the narrow ones first: more of them win
    world.policy.firewall = [r.Firewall(i + 1, 0, 0, 2, 0, m, "") for i, m in enumerate(same)]
    world.commit()
    met = set()
    for dport in [0, 65534, 65535, *range(1, 402, 2)]:
        sport = rng.choice([8, 9])
        sent = IP(src=PLAIN.address, dst="8.8.8.8") / UDP(sport=sport, dport=dport)
        events, _ = world.dp.explain("downlink", over(PLAIN, sent))
        want = first(same, ip(PLAIN.address), ip("8.8.8.8"), 17, sport, dport)
        assert events[-1]["fw_id"] == (0 if want is None else want + 1), (sport, dport)
        met.add(want)
    assert len(met) > 30
