"""The whole path against its slow twin (tests/oracle/gateway.py): random gateways, random packets.

A case is one gateway and one sequence of packets, times, new policies, and workloads, TEPs and next
hops that move, go or come; some packets arrive at once, some damaged. After each packet, or all of
a burst: what left, byte for byte, and none before another of its flow; the reason if it ended; what
the gateway made itself; and `explain`, asked before, said so, if it came alone. At the end:
sessions, and what rules and segments count. CASES of them (2,000), and a quarter as many of crowds.
"""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.c.conftest import assert_accounted
from tests.c.moves import MOVES
from tests.c.pair import Pair
from tests.c.traffic import CROWD
from tests.c.worlds import Given
from tests.oracle.mappings import UnknownPortError

CASES = int(os.environ.get("CASES", "2000"))


def pieces(size: int, least: int, most: int) -> st.SearchStrategy[list[bytes]]:
    whole = st.binary(min_size=size * least, max_size=size * most)
    return whole.map(lambda data: [data[i : i + size] for i in range(0, len(data), size)])


nat = pieces(17, 2, 8)
bases, members = st.binary(min_size=30, max_size=30), st.binary(min_size=9, max_size=9)
policies = st.builds(Given, bases, nat, pieces(10, 0, 5), members)
steps = pieces(28, 15, 45)
met = Counter()
SAME = settings(
    deadline=None,
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def crowded() -> st.SearchStrategy[Given]:
    """SNAT by a pool of a port or two an address, some of which may not be used: for worlds.py."""
    ports = st.integers(0, 3).map(lambda n: bytes(17) + bytes([0, n]))
    # action, way, VRF; one of the mapped addresses, one or all of the peers
    denied = st.tuples(
        st.integers(1, 3), st.just(2), st.just(0), st.integers(8, 10), st.integers(0, 2)
    ).map(bytes)
    rules = st.lists(st.binary(min_size=13, max_size=13), max_size=2)
    return st.builds(Given, ports, rules, st.lists(denied, min_size=1, max_size=3))


@pytest.mark.slow
@pytest.mark.timeout(7200)
@given(st.binary(min_size=30, max_size=30), policies, policies, steps)
@settings(SAME, max_examples=CASES)
def test_the_path_does_what_its_twin_says(built, around, one, other, sequence):
    compare(Pair(around, (one, other)), sequence)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@given(crowded(), crowded(), pieces(12, 15, 45))
@settings(SAME, max_examples=CASES // 4)
def test_also_of_many_that_come_at_once(built, one, other, sequence):
    pair = Pair(bytes(30), (one, other))
    pair.kinds = CROWD
    compare(pair, sequence)


def compare(pair: Pair, sequence: list[bytes]) -> None:
    with pair:
        try:
            for data in sequence:
                pair.step(data)
        except UnknownPortError:
            met["unknown port"] += 1
            return
        pair.settle()
        met.update(pair.met)
        assert_accounted(pair.dp)


def test_the_cases_reached_what_they_are_for(built):
    """Runs behind the other: nothing was compared that never happened."""
    assert met, "run it together with the cases"
    wanted = {"sent", "error translated", "hairpin", "decided again", "FIREWALL_DENIED", "TOO_BIG"}
    if CASES >= 2000:
        wanted |= {
            "NAT_PORTS_EXHAUSTED", "NAT_FILTERED", "NO_NAT", "NO_DNAT", "NAT_PROTOCOL",
            "TTL_EXPIRED", "NEIGHBOUR_UNRESOLVED", "TCP_NO_SESSION", "ICMP_NO_SESSION",
            "SOURCE_SPOOFED", "BLACKHOLE", "QUOTA_SESSIONS", "QUOTA_PORTS", "shared", "by group",
            "clamped", "cut", "joined", "reset", "FRAGMENT_OVERLAP", "FRAGMENT_DUPLICATE",
            "FRAGMENT_TIMEOUT", "ECN_CONGESTED", "UPLINK_SPOOFED",
            *(("moved", kind) for kind in MOVES),
            "FRAME_SHORT", "ETHERTYPE", "MAC_NOT_OURS", "OUTER_IP_BAD", "OUTER_IP_CHECKSUM",
            "OUTER_NOT_TUNNEL", "OUTER_UDP_LENGTH", "OUTER_UDP_CHECKSUM",
            "GENEVE_PROTO", "GENEVE_CRITICAL", "VNI_UNKNOWN",
            "IP_BAD", "IP_CHECKSUM", "L4_SHORT", "OUTER_ICMP", "told below",
            "at once", "made at once", "in order", "past the stages", "in two bursts",
        }  # fmt: skip
    if CASES >= 20_000:  # one byte of many, and one bit of it
        wanted |= {"GENEVE_VERSION", "GENEVE_CONTROL", "GENEVE_OPTION_BAD", "IP_OPTIONS"}
    missing = wanted - set(+met)
    print(met)
    assert not missing, (missing, met)
    assert met["unknown port"] <= met["sent"] // 100
