"""Keys: files that people make by hand and copy about."""

import os
import stat

import pytest
import zmq
from click.testing import CliRunner

from pcg.cli.keys import keys
from pcg.model.errors import BackendError, ConfigError
from pcg.wire.curve import AllowFolder, key_pair, make_keys, public_key


def test_a_pair_is_written_readable_by_us_alone_and_read_again(tmp_path):
    public, secret = make_keys(tmp_path / "new", "gw-a")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert key_pair(secret)[0] == public_key(public)
    assert zmq.curve_public(key_pair(secret)[1]) == public_key(public)


def test_keys_that_are_there_are_never_written_over(tmp_path):
    _, secret = make_keys(tmp_path, "gw-a")
    before = secret.read_bytes()
    with pytest.raises(BackendError, match="is there already; take another name"):
        make_keys(tmp_path, "gw-a")
    assert secret.read_bytes() == before


def test_the_command_makes_them_and_says_which_to_give_away(tmp_path):
    said = CliRunner().invoke(keys, ["gw-a", "--dir", str(tmp_path)])
    assert said.exit_code == 0
    assert "gw-a.key  public" in said.output
    assert public_key(tmp_path / "gw-a.key")


def test_the_command_refuses_a_name_that_no_gateway_can_have(tmp_path):
    said = CliRunner().invoke(keys, ["../x", "--dir", str(tmp_path)])
    assert said.exit_code == 2
    assert "is no id" in said.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "hello", 'curve\n    public-key = "short"\n', "\xff" * 99])
def test_a_file_that_is_no_key_is_named(tmp_path, text):
    path = tmp_path / "x.key"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"x.key is not a CURVE key; make one with"):
        public_key(path)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"x.key cannot be read \(no such file\)"):
        public_key(tmp_path / "x.key")


def test_a_public_key_where_the_secret_one_is_needed_is_named(tmp_path):
    public, _ = make_keys(tmp_path, "gw-a")
    with pytest.raises(ConfigError, match="holds no secret key; name the .key_secret"):
        key_pair(public)


def test_the_allow_folder_names_keys_by_file_and_follows_changes(tmp_path):
    public, _ = make_keys(tmp_path / "made", "any")
    folder = tmp_path / "allow"
    folder.mkdir()
    allow = AllowFolder(folder)
    key = public_key(public)
    assert allow.name(key) is None
    (folder / "gw-a.key").write_bytes(public.read_bytes())
    assert allow.refresh()
    assert (allow.name(key), allow.key("gw-a")) == ("gw-a", key)
    assert not allow.refresh()
    (folder / "gw-a.key").unlink()
    assert allow.refresh()
    assert allow.name(key) is None


def test_what_is_wrong_in_the_allow_folder_is_logged_and_the_rest_serves(tmp_path, caplog):
    public, _ = make_keys(tmp_path, "gw-a")
    (tmp_path / "gw-b.key").write_bytes(public.read_bytes())
    (tmp_path / "gw-c.key").write_text("oops")
    allow = AllowFolder(tmp_path)
    assert allow.name(public_key(public)) == "gw-a"
    assert "gw-b.key holds the key of gw-a; ignored" in caplog.text
    assert "gw-c.key is not a CURVE key" in caplog.text


def test_an_allow_folder_that_goes_away_keeps_those_who_were_allowed(tmp_path, caplog):
    folder = tmp_path / "allow"
    public, _ = make_keys(folder, "gw-a")
    key = public_key(public)
    allow = AllowFolder(folder)
    os.rename(folder, tmp_path / "gone")
    allow.refresh()
    assert allow.name(key) == "gw-a"
    assert "nobody new may connect" in caplog.text
