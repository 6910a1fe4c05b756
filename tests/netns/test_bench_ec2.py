"""The EC2 bench between two namespaces instead of two hosts: what it sends goes through."""

import json
import sys

import pytest

from bench import ec2, machine, veth, world
from pcg.lab import ns

RATE, SECONDS = 5_000, 0.4


@pytest.fixture
def hosts():
    """The gateway's namespace with PCG in it; the other one with a TEP and a far end."""
    with veth.wires():
        ns.run("nft", "-f", "-", ns=veth.GW, stdin=veth.DEAF)
        ns.ip(f"addr add {'.'.join(map(str, world.tep(0)))}/24 dev d1", veth.WIRE)
        ns.ip(f"addr add {'.'.join(map(str, world.HOP))}/24 dev u1", veth.WIRE)
        with veth.gateway("af_packet", 1000) as dp:
            yield dp


def test_between_two_hosts(hosts, tmp_path):
    report = tmp_path / "ec2.json"
    options = {
        "out": "d1",
        "in": "u1",
        "next-hop": veth.mac("down0").hex(":"),
        "gateway-tep": ".".join(map(str, world.OURS)),
        "vni": world.TRANSIT,
        "inner-mac": world.GATEWAY_MAC.hex(":"),
        "sessions": 50,
        "rates": RATE,
        "workload": ".".join(map(str, world.workload(0))),
        "seconds": SECONDS,
        "json": report,
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    python = (sys.executable, "-m", "bench.ec2", *words)
    ns.run("env", "-C", str(machine.ROOT), *python, ns=veth.WIRE)
    (row,) = json.loads(report.read_text())["rows"]
    assert row["workload"] == f"ec2 north at {RATE}"
    assert row["mpps"] > 0, row
    assert "these NICs count no allowances" in row["note"]
    assert hosts.totals()["sessions"] == 50
    assert hosts.drops() == {}


def test_allowances_that_grew_are_said():
    before = ec2.parsed("     bw_in_allowance_exceeded: 5\n     pps_allowance_exceeded: 1")
    after = ec2.parsed("     bw_in_allowance_exceeded: 5\n     pps_allowance_exceeded: 8")
    held = {f"ens6 {name}": after[name] - before[name] for name in after}
    assert ec2.said(held) == "ens6 pps_allowance_exceeded +7"
