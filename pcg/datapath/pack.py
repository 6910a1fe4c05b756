"""Records <-> packed arrays of C structs. The layout comes from the compiled border, so nothing
of it is written twice.

    field of the struct         value in the record
    uint8_t .. uint64_t         int
    uint32_t x_be               4 bytes, as on the wire
    uint8_t x[n]                n bytes
    char x[n]                   str of at most n - 1 bytes of UTF-8
    uint16_t x[n]               tuple of n ints
    struct inside               record inside
    reserved, padding           nothing: written as zero, skipped when read

A record without text and without parts goes straight into `struct.pack`: 100,000 Ports take about
50 ms. Every byte counts when the path compares two records, hence the zeros.
"""

import functools
import struct
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, starmap
from typing import Any, NamedTuple

from pcg.datapath import border
from pcg.reconcile import records

INTEGERS = {"uint8_t": "B", "uint16_t": "H", "uint32_t": "I", "uint64_t": "Q"}


class TraceFilter(NamedTuple):
    """Which packets a trace notes; zero fields are any."""

    address_be: bytes = bytes(4)
    peer_be: bytes = bytes(4)
    vni: int = 0
    port: int = 0
    protocol: int = 0
    only_drops: int = 0


class CaptureWanted(NamedTuple):
    """Which frames a capture takes: struct pcgdp_capture_wanted."""

    ring_bytes: int = 8 << 20  # of each worker; a power of two
    snaplen: int = 0  # bytes kept of a frame; 0: all
    roles: int = 3  # bits 1 << role
    directions: int = 3  # 1: as they come; 2: as they leave
    inner: int = 0  # 1: the filter reads the frame inside the tunnel
    both: int = 0  # 1: what fits brings its other side along
    only_drops: int = 0


RECORDS = {
    **records.SINGLE,
    **records.POLICY,
    "touch": records.Touch,
    "match": records.Match,
    "trace_filter": TraceFilter,
    "capture_wanted": CaptureWanted,
}


class Field(NamedTuple):
    """One field of a struct, as it stands in a record."""

    name: str
    code: str  # of `struct`
    flatten: Callable[[Any], Iterable] | None  # None: the value goes in as it is
    build: Callable[[Iterator], Any] | None  # takes its values from the flat ones


class Layout(NamedTuple):
    """How one struct is packed. `plain`: a record is its own flat tuple."""

    record: type
    fields: tuple[Field, ...]
    codec: struct.Struct
    plain: bool


def _text_field(name: str, size: int) -> Field:
    def flatten(text: str) -> Iterable:
        data = text.encode()
        if len(data) >= size:
            raise ValueError(f"{name} {text!r} is longer than {size - 1} bytes")
        return (data,)

    def build(flat: Iterator) -> str:
        return next(flat).rstrip(b"\0").decode(errors="replace")

    return Field(name, f"{size}s", flatten, build)


def _array_field(name: str, item: str, size: int) -> Field:
    if item == "char":
        return _text_field(name, size)
    if item == "uint8_t":
        return Field(name, f"{size}s", None, None)
    return Field(name, f"{size}{INTEGERS[item]}", tuple, lambda flat: tuple(islice(flat, size)))


def _struct_field(name: str, inner: Layout) -> Field:
    code = inner.codec.format.removeprefix("=")
    return Field(name, code, lambda record: _flatten(inner, record), lambda f: _build(inner, f))


def _field(name: str, ctype) -> Field:
    if ctype.kind == "struct":
        return _struct_field(name, layout(ctype.cname.removeprefix("struct pcgdp_")))
    if ctype.kind == "array":
        return _array_field(name, ctype.item.cname, ctype.length)
    if name.endswith("_be"):
        return Field(name, "4s", None, None)
    return Field(name, INTEGERS[ctype.cname], None, None)


def _flatten(this: Layout, record: Iterable) -> list:
    flat: list = []
    for field, value in zip(this.fields, record, strict=True):
        if field.flatten:
            flat.extend(field.flatten(value))
        else:
            flat.append(value)
    return flat


def _build(this: Layout, flat: Iterator):
    return this.record(*[f.build(flat) if f.build else next(flat) for f in this.fields])


@functools.cache
def layout(name: str) -> Layout:
    """The layout of `struct pcgdp_<name>`; its record is the one of records.py where it has one."""
    ctype = border.ffi().typeof(f"struct pcgdp_{name}")
    fields, code, at = [], "=", 0
    for field_name, where in ctype.fields:
        code += f"{where.offset - at}x" if where.offset > at else ""
        size = border.ffi().sizeof(where.type)
        at = where.offset + size
        if field_name == "reserved":
            code += f"{size}x"
            continue
        fields.append(_field(field_name, where.type))
        code += fields[-1].code
    codec = struct.Struct(f"{code}{border.ffi().sizeof(ctype) - at}x")
    record = RECORDS.get(name) or namedtuple(name, [f.name for f in fields])
    return Layout(record, tuple(fields), codec, not any(f.build for f in fields))


def size(name: str) -> int:
    return layout(name).codec.size


def pack(name: str, rows: Iterable) -> bytes:
    """Records as one array; ValueError or struct.error when a value does not fit its field."""
    this = layout(name)
    if this.plain:
        return b"".join(starmap(this.codec.pack, rows))
    return b"".join(this.codec.pack(*_flatten(this, row)) for row in rows)


def unpack(name: str, data: bytes) -> list:
    """The records of an array; ValueError when its length is no multiple of the struct's."""
    this = layout(name)
    if len(data) % this.codec.size:
        raise ValueError(f"{len(data)} bytes are no whole number of {name} of {this.codec.size}")
    if this.plain:
        return list(starmap(this.record, this.codec.iter_unpack(data)))
    return [_build(this, iter(flat)) for flat in this.codec.iter_unpack(data)]
