"""claims.py: what one process has, another is refused, and it ends with its holder."""

import os
import subprocess
import sys

import pytest

from pcg.datapath.claims import claim_file, claim_interface
from pcg.model.errors import BackendError


def test_a_file_has_one_holder_and_the_other_learns_who(tmp_path):
    path = str(tmp_path / "arena")
    with claim_file(path, "arena x"):
        with pytest.raises(
            BackendError, match=rf"arena x: .*process {os.getpid()}\b.*stop that one first"
        ):
            claim_file(path, "arena x")
    claim_file(path, "arena x").close()


def test_a_claim_ends_with_its_process(tmp_path):
    path = str(tmp_path / "arena")
    code = f"from pcg.datapath.claims import claim_file; lock = claim_file({path!r}, 'arena x')"
    subprocess.run([sys.executable, "-c", code], check=True)
    claim_file(path, "arena x").close()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BackendError, match="arena x: No such file"):
        claim_file(str(tmp_path / "nowhere" / "arena"), "arena x")


def test_an_interface_has_one_holder():
    with claim_interface("lo"):
        with pytest.raises(BackendError, match="interface lo: another datapath"):
            claim_interface("lo")
    claim_interface("lo").close()


def test_an_interface_that_does_not_exist():
    with pytest.raises(BackendError, match="interface nope0: does not exist; create it"):
        claim_interface("nope0")
