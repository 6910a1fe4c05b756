"""Snapshots: equal content, equal bytes; nothing is believed before all of it is there."""

import random

import msgspec
import pytest
from hypothesis import given

from pcg.model.errors import ProtocolError
from pcg.wire import limits
from pcg.wire import messages as m
from pcg.wire.changes import ordered
from pcg.wire.snapshot import Assembly, Snapshot, open_blob
from tests.unit.wire.desired_states import STATES, state

LARGE = Snapshot.of(state(3000))


def begin(snapshot, **other):
    msg = m.Begin(1, 1, 1, len(snapshot.blob), snapshot.digest)
    return msgspec.structs.replace(msg, **other)


def chunks(snapshot):
    return [snapshot.chunk(1, i) for i in range(snapshot.n_chunks)]


@given(STATES)
def test_there_and_back(desired):
    assert open_blob(Snapshot.of(desired).blob) == ordered(desired)


@given(STATES)
def test_order_of_lists_and_of_map_keys_makes_no_difference(desired):
    other = msgspec.structs.replace(
        desired,
        ports=desired.ports[::-1],
        public_addresses=tuple(
            msgspec.structs.replace(p, secondary=dict(reversed(p.secondary.items())))
            for p in desired.public_addresses
        ),
    )
    assert Snapshot.of(other) == Snapshot.of(desired)


def test_in_any_order_and_more_than_once():
    parts = chunks(LARGE) * 2
    random.Random(1).shuffle(parts)
    whole = Assembly(begin(LARGE))
    for part in parts:
        whole.add(part)
    assert whole.complete
    assert whole.blob() == LARGE.blob


@pytest.mark.parametrize("missing", range(LARGE.n_chunks))
def test_not_complete_before_the_last_chunk(missing):
    whole = Assembly(begin(LARGE))
    for part in chunks(LARGE):
        if part.index != missing:
            whole.add(part)
    assert not whole.complete


def test_one_wrong_byte_is_found():
    whole = Assembly(begin(LARGE))
    for part in chunks(LARGE):
        whole.add(part)
    whole.chunks[0] = b"\xff" + whole.chunks[0][1:]
    with pytest.raises(ProtocolError, match="damaged"):
        whole.blob()


# fmt: off
MISFITS = [
    ("beyond the end", m.Chunk(1, LARGE.n_chunks, b"x" * limits.CHUNK_BYTES)),
    ("short",          m.Chunk(1, 0, b"x")),
    ("empty",          m.Chunk(1, LARGE.n_chunks - 1, b"")),
]
# fmt: on


@pytest.mark.parametrize("what, chunk", MISFITS, ids=[r[0] for r in MISFITS])
def test_a_chunk_that_does_not_fit_is_refused(what, chunk):
    with pytest.raises(ProtocolError, match=r"chunk .* bytes"):
        Assembly(begin(LARGE)).add(chunk)


def test_a_snapshot_over_the_limit_is_refused_before_its_first_byte():
    with pytest.raises(ProtocolError, match="over the limit"):
        Assembly(begin(LARGE, size=limits.MAX_SNAPSHOT_BYTES + 1))


def test_a_snapshot_over_the_limit_is_not_made(monkeypatch):
    monkeypatch.setattr(limits, "MAX_SNAPSHOT_BYTES", 1000)
    with pytest.raises(ProtocolError, match="spread the VRFs"):
        Snapshot.of(state(100))


def test_a_newer_schema_is_refused_naming_both():
    newer = msgspec.structs.replace(state(), schema=2)
    with pytest.raises(ProtocolError, match="schema 2, this program knows 1; upgrade"):
        open_blob(Snapshot.of(newer).blob)


def test_bytes_that_are_no_state_are_refused():
    with pytest.raises(ProtocolError, match="not a desired state"):
        open_blob(b"\x81\xa1a\x01")
