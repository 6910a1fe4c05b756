"""fair_use.py: one event an episode, which names the workload, the rule and the address."""

import logging

import pytest

from pcg.datapath import border, pack
from pcg.gateway.facts import Facts
from pcg.gateway.fair_use import QUIET_S, FairUse, refusals
from pcg.gateway.usage_watch import UsageWatch
from pcg.reconcile.addresses import address
from pcg.reconcile.compile import compile_policy
from pcg.reconcile.numbers import Numbers, numbers_for
from pcg.wire import limits
from tests.unit.reconcile.examples import DESIRED

NUMBERS = numbers_for(DESIRED, Numbers())
FACTS = Facts(desired=DESIRED, policy=compile_policy(DESIRED, NUMBERS), numbers=NUMBERS)
PORT = DESIRED.ports[0]
T1 = NUMBERS.vrfs["t1"]


def row(refused=1, reason="QUOTA_PORTS", rule="out", public="eip-out", at=PORT.addresses[0]):
    nat_id = NUMBERS.nat[rule] if rule else 0
    index = NUMBERS.publics[public] if public else None
    return {
        "vrf": T1,
        "address": at,
        "sessions": 3,
        "ports": 2,
        "refused": refused,
        "nat_id": nat_id,
        "public_index": index,
        "reason": reason,
    }


def test_it_names_workload_rule_and_address():
    (told,) = FairUse().look([row(refused=5)], FACTS, 0.0)
    assert (told.workload, told.rule, told.public_address) == (PORT.id, "out", "eip-out")
    assert told.text == (
        f"{PORT.id} ({PORT.addresses[0]}, VRF t1) was refused 5 sessions: QUOTA_PORTS;"
        " NAT rule out, public address eip-out"
    )


def test_once_an_episode():
    fair, now = FairUse(), 0.0
    assert fair.look([row(1)], FACTS, now)
    for refused in range(2, 9):
        now += QUIET_S - 1  # it goes on
        assert not fair.look([row(refused)], FACTS, now)
    assert not fair.look([row(8)], FACTS, now + QUIET_S)  # it is over
    (again,) = fair.look([row(10)], FACTS, now + QUIET_S)
    assert again.refused == 2


def test_another_reason_is_another_episode():
    fair = FairUse()
    assert fair.look([row(1)], FACTS, 0.0)
    assert fair.look([row(2, "NAT_PORTS_EXHAUSTED")], FACTS, 1.0)
    assert fair.look([row(1, at="192.168.1.77")], FACTS, 1.0)


def example(reason, at_ns, rule="web-in", **more):
    """Of the ledger: what a workload's packet was refused for."""
    line = {"reason": reason, "role": "downlink", "vrf": T1, "src": PORT.addresses[0]}
    return line | {"nat_id": NUMBERS.nat[rule], "at_ns": at_ns, "last_ns": at_ns} | more


def test_two_reasons_within_one_look_are_both_told():
    fair = FairUse()
    ledger = [
        example("QUOTA_SESSIONS", 70),
        example("QUOTA_PORTS", 80),  # which the row says
        example("NO_ROUTE", 90),
        example("SESSIONS_FULL", 75, src="192.168.1.77"),
        example("SESSIONS_FULL", 76, role="uplink"),
        example("SESSIONS_FULL", 77, vrf=T1 + 1),
    ]
    latest, other = fair.look([row(8)], FACTS, 0.0, ledger)
    assert (latest.reason, latest.refused) == ("QUOTA_PORTS", 8)
    assert (other.reason, other.rule, other.public_address) == ("QUOTA_SESSIONS", "web-in", "")
    assert other.text == (
        f"{PORT.id} ({PORT.addresses[0]}, VRF t1) was refused some of its sessions:"
        " QUOTA_SESSIONS; NAT rule web-in"
    )
    assert not fair.look([row(9)], FACTS, 1.0, [example("QUOTA_SESSIONS", 95)])
    # an example that was there before says nothing of this time
    assert [r.reason for r in fair.look([row(12)], FACTS, QUIET_S * 2, ledger)] == ["QUOTA_PORTS"]


def test_an_address_that_went_is_forgotten():
    fair = FairUse()
    fair.look([row(7), row(3, at="192.168.1.77")], FACTS, 0.0)
    assert not fair.look([row(7)], FACTS, QUIET_S + 1)
    (told,) = fair.look([row(7), row(5, at="192.168.1.77")], FACTS, QUIET_S + 2)
    assert told.refused == 5  # as many as another one's, who has the address now
    assert len(fair._counted) == 2


def test_what_counts_from_zero_again_is_new():
    fair = FairUse()
    fair.look([row(7)], FACTS, 0.0)
    (told,) = fair.look([row(2)], FACTS, QUIET_S + 1)
    assert told.refused == 2


