"""health.py: a backend's turns, and what is said about them."""

import logging

from pcg.gateway.health import NEVER, Health
from pcg.model.errors import AbsentError, BackendError

ABSENT = AbsentError("datapath", "nobody listens there", "start it")
BROKEN = BackendError("interface up0", "does not exist", "create it")


def test_waits_until_wanted():
    health = Health("netlink")
    assert health.due == NEVER
    health.want(5.0)
    health.want(9.0)
    assert (health.is_due(4.9), health.is_due(5.0)) == (False, True)


def test_backs_off_and_recovers():
    health = Health("netlink")
    waits = []
    for _ in range(12):
        health.done([BROKEN], 100.0, 1.0)
        waits.append(health.due - 100.0)
    assert waits == sorted(waits)
    assert waits[0] < 0.5
    assert waits[-1] == 10.0
    health.done([], 100.0, 2.0)
    assert (health.due, health.failures, health.applied_at) == (NEVER, 0, 2.0)


def test_what_is_only_not_there_yet_is_looked_for_every_second():
    health = Health("datapath")
    for errors, longest_s in (([ABSENT], 1.0), ([ABSENT, BROKEN], 10.0)):
        for _ in range(12):
            health.done(errors, 100.0, 1.0)
        assert health.due - 100.0 == longest_s


def test_wait_puts_off_but_asks_for_no_turn():
    health = Health("nft")
    health.wait(7.0)
    assert health.due == NEVER
    health.want(5.0)
    health.wait(7.0)
    assert health.due == 7.0


def test_each_thing_is_said_once(caplog):
    caplog.set_level(logging.INFO)
    health = Health("netlink")
    for errors in ([], [], [BROKEN], [BROKEN], [BROKEN], [], []):
        health.done(errors, 0.0, 0.0)
    assert [r.message for r in caplog.records] == [
        "netlink: as desired",
        "netlink: interface up0: does not exist; create it",
        "netlink: as desired again",
    ]


def test_view_for_people():
    health = Health("netlink")
    assert health.view(0.0)["state"] == "waiting"
    health.done([BROKEN], 10.0, 0.0)
    view = health.view(10.0)
    assert (view["state"], view["next_try_s"]) == ("failing", 0.2)
    assert view["errors"] == [
        {"thing": "interface up0", "why": "does not exist", "mend": "create it"}
    ]
