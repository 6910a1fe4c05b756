"""Named cases of the path and its twin: what random ones seldom meet (test_twin_gateway.py)."""

from dataclasses import replace

import pytest

from tests.c import worlds as w
from tests.c.conftest import assert_accounted
from tests.c.pair import PASSES_S, Pair
from tests.c.worlds import Given, Picks
from tests.oracle import ipv4 as ip4
from tests.oracle.decision import Key, num
from tests.oracle.mappings import UnknownPortError

DULL = Picks(b"")
BASE = bytes(30)
PEER, OTHER = w.PEERS[0], w.PEERS[2]
OWNER, SENDER = w.host(0, 0), w.host(0, 1)
ROUTED = w.host(0, 3)

# As worlds.translation() and worlds.filtering() read them.
# DNAT of a whole public address, each to another workload
DOORS = [bytes([1, 0, n, 2, 0, host]) for n, host in enumerate((0, 2, 3))]
DENY_DNS = bytes([2, 2, 0, 0, 0, 0, 1])  # outwards
ALLOW_IN = bytes([0, 1])
STATELESS_IN = bytes([0, 1, 0, 0, 0, 0, 0, 2])
ONE, TWO = 2, 1  # ports a public address


def snat(ports: int, quota: int = 0, overflow: int = 0) -> bytes:
    """By all public addresses."""
    return bytes([0, 0, 0, 0, 0, 0, 1, ports, 0, quota, 0, 0, overflow])


def pair_of(one: Given, other: Given | None = None) -> Pair:
    return Pair(bytes(30), (one, other or one))


def out(pair: Pair, src: int, sport: int, dport: int, dst: int = PEER) -> None:
    packet = ip4.udp(src, dst, sport, dport, bytes(4))
    pair.down(packet, 0, w.home(0, 0), DULL)


def in_(pair: Pair, dst: int, sport: int, dport: int) -> None:
    pair.up(ip4.udp(PEER, dst, sport, dport, bytes(4)))


def later(pair: Pair, seconds: int) -> None:
    pair.time(Picks(bytes([PASSES_S.index(seconds)])))


def settle(pair: Pair) -> None:
    pair.settle()
    assert_accounted(pair.dp)


# ---- a commit judges in the order of the slots ----


@pytest.mark.parametrize("turned", [False, True], ids=["as made", "the other way round"])
def test_the_end_of_one_does_not_make_its_peer_a_stranger_to_the_other(built, turned):
    """The workload's own session ends, the one that its peer opened goes on in another rule's name,
    asked first or last."""
    denied = Given(BASE, [], [DENY_DNS, ALLOW_IN])
    with pair_of(Given(BASE, [], []), denied) as pair:
        if turned:  # the slot that was given back last is the first to be used
            out(pair, SENDER, 1, 80)
            out(pair, SENDER, 2, 80)
            later(pair, 301)
        out(pair, OWNER, 2, 53)
        outside = pair.twin.table.live[0].ways[0]
        in_(pair, outside.address, 9, outside.port)
        assert [bool(one.fwd_from_uplink) for one in pair.sessions()] == [turned, not turned]
        pair.commit(DULL)
        assert [(one.fwd_from_uplink, one.marked) for one in pair.sessions()] == [(1, True)]
        settle(pair)


def test_what_a_stateless_rule_takes_over_ends_unnoticed(built):
    with pair_of(Given(BASE, [], [ALLOW_IN]), Given(BASE, [], [STATELESS_IN])) as pair:
        in_(pair, ROUTED, 2, 8080)
        assert len(pair.sessions()) == 1
        pair.commit(DULL)
        assert (pair.sessions(), pair.twin.cuts) == ([], 0)
        settle(pair)


# ---- ports drawn by which answers are somebody's already ----


def taken(pair: Pair, n: int, port: int = 2000) -> None:
    """PEER comes in by so many of the addresses that SENDER's ports are drawn from, first first."""
    key = Key(0, False, SENDER, PEER, 5, 7003, ip4.UDP)
    for pub in pair.twin.decide(key).pool[:n]:
        in_(pair, num(pub.secondary_be), 7003, port)
    assert len(pair.sessions()) == n


@pytest.mark.parametrize(
    "n, rule, why, in_vain",
    [
        (1, snat(ONE), None, 1),
        (2, snat(ONE), None, 2),
        (3, snat(ONE), "NAT_PORTS_EXHAUSTED", 3),
        (3, snat(ONE, overflow=1), "NAT_PORTS_EXHAUSTED", 3),
        (1, snat(ONE, quota=6), "QUOTA_PORTS", 1),
        (3, snat(ONE, quota=7), "QUOTA_PORTS", 2),
    ],
)
def test_a_port_is_drawn_in_vain(built, n, rule, why, in_vain):
    with pair_of(Given(BASE, [*DOORS, rule], [])) as pair:
        taken(pair, n)
        out(pair, SENDER, 5, 7003)
        assert pair.dp.drops() == ({why: 1} if why else {})
        assert pair.twin.table.in_vain == in_vain
        settle(pair)


def test_it_is_taken_until_housekeeping(built):
    with pair_of(Given(BASE, [*DOORS, snat(ONE)], [])) as pair:
        taken(pair, 3)
        out(pair, SENDER, 5, 7003)
        out(pair, SENDER, 5, 7003, OTHER)
        assert pair.dp.drops() == {"NAT_PORTS_EXHAUSTED": 2}
        later(pair, 1)
        out(pair, SENDER, 5, 7003, OTHER)
        assert pair.dp.drops() == {"NAT_PORTS_EXHAUSTED": 2}
        assert pair.dp.totals()["mappings"] == 1
        settle(pair)


def test_which_of_two_was_drawn_is_chance(built):
    with pair_of(Given(BASE, [*DOORS, snat(TWO)], [])) as pair:
        taken(pair, 1)
        with pytest.raises(UnknownPortError):
            out(pair, SENDER, 5, 7003)


# ---- the gateway's own answers ----


def test_a_damaged_ping_is_answered_as_damaged(built):
    """Nothing that was damaged on its way to the gateway is made to look whole again."""
    gateway = (OWNER & 0xFFFFFF00) + 1
    ping = ip4.icmp(OWNER, gateway, ip4.ECHO, 0, b"\0\3\0\1", bytes(4))
    with pair_of(Given(BASE, [], [])) as pair:
        for data in ping.payload, ping.payload[:-1] + b"\1":
            pair.down(replace(ping, payload=data), 0, w.home(0, 0), DULL)
        assert pair.met["sent"] == 2
        settle(pair)
