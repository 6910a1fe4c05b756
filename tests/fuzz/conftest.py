"""A small gateway under fire: the datapath of tests/c, programmed."""

import pytest

from pcg.datapath.lib import Datapath
from pcg.reconcile import records as r
from tests.c.conftest import dp  # noqa: F401 (a fixture)

MAC = bytes.fromhex("020000000005")


def ip(text: str) -> bytes:
    return bytes(int(part) for part in text.split("."))


@pytest.fixture
def gateway(dp) -> Datapath:  # noqa: F811 (a fixture)
    """Two segments, a transit, SNAT, DNAT and 1:1 rules, a firewall rule: every branch is open."""
    web, any_ = r.Match(dst_be=ip("10.99.1.11"), dst_len=32, protocol=6), r.Match()
    six = r.Match(dst_be=ip("6.6.6.6"), dst_len=32)
    eip, none = (1, *[0] * 15), (0,) * 16
    dp.put("teps", [r.Teps(ip(f"10.99.0.{i}"), MAC, 1, i % 2, 9001) for i in (2, 3)])
    dp.put("nexthops", [r.Nexthops(ip("10.99.1.1"), MAC, 1)])
    ports = [(f"10.{s}.0.{h}", 1000 + s, f"10.99.0.{2 + h % 2}") for s in (1, 2) for h in (10, 11)]
    dp.put("ports", [r.Ports(0, ip(a), vni, ip(tep), MAC) for a, vni, tep in ports])
    dp.commit(
        {
            "local": [r.Local(ip("10.99.0.1"), 1, 1500, 9001, 1024, 65535, 7)],
            "vrfs": [r.Vrfs(0, 0, 0, "blue")],
            "segments": [
                r.Segments(1001, 0, 0, ip("10.1.0.0"), ip("10.1.0.1"), 8943, 24, 0, MAC, "a"),
                r.Segments(1002, 0, 0, ip("10.2.0.0"), ip("10.2.0.1"), 1400, 24, 1, MAC, "b"),
                r.Segments(5000, 0, 1, bytes(4), bytes(4), 8943, 0, 0, MAC, "transit"),
            ],
            "publics": [
                r.Publics(1, 0, ip("52.1.1.1"), ip("10.99.1.11"), "eip-1"),
                r.Publics(2, 0, ip("52.1.1.2"), ip("10.99.1.12"), "eip-2"),
            ],
            "routes": [
                r.Routes(0, bytes(4), 0, 0, ip("10.99.1.1"), 0),
                r.Routes(0, ip("10.1.0.0"), 24, 1, bytes(4), 1001),
                r.Routes(0, ip("10.2.0.0"), 24, 1, bytes(4), 1002),
                r.Routes(0, ip("9.9.9.0"), 24, 2, bytes(4), 0),
            ],
            "nat": [
                r.Nat(1, 0, 0, 0, 0, 0, 0, 0, ip("10.1.0.10"), 2, web, none, "in"),
                r.Nat(2, 0, 2, 0, 0, 1, 0, 0, bytes(4), 0, one_to_one(), (2, *[0] * 15), "one"),
                r.Nat(3, 0, 1, 0, 0, 1, 0, 0, bytes(4), 0, any_, eip, "out"),
            ],
            "firewall": [r.Firewall(1, 0, 2, 3, 0, six, "no")],
        },
        1,
    )
    return dp


def one_to_one() -> r.Match:
    return r.Match(src_be=ip("10.1.0.11"), src_len=32)
