"""What a client sees whose packet has no way: Linux's connect() and ping, through Open vSwitch."""

import errno
import socket

import pytest
from msgspec.structs import replace

from pcg.lab import ns
from pcg.lab.checks.change import put_back
from pcg.lab.clients import curl
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET
from pcg.model.desired import Desired
from tests.waiting import wait_until

NOBODY = "10.99.1.250"  # an address of the uplink's subnet
PATIENCE_S = 30.0  # of connect(): what is answered by nothing would take longer


def connect(space: str) -> str:
    """What connect() says; "" when there is a connection."""
    try:
        with ns.inside(space), socket.create_connection((INTERNET, HTTP), timeout=PATIENCE_S):
            return ""
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e))


def ping(space: str) -> str:
    return ns.run("ping", "-n", "-c", "1", "-W", "2", INTERNET, ns=space, check=False)


def without_default_route(desired: Desired) -> Desired:
    kept = [r for r in desired.routes if (r.vrf, r.prefix) != ("t1", "0.0.0.0/0")]
    return replace(desired, routes=tuple(kept))


def without_nat(desired: Desired) -> Desired:
    return replace(desired, nat=tuple(n for n in desired.nat if n.id != "out-t1"))


@pytest.fixture
def web(lab: Lab):
    space = lab.layout.workload_ns("web1")
    curl(space, f"http://{INTERNET}:{HTTP}/")
    with put_back(lab):
        yield space
    wait_until(lambda: connect(space) == "", "the way back")


@pytest.mark.parametrize(
    "change, error, said",
    [
        (without_default_route, "ENETUNREACH", "Destination Net Unreachable"),
        (without_nat, "EHOSTUNREACH", "Packet filtered"),
    ],
    ids=["no route", "no NAT rule"],
)
def test_rfc1812_5_2_7_1_a_client_hears_at_once(lab: Lab, web: str, change, error, said):
    """RFC 1812 section 5.2.7.1: connect() fails and says why, instead of trying for two minutes."""
    lab.publish(change)
    wait_until(lambda: connect(web) == error, error)
    assert said in ping(web)


def test_a_next_hop_that_nobody_has(lab: Lab, web: str):
    """While the kernel looks for it the SYN is sent again; once it gave up connect() fails."""

    def elsewhere(desired: Desired) -> Desired:
        moved = [
            replace(r, next_hop=NOBODY) if (r.vrf, r.prefix) == ("t1", "0.0.0.0/0") else r
            for r in desired.routes
        ]
        return replace(desired, routes=tuple(moved))

    lab.publish(elsewhere)
    hops = wait_until(
        lambda: [h for h in lab.ask.show("nexthops") if h["address"] == NOBODY], "the next hop"
    )
    assert not hops[0]["resolved"]
    wait_until(lambda: connect(web) == "EHOSTUNREACH", "EHOSTUNREACH")
    assert "Destination Host Unreachable" in ping(web)
    (hop,) = [h for h in lab.ask.show("nexthops") if h["address"] == NOBODY]
    assert (hop["resolved"], hop["silent"]) == (False, True)
    told = lab.ask.text("explain", "--vrf", "t1", "--src", "192.168.99.9", "--dst", INTERNET)
    assert "its sender is told by ICMP 3/1" in told
    assert f"router {NOBODY}, MAC not known, nobody answers" in told
