"""judge.py: never another verdict than the whole rules, whatever it skips."""

import msgspec
import pytest

from pcg.gateway.judge import Judge
from pcg.model.validate import validate
from tests.unit.reconcile.examples import DESIRED, port

PORTS = DESIRED.ports


class Counting:
    """The real rules, and how many ports they were shown."""

    def __init__(self):
        self.shown = []

    def __call__(self, desired):
        self.shown.append(len(desired.ports))
        return validate(desired)


def with_ports(*ports):
    return msgspec.structs.replace(DESIRED, ports=ports)


def changed(port, **changes):
    return msgspec.structs.replace(port, **changes)


def test_the_example_is_valid():
    assert validate(DESIRED) == []


CASES = {
    "moved": (changed(PORTS[0], tep="10.0.3.22"), *PORTS[1:]),
    "added": (*PORTS, port("new", "192.168.1.77")),
    "removed": PORTS[1:],
    "swapped addresses": (
        changed(PORTS[0], addresses=PORTS[1].addresses),
        changed(PORTS[1], addresses=PORTS[0].addresses),
        PORTS[2],
    ),
    "unknown TEP": (changed(PORTS[0], tep="10.0.9.9"), *PORTS[1:]),
    "unknown segment": (changed(PORTS[0], segment="nope"), *PORTS[1:]),
    "outside its subnet": (changed(PORTS[0], addresses=("10.7.7.7",)), *PORTS[1:]),
    "address twice": (changed(PORTS[0], addresses=("192.168.1.9",)), *PORTS[1:]),
    "address twice in itself": (
        changed(PORTS[0], addresses=("192.168.1.8", "192.168.1.8")),
        *PORTS[1:],
    ),
    "MAC twice": (changed(PORTS[0], mac=PORTS[1].mac), *PORTS[1:]),
    "id twice": (changed(PORTS[0], id="web2"), *PORTS[1:]),
    "new one with a taken id": (*PORTS, port("web1", "192.168.1.77")),
}


@pytest.mark.parametrize("case", CASES)
def test_same_verdict_as_the_whole_rules(case):
    judge = Judge(validate)
    assert judge(DESIRED) == []
    desired = with_ports(*CASES[case])
    assert [str(p) for p in judge(desired)] == [str(p) for p in validate(desired)]


def test_one_moved_port_is_looked_at_alone():
    rules = Counting()
    judge = Judge(rules)
    judge(DESIRED)
    judge(with_ports(*CASES["moved"]))
    assert rules.shown == [3, 1]


def test_it_follows_a_row_of_changes():
    rules = Counting()
    judge = Judge(rules)
    judge(DESIRED)
    new = port("new", "192.168.1.77")
    assert judge(with_ports(*PORTS, new)) == []
    taken = port("late", "192.168.1.77")
    assert judge(with_ports(*PORTS, new, taken)) != []
    assert judge(with_ports(*PORTS, taken)) == []  # `new` is gone, its address is free
    assert judge(with_ports(*PORTS, taken, changed(PORTS[0], id="x"))) != []
    assert rules.shown[0] == 3


def test_refused_state_does_not_become_the_base():
    judge = Judge(validate)
    judge(DESIRED)
    assert judge(with_ports(*CASES["MAC twice"]))
    assert judge(with_ports(*CASES["moved"])) == []


def test_other_changes_are_judged_whole():
    rules = Counting()
    judge = Judge(rules)
    judge(DESIRED)
    judge(msgspec.structs.replace(DESIRED, nat=()))
    assert rules.shown == [3, 3]
