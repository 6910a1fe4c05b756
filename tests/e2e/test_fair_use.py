"""Workloads that want more than their share: who is refused is named in a real gateway's log."""

import re
import socket
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from pcg.lab import ns
from pcg.lab.lab import Lab
from pcg.lab.layout import INTERNET
from pcg.model.desired import Desired
from pcg.model.terms import Quota
from tests.waiting import wait_until

RULE, LIMIT = "out-t1", 8


def published(lab: Lab, desired: Desired) -> None:
    """And in force."""
    before = lab.ask.totals()["revision"]
    lab.publish(lambda _: desired)
    wait_until(lambda: lab.ask.totals()["revision"] > before, "the new policy")


@pytest.fixture
def held(lab: Lab) -> Iterator[None]:
    """No workload may have more than LIMIT sessions by the rule."""
    before = lab.desired
    rules = (replace(r, quota=Quota(sessions=LIMIT)) if r.id == RULE else r for r in before.nat)
    published(lab, replace(before, nat=tuple(rules)))
    yield
    published(lab, before)


def dials(lab: Lab, workload: str, times: int) -> None:
    """As many sessions to the Internet, each of a port of its own."""
    with ns.inside(lab.layout.workload_ns(workload)):
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(times)]
    for one in sockets:
        one.sendto(b"?", (INTERNET, 9))
    for one in sockets:
        one.close()


def refused(lab: Lab, workload: str) -> int:
    address = lab.layout.port(workload).addresses[0]
    rows = [row for row in lab.ask.show("usage") if (row["vrf"], row["address"]) == ("t1", address)]
    return sum(row["refused"] or 0 for row in rows)


def told(lab: Lab, workload: str) -> list[tuple[str, ...]]:
    """Reason, rule and public address of each line about it."""
    log = (lab.layout.run / "gateway.log").read_text()
    who = f"{workload} ({lab.layout.port(workload).addresses[0]}, VRF t1)"
    words = r" was refused [1-9]\d* sessions: (\w+); NAT rule (\S+), public address (\S+)$"
    return re.findall(re.escape(who) + words, log, re.MULTILINE)


def test_who_is_refused_is_named_once_an_episode(lab: Lab, held):
    """The second workload's line comes of a later look than what the first was refused before."""
    first, second, line = "legacy1", "web1", ("QUOTA_SESSIONS", RULE, "eip-t1")
    dials(lab, first, 2 * LIMIT)
    wait_until(lambda: told(lab, first), "its line")
    so_far = refused(lab, first)
    assert so_far >= LIMIT
    dials(lab, first, LIMIT)
    wait_until(lambda: refused(lab, first) >= so_far + LIMIT, "more refusals")
    assert told(lab, second) == []
    dials(lab, second, 2 * LIMIT)
    wait_until(lambda: told(lab, second), "the second one's line")
    assert told(lab, first) == told(lab, second) == [line]
