"""perf.h: what is timed and what is counted, over the path by itself. No time is asserted."""

import pytest

from bench import path
from bench.path import Shape
from bench.world import World
from pcg.datapath import border, pages, spent
from pcg.datapath.lib import Datapath

pytestmark = pytest.mark.usefixtures("built")
PLACE, SESSIONS = World(64), 512
FRAMES = 8192


def fields(**more) -> dict:
    return Shape(passes=1).fields() | {"frames": FRAMES, "realtime": 0, "keeper": 0} | more


def ran(dp: Datapath, array: bytes, **more):
    """The passes, and what the worker says of them."""
    before = dp.performance()
    passes = dp.bench(fields(**more), array)[0]
    return passes, spent.between(before, dp.performance())[0]


@pytest.fixture
def known():
    with path.opened(PLACE, SESSIONS) as dp:
        array, _ = path.flows(PLACE, "north", SESSIONS)
        path.make_sessions(dp, array, Shape(more={"realtime": 0}))
        yield dp, array


def took(seen: spent.Reading) -> dict[str, int]:
    return dict(zip(spent.names(), seen["part_packets"], strict=True))


def test_there_is_a_reading_for_each_worker_and_one_for_injected_frames():
    with path.opened(PLACE, SESSIONS, workers=3) as dp:
        assert len(dp.performance()) == 3 + 1


def test_the_parts_are_the_stages_and_three_more(known):
    assert len(spent.names()) == border.lib().PCGDP_PARTS
    assert len(known[0].performance()[0]["sizes"]) == len(spent.SIZES)


@pytest.mark.parametrize("burst, size", [(1, "1"), (3, "2-3"), (32, "32-63"), (128, "128+")])
def test_bursts_are_counted_by_their_size(known, burst, size):
    dp, array = known
    _, seen = ran(dp, array, burst=burst, frames=burst * 64)
    sizes = dict(zip(spent.SIZES, seen["sizes"], strict=True))
    assert {name: n for name, n in sizes.items() if n} == {size: 64}
    assert seen["packets"] == burst * 64


def test_one_round_in_so_many_is_timed(known):
    dp, array = known
    every = spent.timed_every()
    _, seen = ran(dp, array, burst=2, frames=2 * 10 * every)
    assert took(seen)["plain"] == 2 * 10
    assert took(seen)["tx"] == 2 * 10


def test_two_ports_in_turns_are_both_timed():
    """With an even number of rounds in between, one of them would never be timed."""
    assert spent.timed_every() % 2 == 1


def test_every_round_is_timed_when_the_bench_asks(known):
    dp, array = known
    _, seen = ran(dp, array, time_parts=1)
    assert took(seen)["plain"] == took(seen)["tx"] == seen["packets"] == FRAMES


@pytest.mark.parametrize("burst", [128, 32])
def test_no_cycle_is_of_two_parts(known, burst):
    """A full queue is sent in the middle of another part; the parts' sum stays below the whole."""
    dp, array = known
    passes, seen = ran(dp, array, time_parts=1, burst=burst)
    assert 0 < sum(seen["part_cycles"]) <= passes[0].cycles * FRAMES


def test_first_packets_are_told_by_stage():
    with path.opened(PLACE, SESSIONS) as dp:
        array, _ = path.flows(PLACE, "south", SESSIONS)
        _, seen = ran(dp, array, time_parts=1, in_order=1, frames=SESSIONS, tcp_flags=path.SYN)
        assert seen["plain"] == 0
        through = {name: n for name, n in took(seen).items() if n == SESSIONS}
        assert set(through) == {"plain", "tx"} | {
            *("parse_uplink", "parse_inner", "session_lookup", "rewrite", "egress"),
        }


def test_the_arena_of_a_file_is_found_and_an_anonymous_one_is_not(tmp_path):
    arena = str(tmp_path / "arena")
    with Datapath(sessions=1024, arena=arena) as dp:
        seen = dp.arena_pages()
        assert (seen["file"], seen["bytes"]) == (arena, (tmp_path / "arena").stat().st_size)
        assert pages.said(seen).startswith(f"arena {arena}: ")
    with Datapath(sessions=1024) as dp:
        assert dp.arena_pages() is None
