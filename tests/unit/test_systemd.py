"""configs/systemd/: the units run our programs, with the settings that the programs take."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from pcg.cli.main import COMMANDS
from pcg.datapath import pages

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD = ROOT / "configs" / "systemd"
UNITS = {path.stem: path for path in sorted(SYSTEMD.glob("*.service"))}
MOUNTS = sorted(SYSTEMD.glob("*.mount"))
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


def test_the_dhcp_servers_outlive_the_gateway():
    assert unit("gateway")["Service"]["KillMode"] == "process"


def test_the_arenas_mount_is_wanted_by_the_datapath_and_not_by_its_life():
    (path,) = MOUNTS
    mount = configparser.ConfigParser(delimiters="=", interpolation=None)
    mount.optionxform = str
    mount.read(path)
    where = mount["Mount"]["Where"]
    assert path.stem == where.strip("/").replace("/", "-")  # or systemd refuses it
    assert "huge=within_size" in mount["Mount"]["Options"].split(",")
    service = unit("datapath")["Unit"]
    assert service["Wants"] == path.name
    assert path.name in service["After"].split()
    assert path.name in pages.MEND
    assert where in (ROOT / "configs" / "datapath.yaml").read_text()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_reads_them(tmp_path):
    for path in (*UNITS.values(), *MOUNTS):
        text = path.read_text().replace("/usr/local/bin/pcg", shutil.which("true"))
        (tmp_path / path.name).write_text(text)
    units = [str(tmp_path / path.name) for path in (*UNITS.values(), *MOUNTS)]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
