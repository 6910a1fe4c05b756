"""The log of what rules allow and deny: what is told, and what is only counted."""

import json
from types import SimpleNamespace

import pytest

from pcg.gateway.json_log import JsonLog
from pcg.gateway.names import Names
from pcg.gateway.rule_log import DENIED, PASSED, RuleLog
from pcg.gateway.session_log import KEEP, Part, SessionLog
from pcg.model.errors import BackendError
from pcg.reconcile import records as r
from pcg.reconcile.numbers import Numbers
from tests.unit.gateway.test_first_seen import FACTS, OFFSET_S, ip

LOGGING = FACTS._replace(
    policy={**FACTS.policy, "firewall": [r.Firewall(3, 4, 1, 3, 1, r.Match(), "no-telnet")]},
    numbers=Numbers(vrfs={"t1": 4}, nat={"out-t1": 7}, firewall={"no-telnet": 3, "web-in": 4}),
)


def event(kind=DENIED, **given) -> SimpleNamespace:
    fields = {"at_ns": 2_500_000_000, "kind": kind, "protocol": 6, "from_uplink": 0, "vrf": 4}
    fields |= {"inside_be": ip("10.1.0.10"), "outside_be": ip("10.99.1.11"), "continued": 0}
    fields |= {"peer_be": ip("8.8.8.8"), "peer_port": 23, "inside_port": 5000, "outside_port": 0}
    return SimpleNamespace(**{**fields, "nat_id": 7, "fw_id": 3, "log": 1, **given})


@pytest.fixture
def rules() -> RuleLog:
    return RuleLog("gw-a", 2, Names(lambda: LOGGING))


def test_a_line_has_names(rules):
    (line,) = rules.lines([event()], 0.0, OFFSET_S)
    assert line == {
        "time": "2023-11-14T22:13:22.500+00:00",
        "gateway": "gw-a",
        "event": "denied",
        "firewall": "no-telnet",
        "nat": "out-t1",
        "vrf": "t1",
        "direction": "OUT",
        "protocol": "tcp",
        "workload": "web1",
        "address": "10.1.0.10",
        "port": 5000,
        "peer": "8.8.8.8",
        "peer_port": 23,
        "as": "203.0.113.11",
        "as_port": 0,
    }


def test_a_new_rule_has_its_name_at_once():
    facts = [LOGGING._replace(numbers=Numbers())]
    rules = RuleLog("gw-a", 2, Names(lambda: facts[0]))
    assert rules.lines([event()], 0.0, OFFSET_S)[0]["firewall"] == "3"
    facts[0] = LOGGING
    assert rules.lines([event()], 0.1, OFFSET_S)[0]["firewall"] == "no-telnet"


def test_what_is_said_of_each_kind(rules):
    events = [event(1, fw_id=4), event(PASSED, fw_id=5, nat_id=0, protocol=1, from_uplink=1)]
    allowed, passed = rules.lines(events, 0.0, OFFSET_S)
    assert (allowed["event"], allowed["firewall"]) == ("allowed", "web-in")
    assert (passed["event"], passed["firewall"], passed["nat"]) == ("allowed", "5", "")
    assert (passed["direction"], passed.get("port")) == ("IN", None)


def test_what_a_default_decides(rules):
    """It has lines of its own, beside those of NAT rules that the firewall was not asked for."""
    events = [event(fw_id=0, log=2), event(fw_id=0, log=3), event(fw_id=0), event(fw_id=0, log=2)]
    told = rules.lines(events, 0.0, OFFSET_S)
    assert [line["firewall"] for line in told] == ["(default)", "(default)", ""]
    (untold,) = rules.lines([], 1.0, OFFSET_S)
    assert (untold["firewall"], untold["count"]) == ("(default)", 1)


@pytest.mark.parametrize("given", [{"kind": 2}, {"log": 0}, {"kind": 1, "continued": 1}], ids=str)
def test_what_is_not_for_this_log(rules, given):
    assert rules.lines([event(**given)], 0.0, OFFSET_S) == []


def test_each_rule_has_its_lines_a_second_and_the_rest_is_counted(rules):
    events = [event(), event(), event(), event(fw_id=4), event()]
    assert len(rules.lines(events, 0.0, OFFSET_S)) == 3
    assert rules.lines([event()], 0.9, OFFSET_S) == []
    untold, told = rules.lines([event()], 1.0, OFFSET_S)
    assert (untold["event"], untold["firewall"], untold["count"]) == ("not told", "no-telnet", 3)
    assert told["event"] == "denied"
    assert rules.lines([], 2.0, OFFSET_S) == []


def test_lost_events_are_said_once(rules):
    assert rules.shortfall(0, 0.0) == []
    (line,) = rules.shortfall(5, 0.0)
    assert line["events_lost"] == 5
    assert rules.shortfall(5, 0.0) == []
    assert rules.shortfall(7, 0.0)[0]["events_lost"] == 2


class FakeClient:
    def __init__(self):
        self.asked = []

    def events(self, keep):
        self.asked.append(keep)
        return ([event()] if len(self.asked) == 1 else []), 0


DEFAULT_LOGS = FACTS._replace(policy={**FACTS.policy, "vrfs": [r.Vrfs(4, 1, 0, "t1", log_in=1)]})


def test_events_are_asked_for_only_while_somebody_says_log(tmp_path):
    for facts, keep in ((FACTS, 0), (LOGGING, KEEP), (DEFAULT_LOGS, KEEP)):
        client, out = FakeClient(), JsonLog(str(tmp_path / "x.jsonl"), 1 << 20)
        SessionLog(client, Part(RuleLog("gw-a", 9, Names(lambda f=facts: f)), out)).turn(0.0)
        assert set(client.asked) == {keep}


def test_a_log_that_cannot_be_written_keeps_no_other_from_it(tmp_path):
    wrong = JsonLog(str(tmp_path), 1 << 20)  # a folder
    right = JsonLog(str(tmp_path / "x.jsonl"), 1 << 20)
    parts = [Part(RuleLog("gw-a", 9, Names(lambda: LOGGING)), out) for out in (wrong, right)]
    with pytest.raises(BackendError):
        SessionLog(FakeClient(), *parts).turn(0.0)
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["began", "denied"]
