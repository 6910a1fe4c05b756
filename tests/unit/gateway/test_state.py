"""state.py: what was saved comes back; what cannot be used is said once and ignored."""

import os
import stat

import msgspec
import pytest

from pcg.gateway.state import NAME, Numbered, Store
from pcg.model.errors import BackendError, Problem
from pcg.reconcile.compile import Hops
from pcg.reconcile.compiler import Compiler
from pcg.reconcile.numbers import Numbers, numbers_for
from tests.unit.reconcile.examples import DESIRED


def fine(_desired):
    return []


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "state"), "gw-a")


@pytest.fixture
def saved(store):
    store.save(DESIRED, 7, 3, Numbered())
    return store.path


def test_round_trip(store, saved):
    assert store.load(fine) == DESIRED


def test_numbers_come_back(store):
    """Else a new gateway would give them to others, with what was noted by them."""
    gone = Numbers(nat={"in": 3}, firewall={"b": 7, "a": 2})
    numbered = Numbered(numbers_for(DESIRED, Numbers(vrfs={"t2": 5}, nat={"out": 9})), gone)
    store.save(DESIRED, 7, 3, numbered)
    assert store.load(fine) == DESIRED
    assert store.numbered == numbered
    assert list(store.numbered.gone.firewall) == ["b", "a"], "in the order in which they went"
    compiler = Compiler()
    compiler.numbers, compiler.gone = store.numbered
    compiler.tables(DESIRED, Hops(), Numbers())
    assert (compiler.numbers, compiler.gone) == numbered, "also for a datapath that began anew"


def test_a_file_of_before_they_were_kept_is_read(store, saved):
    whole = msgspec.msgpack.decode(saved.read_bytes(), type=dict[str, msgspec.Raw])
    del whole["numbers"], whole["gone"]
    saved.write_bytes(msgspec.msgpack.encode(whole))
    assert store.load(fine) == DESIRED
    assert store.numbered == Numbered()


def test_damaged_numbers_are_none_of_ours(store, caplog):
    """Two rules with one number would share their sessions' fate, and each other's counts."""
    store.save(DESIRED, 7, 3, Numbered(Numbers(nat={"in": 3, "out": 9})))
    data = store.path.read_bytes()
    assert data.count(b"\xa3out\x09") == 1
    store.path.write_bytes(data.replace(b"\xa3out\x09", b"\xa3out\x03"))
    assert store.load(fine) is None
    assert store.numbered == Numbered()
    (line,) = caplog.messages
    assert "the digest of its numbers does not match" in line


def test_file_is_ours_alone_and_nothing_is_left_beside(store, saved):
    assert stat.S_IMODE(os.stat(saved).st_mode) == 0o600
    assert [p.name for p in saved.parent.iterdir()] == [NAME]


def test_no_file_is_no_trouble(store, caplog):
    assert store.load(fine) is None
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def damaged(data: bytes):
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    yield "empty", b""
    yield "cut", data[:-10]
    yield "bit flipped", bytes(flipped)
    yield "not MessagePack", b"gateway: gw-a\n" * 20
    yield "another thing", msgspec.msgpack.encode({"a": 1})


def test_damaged_file_is_one_clear_line_and_no_crash(store, saved, caplog):
    for what, data in list(damaged(saved.read_bytes())):
        saved.write_bytes(data)
        caplog.clear()
        assert store.load(fine) is None, what
        (record,) = caplog.records
        assert str(saved) in record.message, what
        assert "waiting for the controller" in record.message, what


def test_newer_format_is_refused_by_number(store, saved, caplog):
    whole = msgspec.msgpack.decode(saved.read_bytes())
    saved.write_bytes(msgspec.msgpack.encode(whole | {"format": 2}))
    assert store.load(fine) is None
    assert "format 2" in caplog.text


def test_state_of_another_gateway_is_not_ours(saved, caplog):
    assert Store(str(saved.parent), "gw-b").load(fine) is None
    assert "gw-a" in caplog.text


def test_state_that_is_no_longer_valid_is_ignored_with_the_reason(store, saved, caplog):
    assert store.load(lambda _: [Problem("segments[web].subnet", "x", "is no prefix")]) is None
    assert "segments[web].subnet" in caplog.text


def test_folder_that_cannot_be_written_names_it_and_the_mend(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match=r"state file .*; .*`state`"):
        Store(str(tmp_path / "file"), "gw-a").save(DESIRED, 0, 0, Numbered())


def test_failed_save_leaves_the_old_one(store, saved, monkeypatch):
    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    changed = msgspec.structs.replace(DESIRED, nat=())
    with pytest.raises(BackendError, match="No space left"):
        store.save(changed, 8, 4, Numbered())
    assert store.load(fine) == DESIRED
