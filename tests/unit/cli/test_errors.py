"""Whatever goes wrong, a person gets one message and a program an exit code."""

import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pcg.cli.errors import guarded
from pcg.cli.main import COMMANDS
from pcg.model.errors import BackendError, ConfigError, Problem, ProtocolError

ROOT = Path(__file__).parents[3]
SAID = [
    (
        BackendError("interface x", "is gone", "plug it in"),
        1,
        "error: interface x: is gone; plug it in",
    ),
    (ConfigError([Problem("a.b", "", "is missing")]), 2, "error: a.b: is missing"),
    (ProtocolError("it stammers"), 1, "error: it stammers"),
    (click.UsageError("no such thing"), 2, "Error: no such thing"),
]


@pytest.mark.parametrize("error, code, text", SAID, ids=[type(row[0]).__name__ for row in SAID])
def test_one_message_and_a_code(capsys, error, code, text):
    def fail():
        raise error

    assert guarded(fail) == code
    assert text in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error():
    """`pcgctl show drops | head`: what was printed so far was enough."""
    words = "from pcg.cli import tables, errors; print_rows = tables.print_rows;"
    words += "rows = [{'a': 'x' * 100}] * 5000; columns = [tables.Column('A', 'a')];"
    words += "exit(errors.guarded(lambda: print_rows(rows, columns, 'rows', False)))"
    argv = [sys.executable, "-c", words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as shown:
        shown.stdout.close()
        assert shown.wait(timeout=30) == 0
        assert shown.stderr.read() == b""


def test_output_that_finds_no_room():
    argv = [sys.executable, "-c", "from pcg.cli.errors import guarded\n"]
    argv[-1] += "exit(guarded(lambda: print('x' * 100_000, flush=True)))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: the output could not be written: No space left on device\n"


def test_flags_that_tcp_has_not(pcgctl):
    with pytest.raises(click.BadParameter, match="none of TCP's flags, which are FSRPAUECN"):
        pcgctl("explain", "--src", "10.1.0.10", "--dst", "8.8.8.8", "--flags", "XYZ")


def test_codes_of_commands_are_kept():
    assert guarded(lambda: 3) == 3
    assert guarded(lambda: None) == 0


def run(*args):
    return subprocess.run([sys.executable, "-m", *args], capture_output=True, text=True)


def test_nobody_listens(tmp_path):
    done = run("pcg.cli.pcgctl", "--datapath", f"ipc://{tmp_path}/none.sock", "show", "drops")
    assert done.returncode == 1
    assert "nobody listens there" in done.stderr
    assert "Traceback" not in done.stderr


def test_somebody_listens_who_is_stopped(tmp_path):
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(f"{tmp_path}/it.sock")
        stopped.listen()
        done = run("pcg.cli.pcgctl", "--datapath", f"ipc://{tmp_path}/it.sock", "show", "drops")
    assert done.returncode == 1
    assert "it listens and does not answer; it is stopped or overloaded" in done.stderr


@pytest.mark.parametrize(
    "words", [("--datapath", "bogus", "show", "drops"), ("--gateway", "bogus", "show", "realised")]
)
def test_what_is_no_endpoint(words):
    done = run("pcg.cli.pcgctl", *words)
    assert done.returncode == 1
    assert "at bogus: Invalid argument; name it as ipc:///PATH" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_judges_every_file(tmp_path):
    good, none = ROOT / "configs" / "desired" / "gw-a.yaml", tmp_path / "none.yaml"
    bad = tmp_path / "bad.yaml"
    bad.write_text(good.read_text().replace("vni: 9100", "vni: 0"))
    done = run("pcg", "check", str(bad), str(none), str(good))
    assert done.returncode == 2
    assert "segments[app].vni: 0 is out of range" in done.stderr
    assert "none.yaml" in done.stderr
    assert f"{good}: right" in done.stdout
    assert run("pcg", "check", str(good)).returncode == 0


def test_settings_that_do_not_exist(tmp_path):
    done = run("pcg", "datapath", "--settings", str(tmp_path / "none.yaml"))
    assert done.returncode in (1, 2)
    assert "none.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_command():
    done = run("pcg", "dance")
    assert done.returncode == 2
    assert "No such command" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    done = run("pcg", name, "--help")
    assert done.returncode == 0, done.stderr
    assert name in done.stdout