def test_what_has_no_name_is_told_by_number():
    gone = row(rule="", public="", at="192.168.1.250")
    (told,) = FairUse().look([gone], Facts(), 0.0)
    text = f"workload (192.168.1.250, VRF {T1}) was refused 1 sessions: QUOTA_PORTS"
    assert told.text == text


def test_a_leased_address_is_its_ports():
    leased = (("t2", "192.168.1.250", "other"), ("t1", "192.168.1.250", "vm-1"))
    (told,) = FairUse().look([row(at="192.168.1.250")], FACTS._replace(leased=leased), 0.0)
    assert told.workload == "vm-1"


def test_only_what_is_shared_counts():
    assert refusals({"QUOTA_PORTS": 2, "SESSIONS_FULL": 1, "NO_ROUTE": 40}) == 3


class FakeClient:
    def __init__(self) -> None:
        self.counted, self.reads = {}, 0
        self.before = 0  # refused in another life of the datapath, whose table outlived it

    def drops(self):
        return self.counted

    def ledger(self):
        return [example("QUOTA_SESSIONS", 5)] if self.counted else []

    def read(self, table):
        self.reads += 1
        of = pack.layout(table).record
        reason = border.reason_names().index("QUOTA_PORTS")
        at = address(PORT.addresses[0])
        refused = self.before + self.counted.get("QUOTA_PORTS", 0)
        return [of(T1, at, 3, 2, refused, NUMBERS.nat["out"], 0, reason)]


def test_they_have_numbers_and_times():
    fair = FairUse()
    first = fair.look([row(1), row(1, at="192.168.1.77")], FACTS, 3.0, offset_s=1000.0)
    (second,) = fair.look([row(2, "SESSIONS_FULL")], FACTS, 5.0, offset_s=1000.0)
    told = [(one.number, one.at) for one in (*first, second)]
    assert told == [(1, 1003.0), (2, 1003.0), (3, 1005.0)]


def test_the_latest_are_kept_and_all_are_counted_by_rule(monkeypatch):
    monkeypatch.setattr(limits, "MAX_SHORTAGES", 3)
    client = FakeClient()
    watch = UsageWatch(client, lambda: FACTS)
    watch.turn(0.0)  # nobody was refused yet
    for n in range(1, 6):  # each in an episode of its own
        client.counted = {"QUOTA_PORTS": n}
        watch.turn(n * QUIET_S)
    assert [one.refused for one in watch.latest] == [1, 1, 1]
    assert [one.number for one in watch.latest] == [4, 5, 6]
    assert watch.by_rule == {"out": 5, "web-in": 1}


def test_the_table_is_read_only_when_somebody_was_refused(caplog):
    client = FakeClient()
    watch = UsageWatch(client, lambda: FACTS)
    with caplog.at_level(logging.WARNING):
        watch.turn(0.0)  # it may be of old
        watch.turn(0.5)
        assert (client.reads, caplog.messages) == (1, [])
        client.counted = {"QUOTA_PORTS": 3}
        watch.turn(1.0)
        watch.turn(2.0)
    assert client.reads == 2
    line, other = caplog.messages
    assert "some of its sessions: QUOTA_SESSIONS" in other
    assert line.startswith(f"{PORT.id} (")
    assert "refused 3 sessions: QUOTA_PORTS" in line


@pytest.mark.parametrize("ago_s, told", [(QUIET_S - 1, 1), (QUIET_S + 1, 0)])
def test_what_was_refused_before_the_gateway_began_is_told_by_name_or_is_over(caplog, ago_s, told):
    facts, client, now = [Facts()], FakeClient(), 1000.0
    client.counted = {"QUOTA_PORTS": 3}
    client.ledger = lambda: [example("QUOTA_PORTS", 5, last_ns=int((now - ago_s) * 1e9))]
    watch = UsageWatch(client, lambda: facts[0])
    with caplog.at_level(logging.WARNING):
        for facts[0] in Facts(), Facts(desired=FACTS.desired):
            watch.turn(now)
        assert (client.reads, caplog.messages) == (0, [])
        facts[0] = FACTS
        watch.turn(now)
        who = f"{PORT.id} ({PORT.addresses[0]}, VRF t1) was refused"
        assert [line.startswith(f"{who} 3") for line in caplog.messages] == [True] * told
        client.counted = {"QUOTA_PORTS": 5}
        watch.turn(now + 2)
    (line,) = caplog.messages
    assert line.startswith(f"{who} {3 if told else 2} "), "and what comes from then on"


def test_what_was_refused_before_both_began_anew_is_old(caplog):
    client = FakeClient()
    client.before = 40
    watch = UsageWatch(client, lambda: FACTS)
    with caplog.at_level(logging.WARNING):
        watch.turn(1000.0)
        client.counted = {"QUOTA_PORTS": 2}
        client.ledger = list
        watch.turn(1002.0)
    (line,) = caplog.messages
    assert "was refused 2 sessions" in line
