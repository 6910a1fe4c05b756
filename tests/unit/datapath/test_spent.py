"""Where time went between two readings: by hand-made numbers."""

import pytest

from pcg.datapath import border, spent

HZ = 2_000_000_000
COUNTED = ("packets", "plain", "busy_ns", "idle_ns", "slept", "napped")


def reading(times: int = 1, **parts: tuple[int, int]) -> dict:
    """`times` what one second of it brings; `parts` by name: packets and cycles timed in it."""
    one = dict.fromkeys(COUNTED, 0) | {"packets": 1000, "plain": 900, "slept": 5, "napped": 7}
    one |= {"busy_ns": 250_000_000, "idle_ns": 750_000_000}
    took = [parts.get(name, (0, 0)) for name in spent.names()]
    lists = {"sizes": [3, 0, 0, 0, 0, 0, 1, 0]}
    lists |= {"part_packets": [p for p, _ in took], "part_cycles": [c for _, c in took]}
    whole = {key: value * times for key, value in one.items()}
    return whole | {k: [n * times for n in v] for k, v in lists.items()} | {"tsc_hz": HZ}


INJECTED = reading(0)
PARTS = {"rx": (100, 2000), "plain": (100, 9000), "parse_outer": (10, 300), "tx": (100, 1000)}


@pytest.fixture(autouse=True)
def _module(built):
    """The parts have the stages' names."""


def test_the_last_reading_is_no_workers_and_is_left_out():
    before, after = [reading(1), INJECTED], [reading(3), INJECTED]
    assert spent.between(before, after) == [reading(2)]


@pytest.mark.parametrize("before", [[reading(9), INJECTED], [reading(0), reading(0), INJECTED]])
def test_a_new_process_began_with_nothing(before):
    assert spent.between(before, [reading(2), INJECTED]) == [reading(2)]


def test_parts_stand_in_the_order_a_packet_meets_them():
    seen = spent.parts(reading(1, **PARTS))
    assert [part.part for part in seen] == ["rx", "plain", *border.stage_names(), "tx"]


def test_cycles_of_a_part_are_by_its_own_packets_and_what_it_adds_by_all():
    seen = {part.part: part for part in spent.parts(reading(1, **PARTS))}
    assert seen["parse_outer"] == ("parse_outer", 10, 0.1, 30.0, 3.0)
    assert seen["plain"] == ("plain", 100, 1.0, 90.0, 90.0)
    assert seen["egress"] == ("egress", 0, 0.0, None, 0.0)


def test_the_sum_is_what_all_parts_add():
    told = spent.summary(reading(1, **PARTS), 2.0)
    assert told["cycles"] == 20 + 90 + 3 + 10
    assert told["busy_cycles"] == 0.25 * HZ / 1000
    assert (told["plain_share"], told["busy_share"]) == (0.9, 0.25)
    assert (told["packets_per_s"], told["sleeps_per_s"], told["naps_per_s"]) == (500, 2.5, 3.5)
    assert told["bursts"] == dict(zip(spent.SIZES, [3, 0, 0, 0, 0, 0, 1, 0], strict=True))


def test_nothing_happened():
    told = spent.summary(reading(0), 1.0)
    assert {told[key] for key in ("cycles", "busy_cycles", "plain_share", "busy_share")} == {None}
    assert told["packets_per_s"] == 0


def test_together_is_the_sum():
    assert spent.together([reading(1, **PARTS), reading(2, **PARTS)]) == reading(3, **PARTS)


def test_without_a_port_the_plain_ones_were_received():
    seen = {part.part: part for part in spent.parts(reading(1, plain=(50, 500), tx=(25, 50)))}
    assert (seen["tx"].share, seen["tx"].adds) == (0.5, 1.0)
    traced = spent.parts(reading(1, parse_uplink=(20, 40), tx=(10, 50)))
    assert {part.part: part.share for part in traced}["tx"] == 0.5
