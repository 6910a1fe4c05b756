"""`pcgctl test mtu`: what it asks of each tunnel endpoint, and what it concludes."""

import pytest

from pcg.cli import probe, selftest
from pcg.cli.probe import Search, checksum, echo
from pcg.model.errors import BackendError

PASSES, TOLD = "10.99.0.2", "10.99.0.3"  # fake.py: the underlay told 1500 of the second


def pretended(limits: dict[str, int]):
    """A network that silently loses what is longer than the endpoint's limit."""

    class Prober(probe.Prober):
        rounds = 0

        def __init__(self, source):
            assert source == "10.99.0.1"

        def __exit__(self, *_exc):
            pass

        def round(self, sizes):
            Prober.rounds += 1
            return {a for a, size in sizes.items() if size <= limits[a]}

    return Prober


@pytest.fixture
def run(pcgctl, monkeypatch):
    def call(code=0, **limits):
        by_address = {PASSES: limits["first"], TOLD: limits["second"]}
        monkeypatch.setattr(selftest, "Prober", pretended(by_address))
        return {r["address"]: r for r in pcgctl("test", "mtu", as_json=True, code=code)}

    return call


def test_each_at_its_own_mtu(run):
    rows = run(first=9001, second=1500)
    assert {a: (r["mtu"], r["verdict"], r["largest"]) for a, r in rows.items()} == {
        PASSES: (9001, "passes", 9001),
        TOLD: (1500, "passes", 1500),
    }


def test_one_that_loses_large_packets_is_named(run):
    rows = run(code=1, first=4000, second=1500)
    assert rows[PASSES]["verdict"] == "loses"
    assert 4000 - probe.STEP < rows[PASSES]["largest"] <= 4000
    assert "MTU" in rows[PASSES]["conclude"]
    assert rows[TOLD]["verdict"] == "passes"


def test_silence_is_not_called_loss(run):
    rows = run(first=0, second=1500)
    assert (rows[PASSES]["verdict"], rows[PASSES]["largest"]) == ("silent", 0)
    assert "security group" in rows[PASSES]["conclude"]


def test_where_it_may_not_ping(pcgctl, monkeypatch):
    def refused(source):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(selftest, "Prober", refused)
    with pytest.raises(BackendError, match="not permitted"):
        pcgctl("test", "mtu")


@pytest.mark.parametrize("limit", [68, 69, 575, 1499, 1500, 8992, 9000])
def test_the_search_ends_close_below_the_limit(limit):
    search, steps = Search(9001), 0
    while size := search.next():
        search.told(size <= limit)
        steps += 1
    assert limit - probe.STEP < search.passed <= limit
    assert search.lost > limit
    assert steps < 14


@pytest.mark.parametrize("size", [68, 69, 1500, 9001])
def test_an_echo_is_as_long_as_asked_and_its_checksum_right(size):
    packet = echo(7, 9, size)
    assert len(packet) == size - 20  # the IP header is the kernel's
    assert checksum(packet) == 0
