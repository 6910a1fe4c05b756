"""pcgctl show performance: readings that are made up, as tables and for programs."""

import json

import pytest

from pcg.cli import performance
from pcg.datapath import spent
from tests.unit.datapath.test_spent import INJECTED, PARTS, reading

TOTALS = {"sessions": 25, "sessions_max": 100, "mappings": 3, "peers": 2, "mappings_max": 100}
TOTALS |= {"ports": 1, "ports_max": 1024}
ARENA = {"file": "/x/arena", "bytes": 36 << 20, "resident": 8 << 20, "huge": 0, "page": 4096}


@pytest.fixture(autouse=True)
def _running(look, monkeypatch):
    """Each look finds a second more of the same; and nobody waits."""
    times = iter(range(100))
    look.client.performance = lambda: [reading(next(times), **PARTS), INJECTED]
    look.client.totals = lambda: TOTALS
    look.client.arena_pages = lambda: ARENA
    monkeypatch.setattr(performance.time, "sleep", lambda _s: None)
    monkeypatch.setattr(performance.time, "monotonic", iter(range(100)).__next__)


def test_keys_stay(pcgctl):
    shown = pcgctl("show", "performance", as_json=True)
    assert (shown["interval_s"], shown["tsc_hz"]) == (1, 2_000_000_000)
    assert shown["timed_one_round_in"] == spent.timed_every()
    assert shown["occupancy"]["sessions"] == {"used": 25, "of": 100}
    assert shown["arena"] == ARENA
    (worker,) = shown["workers"]
    assert worker == shown["all"]
    assert worker["packets_per_s"] == 1000
    assert worker["cycles"] == 123
    assert worker["parts"][0] == {
        "part": "rx",
        "packets": 100,
        "share": 1.0,
        "cycles": 20.0,
        "adds": 20.0,
    }


def line(text: str, begins: str) -> list[str]:
    """The first that does, in words."""
    found, *_ = [one.split() for one in text.splitlines() if one.strip().startswith(begins)]
    return found


def test_table_for_people(pcgctl):
    text = pcgctl("show", "performance")
    assert line(text, "worker 0  ")[2:] == ["1,000", "90.0%", "25.0%", "500,000", "5", "7"]
    assert line(text, "parse_outer") == ["parse_outer", "10.0%", "30", "3.0"]
    assert line(text, "egress") == ["egress", "-", "-", "-"]
    assert line(text, "sum") == ["sum", "123.0"]
    assert "▆  75%" in text
    assert "▂  25%" in text
    assert "sessions 25 of 100 (25.0%)" in text
    assert f"one round in {spent.timed_every()} is timed, here 100 of 1,000 packets" in text
    assert "2.000 GHz" in text
    assert "pages of 4 KiB: remove the file while" in text


def test_several_workers_stand_beside_each_other(pcgctl, look):
    times = iter(range(100))
    look.client.performance = lambda: [
        reading(next(times), **PARTS),
        reading(0),
        INJECTED,
    ]
    text = pcgctl("show", "performance")
    assert line(text, "all ")[:2] == ["all", "1,000"]
    assert line(text, "plain") == ["plain", "100.0%", "90", "90.0", "90", "-"]
    assert line(text, "sum") == ["sum", "123.0", "123", "-"]


def test_as_many_intervals_as_asked_for(pcgctl):
    assert pcgctl("show", "performance", "--count", "3").count("Over 1.00 s") == 3
    lines = pcgctl("show", "performance", "--count", "3", "--json").splitlines()
    assert [json.loads(one)["all"]["packets"] for one in lines] == [1000] * 3


@pytest.mark.parametrize("given", [("--count", "0"), ("--interval", "soon")])
def test_what_makes_no_sense_is_refused(pcgctl, given):
    import click

    with pytest.raises(click.UsageError):
        pcgctl("show", "performance", *given)
