"""Rows, their bars, and the table."""

import io

import pytest
from rich.console import Console

from bench import run, table
from bench.rows import CYCLES_MAX, Row

MACHINE = {
    "cpu": "one",
    "cores": 1,
    "caches": "",
    "kernel": "",
    "revision": "",
    "took_s": 1,
    "permitted": {"realtime": False},
}
PACKETS = {"cycles_min": 90, "cycles_median": 110, "cycles_p75": 120, "mpps": 26.0}

# fmt: off
BARS = [
    (Row("north", sessions=1_000, cycles_per_packet=110.0),                   True),
    (Row("north", sessions=1_000, cycles_per_packet=110.1),                   False),
    (Row("north", sessions=1_000, cycles_per_packet=100, workers=2),          None),
    (Row("north", sessions=1_000, cycles_per_packet=100, packet_size="IMIX"), None),
    (Row("north", sessions=1_000, cycles_per_packet=100, system="OVS"),       None),
    (Row("north", sessions=999, cycles_per_packet=100),                       None),
    (Row("setup", mpps=3.1, cycles_per_packet=800),                           True),
    (Row("setup", note="it failed"),                                          None),
    (Row("two workers", value=1.69),                                          False),
]
# fmt: on


@pytest.mark.parametrize("row, met", BARS)
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
