"""plan.py: whatever actual is, applying the plan makes it desired, and then there is nothing."""

from hypothesis import given
from hypothesis import strategies as st

from pcg.reconcile.plan import apply, plan, plan_keys

STATES = st.dictionaries(st.integers(0, 20), st.integers(0, 3))


@given(desired=STATES, actual=STATES)
def test_applied_plan_gives_desired_and_then_nothing_is_left(desired, actual):
    apply(plan(desired, actual), actual)
    assert actual == desired
    assert not plan(desired, actual)


@given(desired=STATES, actual=STATES)
def test_what_agrees_is_not_written(desired, actual):
    made = plan(desired, actual)
    assert all(actual.get(k) != v for k, v in made.write.items())
    assert set(made.remove) == set(actual) - set(desired)


@given(desired=STATES, actual=STATES)
def test_plan_of_all_keys_is_the_plan(desired, actual):
    made = plan_keys(desired.keys() | actual.keys(), desired, actual)
    whole = plan(desired, actual)
    assert (set(made.remove), made.write) == (set(whole.remove), whole.write)
