"""configs/systemd/: the units run our programs, with the settings that the programs take."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from pcg.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
UNITS = {path.stem: path for path in sorted((ROOT / "configs" / "systemd").glob("*.service"))}
PROGRAMS = ("controller", "datapath", "gateway")
BINDING = ("Requires", "Requisite", "BindsTo", "PartOf", "Upholds", "PropagatesStopTo")


def unit(name: str) -> configparser.ConfigParser:
    made = configparser.ConfigParser(delimiters="=", interpolation=None)
    made.optionxform = str
    made.read(UNITS[f"pcg-{name}"])
    return made


def test_there_is_one_for_each_program():
    assert list(UNITS) == [f"pcg-{name}" for name in PROGRAMS]


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_is_always_started_again_and_keeps_the_others_folder(name):
    service = unit(name)["Service"]
    program, command, *settings = service["ExecStart"].split()
    assert (Path(program).name, command) == ("pcg", name)
    assert command in COMMANDS
    assert settings == ["--settings", f"/etc/pcg/{name}.yaml"]
    assert service["Restart"] == "always"
    assert unit(name)["Unit"]["StartLimitIntervalSec"] == "0"
    assert (service["RuntimeDirectory"], service["StateDirectory"]) == ("pcg", "pcg")
    assert service["RuntimeDirectoryPreserve"] == "yes"


def test_the_datapath_is_neither_stopped_nor_restarted_with_the_gateway():
    gateway, datapath = unit("gateway")["Unit"], unit("datapath")["Unit"]
    assert "pcg-datapath.service" in gateway["After"].split()
    assert gateway["Wants"] == "pcg-datapath.service"
    assert not [key for key in BINDING if key in gateway or key in datapath]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_reads_them(tmp_path):
    for path in UNITS.values():
        text = path.read_text().replace("/usr/local/bin/pcg", shutil.which("true"))
        (tmp_path / path.name).write_text(text)
    units = [str(tmp_path / path.name) for path in UNITS.values()]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
