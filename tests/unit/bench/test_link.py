"""The controller link as the bench has it: a gateway learns of all ports, and of one more."""

from bench import link


def test_a_gateway_holds_all_and_one_more():
    every, change = link.measure(20)
    assert (every.workload, change.workload) == ("link all ports", "link one change")
    assert every.value > 0
    assert change.value > 0
