"""The folder of desired-state files: what counts as new, and what is left alone."""

import json
import os
import time

import pytest

from pcg.controller.folder import SETTLE_S, Bad, Folder, Gone, Loaded
from pcg.controller.watcher import Watcher
from pcg.model.errors import ConfigError
from tests.unit.controller.site import document
from tests.waiting import wait_until


@pytest.fixture
def put(tmp_path):
    """Write a file of the folder, last changed long ago, each time a little later."""
    times = iter(range(1000, 2000))

    def write(name, doc):
        path = tmp_path / name
        path.write_text(doc if isinstance(doc, str) else json.dumps(doc))
        at = next(times)
        os.utime(path, (at, at))

    return write


def kinds(findings):
    return [(type(f), f.gateway) for f in findings]


def test_new_changed_bad_and_gone(tmp_path, put):
    folder = Folder(tmp_path)
    put("gw-a.yaml", document())
    assert kinds(folder.look(9000)[0]) == [(Loaded, "gw-a")]
    assert folder.look(9000) == ([], False)
    put("gw-a.yaml", document(n_ports=2))
    ((found,), _) = folder.look(9000)
    assert len(found.desired.ports) == 2
    put("gw-a.yaml", "gateway: [")
    ((found,), _) = folder.look(9000)
    assert isinstance(found, Bad)
    assert "gw-a.yaml" in str(found.error)
    (tmp_path / "gw-a.yaml").unlink()
    assert kinds(folder.look(9000)[0]) == [(Gone, "gw-a")]


def test_what_is_no_desired_state_file_is_left_alone(tmp_path, put):
    for name in (".gw-a.yaml", "gw-a.yaml~", "README", "gw-a.yaml.new"):
        put(name, "not yaml: [")
    assert Folder(tmp_path).look(9000) == ([], False)


def test_a_file_that_is_being_written_is_read_when_it_is_still(tmp_path, put):
    folder = Folder(tmp_path)
    put("gw-a.yaml", document())
    written = (tmp_path / "gw-a.yaml").stat().st_mtime
    assert folder.look(written) == ([], True)
    assert kinds(folder.look(written + 2 * SETTLE_S)[0]) == [(Loaded, "gw-a")]


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path, put, monkeypatch):
    folder = Folder(tmp_path)
    put("gw-a.yaml", document())
    read = folder._read

    def meanwhile(file):
        found = read(file)
        put("gw-a.yaml", document(n_ports=2))
        monkeypatch.setattr(folder, "_read", read)
        return found

    monkeypatch.setattr(folder, "_read", meanwhile)
    assert folder.look(9000) == ([], True)
    ((found,), _) = folder.look(9000)
    assert len(found.desired.ports) == 2


def test_a_clock_that_is_behind_the_files_does_not_wait_for_them(tmp_path, put):
    put("gw-a.yaml", document())
    assert kinds(Folder(tmp_path).look(5)[0]) == [(Loaded, "gw-a")]


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere cannot be read"):
        Folder(tmp_path / "nowhere").look(9000)


def test_the_watcher_sees_writes_in_place_and_renames(tmp_path):
    seen = []
    watcher = Watcher(Folder(tmp_path), seen.extend)
    watcher.start()
    try:
        path = tmp_path / "gw-a.yaml"
        path.write_text(json.dumps(document(n_ports=1)))
        wait_until(lambda: len(seen) == 1, "the new file")
        path.write_text(json.dumps(document(n_ports=2)))
        wait_until(lambda: len(seen) == 2, "the file written in place")
        (tmp_path / "aside").write_text(json.dumps(document(n_ports=3)))
        os.replace(tmp_path / "aside", path)
        wait_until(lambda: len(seen) == 3, "the renamed file")
    finally:
        watcher.stop()
    assert [len(f.desired.ports) for f in seen] == [1, 2, 3]


def test_the_watcher_survives_its_folder(tmp_path, caplog):
    folder = tmp_path / "desired"
    folder.mkdir()
    seen = []
    watcher = Watcher(Folder(folder), seen.extend)
    watcher.start()
    try:
        folder.rmdir()
        wait_until(lambda: "desired" in caplog.text, "it says so")
        folder.mkdir()
        (folder / "gw-a.yaml").write_text(json.dumps(document()))
        wait_until(lambda: seen, "the file in the new folder")
    finally:
        watcher.stop()


def test_reading_takes_the_time_of_day(tmp_path):
    (tmp_path / "gw-a.yaml").write_text(json.dumps(document()))
    assert kinds(Folder(tmp_path).look(time.time() + 1)[0]) == [(Loaded, "gw-a")]
