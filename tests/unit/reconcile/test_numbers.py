"""numbers.py: a name keeps its number; nobody gets one that is still in use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcg.model.errors import BackendError
from pcg.reconcile.numbers import Numbers, Range, assign, merged, numbers_for, numbers_of
from pcg.reconcile.records import Vrfs
from tests.unit.reconcile.examples import DESIRED

NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True)
SPAN = Range(0, 99)


@given(first=NAMES, second=NAMES)
def test_known_names_keep_their_number_and_none_is_given_twice(first, second):
    known = assign(first, {}, SPAN)
    given_now = assign(second, known, SPAN)
    assert all(given_now[n] == known[n] for n in second if n in known)
    assert len(set(given_now.values())) == len(second)
    new = [given_now[n] for n in second if n not in known]
    assert not set(new) & set(known.values())


def test_lowest_free_first():
    assert assign("ab", {"x": 0, "y": 2}, SPAN) == {"a": 1, "b": 3}


def test_no_number_left_says_so():
    with pytest.raises(BackendError, match="in use"):
        assign("abc", {}, Range(1, 2))


def test_rules_start_at_one_since_zero_means_none():
    numbers = numbers_for(DESIRED, Numbers())
    assert numbers.nat == {"out": 1, "web-in": 2}
    assert numbers.firewall == {"no-telnet": 1}
    assert numbers.vrfs == {"t1": 0, "t2": 1}


def test_numbers_are_read_back_from_names_in_records():
    held = numbers_of({"vrfs": [Vrfs(7, 0, 0, "t2")]})
    assert numbers_for(DESIRED, held).vrfs == {"t1": 0, "t2": 7}


def test_datapath_is_right_when_two_say_who_has_a_number():
    sure, maybe = Numbers(vrfs={"a": 1}), Numbers(vrfs={"b": 1, "a": 5, "c": 2})
    assert merged(sure, maybe).vrfs == {"a": 1, "c": 2}
