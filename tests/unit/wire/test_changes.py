"""diff and apply: what one end says, the other end holds."""

import random

import msgspec
import pytest
from hypothesis import given

from pcg.model.desired import KEYS, Desired, Segment
from pcg.model.errors import ProtocolError
from pcg.wire.changes import WHOLE, apply, diff, ordered
from pcg.wire.codec import encoder
from pcg.wire.messages import Delete, Put
from tests.unit.wire.desired_states import STATES, port, state


@given(STATES, STATES)
def test_apply_of_diff_is_the_new_state(a, b):
    assert apply(ordered(a), diff(a, b)) == ordered(b)


@given(STATES)
def test_no_difference_no_changes(a):
    assert diff(a, a) == ()
    assert diff(a, ordered(a)) == ()


@given(STATES, STATES)
def test_applying_twice_changes_nothing_more(a, b):
    changes = diff(a, b)
    assert apply(apply(ordered(a), changes), changes) == ordered(b)


def test_every_field_of_desired_is_keyed_or_whole():
    assert {*KEYS, *WHOLE, "schema"} == set(Desired.__struct_fields__)


def test_order_of_lists_means_nothing():
    ports = [port(n) for n in range(50)]
    random.Random(1).shuffle(ports)
    shuffled = msgspec.structs.replace(state(50), ports=tuple(ports))
    assert ordered(shuffled) == ordered(state(50))
    assert diff(shuffled, state(50)) == ()


def test_one_port_of_many_is_one_change():
    old = ordered(state(1000))
    new = msgspec.structs.replace(old, ports=(*old.ports[1:], port(0, tep="10.99.1.99")))
    assert [type(c) for c in diff(old, new)] == [Put]


def raw(value):
    return msgspec.Raw(encoder.encode(value))


# fmt: off
WRONG = [
    # what                        change                                   text
    ("an unknown kind",           Put("warp", raw({})),                    "'warp'"),
    ("the schema",                Put("schema", raw(1)),                   "'schema'"),
    ("a whole value deleted",     Delete("firewall", "x"),                 "'firewall'"),
    ("another type of object",    Put("segments", raw(port(1))),           "segments .* no sense"),
    ("no gateway",                Put("gateway", raw(None)),               "gateway .* no sense"),
    ("a VNI beyond 24 bits",      Put("segments", raw({"vni": 1 << 24})),  "segments .* no sense"),
]
# fmt: on


@pytest.mark.parametrize("what, change, text", WRONG, ids=[r[0] for r in WRONG])
def test_a_change_that_cannot_be_is_refused(what, change, text):
    with pytest.raises(ProtocolError, match=text):
        apply(state(3), [Delete("ports", "vm-1"), change])


def test_delete_of_what_is_not_there_is_no_error():
    assert apply(state(3), [Delete("ports", "vm-9")]) == state(3)


def test_put_types_come_from_desired():
    segment = Segment(
        id="web", vrf="v", vni=1, subnet="s", gateway="g", gateway_mac="02:00:00:00:00:01"
    )
    assert apply(state(), [Put("segments", raw(segment))]).segments == (segment,)
