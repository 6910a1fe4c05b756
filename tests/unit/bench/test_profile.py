"""The profile's rows and its table, from readings by hand."""

import io

import pytest
from rich.console import Console

from bench import profile, table
from bench.rows import Row
from pcg.datapath.frames import Pass
from tests.unit.bench.test_report import MACHINE
from tests.unit.datapath.test_spent import PARTS, reading

EVERY = {name: (10 * packets, 10 * cycles) for name, (packets, cycles) in PARTS.items()}


@pytest.fixture(autouse=True)
def _module(built):
    """The parts have the stages' names."""


def test_parts_and_what_lies_between_them_are_the_whole():
    seen = profile.row("profile north", 5, 130.0, reading(1, **EVERY), "as it is", floor=26.0)
    adds = seen.more["parts"]
    assert (adds["plain"], adds["parse_outer"], adds["egress"]) == (90, 3, None)
    assert adds["between them"] == 130 - 20 - 90 - 3 - 10
    assert sum(n or 0 for n in adds.values()) == seen.value
    assert seen.times_floor() == 5


def test_a_sample_says_nothing_of_what_lies_between():
    seen = profile.row(
        "profile north", 5, 100.0, reading(1, **PARTS), "over veths", driver="af_xdp"
    )
    assert seen.more["parts"]["between them"] is None
    assert seen.driver == "af_xdp"


def test_the_least_disturbed_turn_is_taken_whole():
    turns = [
        ([Pass(100, 0, 0, 0, 0), Pass(300, 0, 0, 0, 0)], "disturbed"),
        ([Pass(150, 0, 0, 0, 0), Pass(170, 0, 0, 0, 0)], "quiet"),
    ]
    assert profile.least(turns) == (160, "quiet")


def test_its_table_has_a_line_for_each_part_and_a_column_for_each_row():
    rows = [
        profile.row("profile north", 5, 130.0, reading(1, **EVERY), "one", floor=26.0),
        profile.row("profile north af_xdp", 5, 100.0, reading(1, **PARTS), "two"),
        Row("profile north", driver="af_packet", note="not permitted here"),
    ]
    out = io.StringIO()
    table.show(Console(file=out, width=120), rows, MACHINE)
    cells = {
        words[0]: words[1:]
        for line in out.getvalue().splitlines()
        if (words := [word.strip() for word in line.split("│") if word.strip()])
    }
    assert cells["plain"] == ["90.0", "90.0"]
    assert cells["egress"] == ["-", "-"]
    assert cells["between them"] == ["7.0", "-"]
    assert cells["whole"] == ["130.0", "100.0"]
    assert cells["x floor"] == ["5.0"]
    assert "(1) 5 sessions; one; 1,000 packets" in out.getvalue()
    assert "not permitted here" in out.getvalue()
