"""Engines are asked what they remember and who went without, and told what operators want."""

import logging

import pytest

from pcg.gateway.engines import QUIET_S, Engines, Pools
from pcg.model.errors import BackendError
from tests.unit.gateway.test_grants import SERVED, World, give, grants, known, programmed, said
from tests.waiting import wait_until


class Fleet:
    def __init__(self):
        self.there = {"t1": ("127.0.0.1", 1)}
        self.remembered, self.counts, self.released = [], {"web": 0, "app": 0}, []
        self.hangs, self.asked = False, 0

    def _answer(self, value):
        if self.hangs:
            raise BackendError("DHCP server", "does not answer")
        return value

    def servers(self):
        return self.there

    def leases(self, vrf):
        return self._answer(self.remembered)

    def release(self, vrf, address):
        self._answer(None)
        self.released.append((vrf, address))

    def failures(self, vrf):
        return self._answer(sum(self.counts.values()))

    def failed(self, vrf):
        self.asked += 1
        return self._answer(dict(self.counts))


@pytest.fixture
def fleet():
    return Fleet()


@pytest.fixture
def world(monkeypatch):
    made = World(monkeypatch)
    made.adopt(SERVED)
    made.run(3.0)
    return made


@pytest.fixture
def engines(fleet, world):
    return Engines(fleet, grants(world))


def test_what_an_engine_remembers_is_read_once(engines, fleet, world):
    fleet.remembered = [known("n1", 100, "06:00:00:00:09:01")]
    engines.turn(0.0)
    world.run(3.0)
    assert {a for _, a in programmed(world)} == {"192.168.1.100"}
    fleet.remembered = []
    engines.turn(1.0)
    world.run(3.0)
    assert len(programmed(world)) == 1


def test_it_waits_until_it_is_known_who_there_is(fleet, world):
    world.start()
    engines = Engines(fleet, grants(world))
    fleet.remembered = [known("n1", 100, "06:00:00:00:09:01")]
    engines.turn(0.0)
    assert programmed(world) == {}
    world.adopt(SERVED)
    world.run(3.0)
    engines.turn(1.0)
    world.run(3.0)
    assert len(programmed(world)) == 1


def test_an_engine_that_hangs_is_asked_again(engines, fleet, world):
    fleet.hangs, fleet.remembered = True, [known("n1", 100, "06:00:00:00:09:01")]
    engines.release("t1", "192.168.1.105")
    engines.turn(0.0)
    assert (fleet.released, programmed(world)) == ([], {})
    fleet.hangs = False
    engines.turn(1.0)
    engines.turn(2.0)
    world.run(3.0)
    assert fleet.released == [("t1", "192.168.1.105")]
    assert len(programmed(world)) == 1


def test_a_release_waits_for_its_own_engine(engines, fleet, world):
    engines.release("t2", "192.168.1.105")
    engines.turn(0.0)
    assert fleet.released == []
    fleet.there["t2"] = ("127.0.0.1", 2)
    engines.turn(1.0)
    assert fleet.released == [("t2", "192.168.1.105")]


def test_who_went_without_is_told_by_segment_and_counted(engines, fleet, world, caplog):
    fleet.counts = {"web": 7, "app": 0}
    engines.turn(0.0)  # what was before we looked is no news
    engines.turn(1.0)
    assert fleet.asked == 1
    fleet.counts = {"web": 9, "app": 0}
    engines.turn(2.0)
    fleet.counts = {"web": 12, "app": 0}
    engines.turn(3.0)
    assert dict(grants(world).refused) == {("web", "POOL_EXHAUSTED"): 5}
    told = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert told == ["segment web: no address is free in the pools of its DHCP scope"]


def test_it_runs_by_itself(engines, fleet):
    engines.release("t1", "192.168.1.105")
    engines.start()
    wait_until(lambda: fleet.released, "it is told")
    engines.close()


def test_an_episode_ends_when_nobody_went_without_for_a_while():
    pools = Pools()
    pools.look({"web": 0}, 0.0)
    pools.total = 0
    for now, n, news in (
        (1.0, 1, ["web"]),
        (50.0, 2, []),
        (50.0 + QUIET_S, 3, []),
        (50.0 + QUIET_S + QUIET_S + 1, 4, ["web"]),
    ):
        assert pools.look({"web": n}, now) == {"web": 1}
        assert pools.news() == news


def test_an_engine_started_anew_counts_from_nought_and_a_new_segment_too():
    pools = Pools()
    assert pools.look({"web": 7}, 0.0) == {}
    pools.total = 7
    assert pools.look({"web": 2, "new": 1}, 1.0) == {"web": 2, "new": 1}


def test_leases_of_the_datapath_that_the_engine_does_not_know_end(engines, fleet, world):
    give(world, said(world, "vm-1"))
    world.start()
    world.adopt(SERVED)
    world.run(3.0)
    assert len(programmed(world)) == 1
    Engines(fleet, grants(world)).turn(0.0)
    assert programmed(world) == {}
