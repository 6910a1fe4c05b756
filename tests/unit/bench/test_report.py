"""Rows, their bars, and the table."""

import io
import json

import pytest
from rich.console import Console

from bench import run, table
from bench.rows import CYCLES_MAX, Row

MANY = 1_000_000
MACHINE = {
    "cpu": "one",
    "cores": 1,
    "caches": "",
    "kernel": "",
    "revision": "",
    "took_s": 1,
    "permitted": {"realtime": False},
}
QUARTILES = {"cycles_min": 90, "cycles_median": 110, "cycles_p75": 120}
PACKETS = {**QUARTILES, "mpps": 26.0}


def north(cycles: float, sessions: int = 1_000, **more) -> Row:
    return Row("north", sessions=sessions, cycles_per_packet=cycles, **PACKETS | more)


# fmt: off
BARS = [
    (north(110.0),                                                  True),
    (north(110.1),                                                  False),
    (north(100, workers=2),                                         None),
    (north(100, packet_size="IMIX"),                                None),
    (north(100, system="OVS"),                                      None),
    (north(100, burst=32),                                          None),
    (north(100, driver="af_packet"),                                None),
    (north(100, sessions=999),                                      None),
    (Row("setup", sessions=MANY, mpps=3.1, cycles_per_packet=800),  True),
    (Row("setup", sessions=1_000, mpps=3.1, cycles_per_packet=800), None),
    (Row("setup", sessions=MANY, note="it failed"),                 None),
    (Row("two workers", sessions=MANY, workers=2, value=1.69),      False),
    (Row("two workers", sessions=1_000, workers=2, value=1.69),     None),
    (Row("stall", sessions=MANY, value=7),                          None),
    (Row("stall", sessions=10 * MANY, value=7),                     True),
    (Row("churn rules", sessions=1_000, value=70),                  None),
    (Row("idle", driver="af_xdp", value=1),                         True),
]
# fmt: on


@pytest.mark.parametrize("row, met", BARS, ids=lambda x: getattr(x, "workload", None))
def test_bars(row, met):
    assert row.met() is met
    assert row.as_json()["met"] is met


def test_times_floor():
    assert Row("north", cycles_per_packet=100, floor=25).as_json()["times_floor"] == 4


@pytest.mark.parametrize("argv, most", [([], 10_000_000), (["--quick"], 1_000_000)])
def test_every_workload_is_measured_and_with_a_bar_where_it_has_one(argv, most):
    args = run.arguments(argv)
    for workload in run.FORWARD:
        sessions = run.counts(workload, args)
        assert {(workload, n) for n in sessions} <= set(CYCLES_MAX)
        assert max(sessions) <= most
    assert run.counts("east", run.arguments(["--quick", "--sessions", "7"])) == [7]


def test_table_shows_every_kind():
    us = dict.fromkeys(("50", "90", "99", "99.9"), 7.0)
    rows = [
        Row("north", sessions=1_000, cycles_per_packet=100, floor=25, **PACKETS),
        Row("peer north", "OVS", cycles_per_packet=700, more={"times": 5.6}, **PACKETS),
        Row("veth north", driver="af_packet", mpps=0.5, floor=1.6, more={"gbit_s": 1.25}),
        Row("latency 10 %", value=7, floor=1, more={"load": 10, "us": us, "lost": 0, "sent": 1}),
        Row("memory hot", value=250, unit="bytes"),
        Row("ablation", value=12, more={"what": "no prefetch", "workload": "north"}),
        Row("south", note="not enough memory free"),
    ]
    out = io.StringIO()
    table.show(Console(file=out, width=120), rows, MACHINE)
    shown = out.getvalue()
    for text in (
        "met",
        "missed",
        "1.25",
        "3.2",
        "7.0",
        "no prefetch",
        "not permitted",
        "not enough memory",
    ):
        assert text in shown


# fmt: off
REFUSED = [
    ("--sessions", "0",     "not a number from 1 to"),
    ("--sessions", "-5",    "not a number from 1 to"),
    ("--passes",   "0",     "not a number from 1 to"),
    ("--burst",    "129",   "not a number from 1 to 128"),
    ("--sizes",    "99999", "not a number from 40 to 8,943"),
    ("--sizes",    "imix",  "not a number from 40 to 8,943"),
    ("--only",     "foo",   "invalid choice"),
]
# fmt: on


@pytest.mark.parametrize("option, value, said", REFUSED)
def test_arguments_that_make_no_sense_are_refused(option, value, said, capsys):
    with pytest.raises(SystemExit):
        run.arguments([f"{option}={value}"])
    assert said in capsys.readouterr().err


def interrupted():
    yield Row("north", note="done")
    raise KeyboardInterrupt


@pytest.fixture
def no_process(monkeypatch):
    """Nothing is built, and what a run asks for its process is not asked for that of the tests."""
    monkeypatch.setenv("PCGDP_DIR", "none is built")
    monkeypatch.setattr(run.machine, "let_alone", dict)
    monkeypatch.setattr(run.signal, "signal", lambda *_given: None)


@pytest.mark.usefixtures("no_process")
def test_an_interrupted_run_shows_what_it_has(tmp_path, capsys):
    file = tmp_path / "report.json"
    parts = {"north": interrupted, "south": lambda: iter([Row("south")])}
    assert run.report(parts, file) == 130
    assert [row["workload"] for row in json.loads(file.read_text())["rows"]] == ["north"] * 2
    assert "interrupted in north" in capsys.readouterr().out


@pytest.mark.usefixtures("no_process")
def test_a_folder_that_cannot_be_is_told_before_anything_is_measured(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run.report({"north": interrupted}, tmp_path / "file" / "report.json") == 2
    assert "file: File exists" in capsys.readouterr().out.replace("\n", "")
