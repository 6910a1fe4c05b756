"""Workloads that want more than their share: who is refused is named, wherever somebody looks."""

import json
import re
import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from pcg.lab import ns
from pcg.lab.lab import Lab
from pcg.lab.layout import INTERNET
from pcg.model.desired import Desired
from pcg.model.terms import Quota
from tests.e2e.scrape import scraped
from tests.waiting import wait_until

RULE, LIMIT = "out-t1", 8


class Short(NamedTuple):
    workload: str
    rule: str
    public_address: str


OTHER = Short("t2-web1", "out-t2", "eip-t2")


def published(lab: Lab, desired: Desired) -> None:
    """And in force."""
    before = lab.ask.totals()["revision"]
    lab.publish(lambda _: desired)
    wait_until(lambda: lab.ask.totals()["revision"] > before, "the new policy")


@pytest.fixture
def held(lab: Lab) -> Iterator[None]:
    """No workload may have more than LIMIT sessions by one of the rules."""
    before = lab.desired
    quota, ids = Quota(sessions=LIMIT), (RULE, OTHER.rule)
    rules = (replace(r, quota=quota) if r.id in ids else r for r in before.nat)
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


def shortage(lab: Lab) -> list[dict]:
    """Of OTHER's workload, as an operator's program asks."""
    return [row for row in lab.ask.show("shortages") if row["workload"] == OTHER.workload]


def heard(lab: Lab) -> list[dict]:
    """The same, as the controller heard of it."""
    path = lab.layout.run / "realised" / f"{lab.desired.gateway.id}.shortages.json"
    said = json.loads(path.read_text())["shortages"] if path.exists() else []
    return [one for one in said if one["workload"] == OTHER.workload]


def test_operator_controller_and_prometheus_are_told(lab: Lab, held):
    workload, rule, public = OTHER
    began = "pcg_nat_rule_shortages_total", rule
    before = scraped(lab)[began]
    dials(lab, workload, 2 * LIMIT)
    (row,) = wait_until(lambda: shortage(lab), "its row")
    named = {"vrf": "t2", "address": lab.layout.port(workload).addresses[0]}
    named |= {"reason": "QUOTA_SESSIONS", "rule": rule, "public_address": public}
    assert row == row | named
    assert row["refused"] >= 1
    assert scraped(lab)[began] == before + 1
    words = f"{workload} ({named['address']}, VRF t2) was refused"
    assert words in " ".join(lab.ask.text("drops").split())
    (said,) = wait_until(lambda: heard(lab), "the controller's file")
    assert said == said | {key: n for key, n in row.items() if key != "when"}
    log = (lab.layout.run / "controller.log").read_text()
    assert log.count(f"gateway {lab.desired.gateway.id}: {said['text']}\n") == 1
