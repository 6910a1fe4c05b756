"""away.py: what nftables keeps for the datapath is lost while there is none, and only then."""

import socket

import pytest

from pcg.gateway.away import Away
from pcg.gateway.book import Book
from pcg.model.errors import BackendError
from pcg.wire.local import listens


class World:
    """A datapath that is there or not, and the counters of nftables."""

    def __init__(self) -> None:
        self.there = self.programmed = True
        self.counters = {"uplink_owned": 1000, "uplink_arp": 50, "downlink_tunnel": 7}
        self.away = Away(lambda: self.there, lambda: self.programmed, self.read)

    def read(self) -> dict[str, int]:
        return dict(self.counters)

    def came(self, **more: int) -> None:
        """Frames, between two looks."""
        for name, n in more.items():
            self.counters[name] = self.counters.get(name, 0) + n
        self.away.look()

    def lost(self) -> dict[str, int]:
        return {count.name: count.packets for count in self.away.counts() if count.packets}


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_lost_while_it_is_there(world):
    for _ in range(3):
        world.came(uplink_owned=10, downlink_tunnel=10)
    assert world.lost() == {}


def test_what_comes_while_it_is_away_is_lost_by_side(world):
    world.came(uplink_owned=10)
    world.there = False
    world.came(uplink_owned=5)  # it went at some time in between: nobody knows of which
    world.came(uplink_owned=3, uplink_arp=1, downlink_tunnel=2)
    world.came(downlink_fragment=4, uplink_owned=1)
    world.there = True
    world.came(uplink_owned=9)
    world.came(uplink_owned=9)
    assert world.lost() == {"uplink_datapath_away": 5, "downlink_datapath_away": 6}


def test_it_is_away_until_it_has_a_policy(world):
    world.there = world.programmed = False
    world.came()
    world.there = True
    world.came(uplink_owned=3)
    world.programmed = True
    world.came(uplink_owned=100)
    assert world.lost() == {"uplink_datapath_away": 3}


def test_without_a_policy_from_the_first_it_is_asked_for_none(world):
    """A gateway that starts beside a datapath that runs does not take it for a new one."""
    world.programmed = False
    world.came(uplink_owned=3)
    world.came(uplink_owned=3)
    assert world.lost() == {}


def test_tables_that_were_replaced_begin_at_nought(world):
    world.there = False
    world.came()
    world.counters = {"uplink_owned": 4}
    world.away.look()
    assert world.lost() == {"uplink_datapath_away": 4}


def test_counters_that_cannot_be_read_are_read_later(world, monkeypatch):
    world.there = False
    world.came()

    def refused() -> dict[str, int]:
        raise BackendError("nftables counters", "no permission")

    monkeypatch.setattr(world.away, "_read", refused)
    world.came(uplink_owned=2)
    monkeypatch.undo()
    world.came(uplink_owned=2)
    assert world.lost() == {"uplink_datapath_away": 4}


def test_they_are_rows_that_end_with_words_and_times(world):
    book = Book()
    book.note(world.away.counts(), 1.0, 1001)
    world.there = False
    world.came()
    world.came(downlink_tunnel=6)
    book.note(world.away.counts(), 2.0, 1002)
    (row,) = [row for row in book.view() if row["packets"]]
    assert (row["source"], row["where"], row["name"]) == (
        "nftables",
        "downlink",
        "downlink_datapath_away",
    )
    assert (row["ends"], row["first"], row["rate"]) == (True, 1002, 6.0)
    assert "no datapath" in row["means"]


def test_a_stopped_process_listens_and_a_dead_one_does_not(tmp_path):
    """However many wait at its door; `stopped` is one that never takes any of them."""
    path = str(tmp_path / "door")
    waiting = []
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(path)
        stopped.listen(1)
        for _ in range(5):
            assert listens(f"ipc://{path}")
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(path)
    for one in waiting:
        one.close()
    assert not listens(f"ipc://{path}")
    assert not listens(f"ipc://{tmp_path}/none")
