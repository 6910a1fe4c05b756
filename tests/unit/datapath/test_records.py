"""records.py and pcgdp.h say the same: names, order, sizes."""

import pytest

from pcg.datapath import border, pack
from pcg.reconcile import records

ALL = {**records.SINGLE, **records.POLICY, "touch": records.Touch, "match": records.Match}
READ_ONLY = ["nic_info", "totals", "counter", "drop", "session", "trace_filter", "trace_event"]


def fields_of(name: str) -> list[tuple[str, object]]:
    return list(border.ffi().typeof(f"struct pcgdp_{name}").fields)


@pytest.mark.parametrize("name", ALL)
def test_names_and_order(name):
    in_c = [field.removesuffix("reserved") for field, _ in fields_of(name)]
    assert [f for f in in_c if f] == list(ALL[name]._fields)


@pytest.mark.parametrize("name", [*ALL, *READ_ONLY])
def test_no_padding_that_nobody_clears(name):
    at = 0
    for field, where in fields_of(name):
        assert where.offset == at, f"{name} has a hole before {field}"
        at += border.ffi().sizeof(where.type)
    assert at == pack.size(name) == border.ffi().sizeof(f"struct pcgdp_{name}")


def test_every_table_has_a_record_and_the_reverse():
    assert set(border.tables()) == {*records.SINGLE, *records.POLICY}


def test_every_reason_and_stage_says_something():
    assert len(border.reason_names()) == len(border.reason_texts()) > 40
    assert len(border.stage_names()) == len(border.stage_texts()) == 7
    assert all(border.reason_texts() + border.stage_texts() + border.reason_advice())
    assert len(border.reason_advice()) == len(border.reason_names())


def test_reason_names_are_unique():
    assert len(set(border.reason_names())) == len(border.reason_names())
