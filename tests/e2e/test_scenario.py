"""Every check of the demo, a test each, on one lab."""

import pytest

from pcg.lab.checks import CHECKS, Check
from pcg.lab.lab import Lab

POINTS = range(1, 12)  # of "what must work in the scenario"


def test_every_point_has_a_check():
    assert {c.point for c in CHECKS} == set(POINTS)


def test_checks_have_names_of_their_own():
    assert len({c.name for c in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize("check", CHECKS, ids=[f"{c.point}-{c.name}" for c in CHECKS])
def test_check(lab: Lab, check: Check):
    assert check.run(lab)
