"""numbers.py: a name keeps its number; nobody gets one that is still in use."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcg.model import desired as d
from pcg.model.errors import BackendError
from pcg.reconcile import numbers
from pcg.reconcile.compile import Hops
from pcg.reconcile.compiler import Compiler
from pcg.reconcile.numbers import Numbers, Range, assign, gone_from, merged, numbers_for, numbers_of
from pcg.reconcile.records import Vrfs
from tests.unit.reconcile.examples import DESIRED, RULE

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


def numbered(compiler: Compiler, *rules: str, nat=()) -> Numbers:
    """What a datapath holds after a desired state with these firewall rules."""
    made = tuple(msgspec.structs.replace(RULE, id=id_) for id_ in rules)
    sections = (d.FirewallSection(id="s", vrf="t1", rules=made),)
    desired = msgspec.structs.replace(DESIRED, firewall=d.Firewall(sections=sections), nat=nat)
    compiler.tables(desired, Hops(), compiler.numbers)
    return compiler.numbers


def test_no_rule_gets_the_number_of_one_that_is_gone():
    """Hits and dropped flows of that one stay under its number, and would be said of the new."""
    compiler = Compiler()
    assert numbered(compiler, "a", "b", nat=DESIRED.nat).firewall == {"a": 1, "b": 2}
    now = numbered(compiler, "b", "c")
    assert (now.firewall, now.nat) == ({"b": 2, "c": 3}, {})
    assert compiler.gone == Numbers(firewall={"a": 1}, nat={"out": 1, "web-in": 2})
    again = numbered(compiler, "a", "d", nat=DESIRED.nat[1:])
    assert (again.firewall, again.nat) == ({"a": 1, "d": 4}, {"web-in": 2})
    assert compiler.gone == Numbers(firewall={"b": 2, "c": 3}, nat={"out": 1})


def test_so_many_are_remembered_and_the_last_to_go_longest():
    before = Numbers(nat={"a": 1, "b": 2, "c": 3, "d": 4}, vrfs={"t1": 0})
    assert gone_from(before, Numbers(nat={"b": 2}), most=2) == Numbers(nat={"c": 3, "d": 4})


def test_rules_that_are_gone_take_no_number_from_those_that_are_wanted(monkeypatch):
    monkeypatch.setitem(numbers.RANGES, "firewall", Range(1, 2))
    compiler = Compiler()
    numbered(compiler, "a", "b")
    numbered(compiler, "b")
    assert numbered(compiler, "b", "c").firewall == {"b": 2, "c": 1}
