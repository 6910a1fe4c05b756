"""drivers/datapath.py: from any state to any other, and then nothing is left to do."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcg.drivers.datapath import Datapath
from pcg.drivers.netlink import Link
from pcg.reconcile.compile import Hop, Hops
from pcg.reconcile.compiler import Compiler
from pcg.reconcile.numbers import numbers_for
from tests.unit.gateway.fakes import MAC, FakeClient, Script
from tests.unit.reconcile.examples import DESIRED


def some(items):
    return st.lists(st.sampled_from(items), unique=True).map(tuple)


HOPS = st.sampled_from([Hops(), Hops(teps={bytes([10, 0, 2, 21]): Hop(MAC, 9001)})])
STATES = st.builds(
    lambda ports, routes, nat, teps, vrfs: msgspec.structs.replace(
        DESIRED, ports=ports, routes=routes, nat=nat, teps=teps, vrfs=vrfs
    ),
    some(DESIRED.ports),
    some(DESIRED.routes),
    some(DESIRED.nat),
    some(DESIRED.teps),
    st.permutations(DESIRED.vrfs).map(tuple),
)


def holds(client: FakeClient, want) -> bool:
    single = {t: dict(getattr(want, t)) for t in ("teps", "nexthops", "ports", "clients")}
    return client.single == single and client.policy == want.policy


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(STATES, HOPS, st.booleans()), min_size=1, max_size=5))
def test_every_state_is_reached_and_kept(steps):
    """The third of a step: the control loop was started anew before it."""
    client = FakeClient(Script())
    driver, compiler = Datapath(client), Compiler()
    for desired, hops, restart in steps:
        if restart:
            driver, compiler = Datapath(client), Compiler()
        want = compiler.tables(desired, hops, driver.read().numbers)
        assert driver.apply(want, 1) == []
        assert holds(client, want)
        changes = client.changes
        again = compiler.tables(desired, hops, driver.read().numbers)
        assert driver.apply(again, 1) == []
        assert client.changes == changes


def test_failed_step_leaves_the_others_done_and_is_found_next_time():
    script = Script()
    client = FakeClient(script)
    driver, compiler = Datapath(client), Compiler()
    script.broken["put ports"] = 1
    want = compiler.tables(DESIRED, Hops(), driver.read().numbers)
    assert len(driver.apply(want, 1)) == 1
    assert client.policy["nat"]
    assert client.single["ports"] == {}
    want = compiler.tables(DESIRED, Hops(), driver.read().numbers)
    assert driver.apply(want, 1) == []
    assert holds(client, want)


def test_somebody_elses_write_is_noticed_and_undone():
    client = FakeClient(Script())
    driver, compiler = Datapath(client), Compiler()
    want = compiler.tables(DESIRED, Hops(), driver.read().numbers)
    driver.apply(want, 1)
    assert driver.check()
    client.delete("ports", list(want.ports.values())[:1])
    assert not driver.check()
    driver.apply(compiler.tables(DESIRED, Hops(), driver.read().numbers), 1)
    assert holds(client, want)


def test_number_of_a_going_vrf_is_not_given_away_in_the_same_step():
    client = FakeClient(Script())
    driver, compiler = Datapath(client), Compiler()
    driver.apply(compiler.tables(DESIRED, Hops(), driver.read().numbers), 1)
    held = driver.read().numbers
    renamed = tuple(msgspec.structs.replace(v, id=f"new-{v.id}") for v in DESIRED.vrfs)
    bare = msgspec.structs.replace(DESIRED, vrfs=renamed)
    assert not set(numbers_for(bare, held).vrfs.values()) & set(held.vrfs.values())


# fmt: off
TAKEN = [
    # what                     the kernel has           what is said
    ("just so",                ("up0", 2, "down0", 3),  []),
    ("another name",           ("up1", 2, "down0", 3),  ["uplink up1: the datapath has taken up0"]),
    ("the two exchanged",      ("down0", 3, "up0", 2),  ["uplink down0: the datapath has",
                                                         "downlink up0: the datapath has"]),
    ("made anew since",        ("up0", 9, "down0", 3),  ["uplink up0: was replaced since"]),
]
# fmt: on


@pytest.mark.parametrize("what, links, said", TAKEN, ids=[row[0] for row in TAKEN])
def test_interfaces_that_the_datapath_has_not_taken(what, links, said):
    up, up_index, down, down_index = links
    have = {
        "uplink": Link(up_index, up, 9001, True, True, MAC),
        "downlink": Link(down_index, down, 9001, True, True, MAC),
    }
    errors = Datapath(FakeClient(Script())).misplaced(have)
    assert [str(e)[: len(text)] for e, text in zip(errors, said, strict=True)] == said


def test_an_interface_that_is_not_there_is_the_netlink_backends_to_say():
    assert Datapath(FakeClient(Script())).misplaced({}) == []
