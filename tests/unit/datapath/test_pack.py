"""pack.py against its slow twin: cffi itself, one field at a time."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcg.datapath import border, pack
from pcg.reconcile import records

TABLES = [*records.SINGLE, *records.POLICY]


def values(name: str) -> st.SearchStrategy:
    """Any record of a table, by the types of its struct."""
    struct_type = border.ffi().typeof(f"struct pcgdp_{name}")
    parts = [value(f, where.type) for f, where in struct_type.fields if f != "reserved"]
    return st.tuples(*parts).map(lambda row: pack.layout(name).record(*row))


def value(field: str, ctype) -> st.SearchStrategy:
    if ctype.kind == "struct":
        return values(ctype.cname.removeprefix("struct pcgdp_"))
    if ctype.kind == "array" and ctype.item.cname == "char":
        return st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=47)
    if ctype.kind == "array" and ctype.item.cname == "uint8_t":
        return st.binary(min_size=ctype.length, max_size=ctype.length)
    if ctype.kind == "array":
        return st.tuples(*[st.integers(0, 0xFFFF)] * ctype.length)
    if field.endswith("_be"):
        return st.binary(min_size=4, max_size=4)
    return st.integers(0, 2 ** (8 * border.ffi().sizeof(ctype)) - 1)


def fill(target, record) -> None:
    """One struct the plain way."""
    for field, item in record._asdict().items():
        ctype = dict(border.ffi().typeof(target).fields)[field].type
        if ctype.kind == "struct":
            fill(getattr(target, field), item)
        elif ctype.kind == "array" and isinstance(item, str):
            setattr(target, field, item.encode())
        elif ctype.kind == "array":
            for i, one in enumerate(item):
                getattr(target, field)[i] = one
        elif isinstance(item, bytes):
            setattr(target, field, int.from_bytes(item, "little"))
        else:
            setattr(target, field, item)


@pytest.mark.parametrize("name", TABLES)
def test_same_bytes_as_cffi_and_back(name):
    ffi = border.ffi()

    @given(st.lists(values(name), max_size=4))
    def check(rows):
        data = pack.pack(name, rows)
        twin = ffi.new(f"struct pcgdp_{name}[]", len(rows))
        for i, row in enumerate(rows):
            fill(twin[i], row)
        assert data == bytes(ffi.buffer(twin))
        assert pack.unpack(name, data) == rows

    check()


def test_many_records_keep_their_order():
    rows = [records.Ports(1, i.to_bytes(4), i, bytes(4), bytes(6)) for i in range(10_000)]
    assert pack.unpack("ports", pack.pack("ports", rows)) == rows


def test_a_name_that_is_too_long_is_refused_not_cut():
    with pytest.raises(ValueError, match="longer than 47 bytes"):
        pack.pack("vrfs", [records.Vrfs(1, 0, 0, "x" * 48)])


def test_a_number_that_does_not_fit_is_refused():
    with pytest.raises(struct.error):
        pack.pack("vrfs", [records.Vrfs(1, 256, 0, "blue")])


def test_half_a_record_is_refused():
    with pytest.raises(ValueError, match="no whole number of vrfs"):
        pack.unpack("vrfs", bytes(pack.size("vrfs") + 1))
