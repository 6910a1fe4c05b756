"""ovs.py where there is no Open vSwitch."""

import pytest

from pcg.lab.ns import CommandError
from pcg.lab.ovs import Ovs


def test_missing_open_vswitch_is_named_with_the_mend(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="ovsdb-tool is not there; `make setup` installs"):
        Ovs("nowhere", tmp_path / "ovs").daemons()
