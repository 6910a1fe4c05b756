"""Engines are asked what they remember, and told what operators want."""

import pytest

from pcg.gateway.engines import Engines
from pcg.model.errors import BackendError
from tests.unit.gateway.leasing import SERVED, give, grants, known, leasing, programmed, said
from tests.waiting import wait_until


class Fleet:
    def __init__(self):
        self.there = {"t1": ("127.0.0.1", 1)}
        self.remembered, self.released, self.hangs = [], [], False

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


@pytest.fixture
def fleet():
    return Fleet()


@pytest.fixture
def world(monkeypatch):
    return leasing(monkeypatch)


@pytest.fixture
def engines(fleet, world):
    return Engines(fleet, grants(world))


def test_what_an_engine_remembers_is_read_once(engines, fleet, world):
    fleet.remembered = [known("n1", 100, "06:00:00:00:09:01")]
    engines.look()
    world.run(3.0)
    assert {a for _, a in programmed(world)} == {"192.168.1.100"}
    fleet.remembered = []
    engines.look()
    world.run(3.0)
    assert len(programmed(world)) == 1


def test_an_engine_that_was_away_is_read_again(engines, fleet, world):
    engines.look()
    address, fleet.there = fleet.there, {}
    engines.look()
    fleet.there, fleet.remembered = address, [known("n1", 100, "06:00:00:00:09:01")]
    engines.look()
    world.run(3.0)
    assert {a for _, a in programmed(world)} == {"192.168.1.100"}


def test_it_waits_until_it_is_known_who_there_is(fleet, world):
    world.start()
    engines = Engines(fleet, grants(world))
    fleet.remembered = [known("n1", 100, "06:00:00:00:09:01")]
    engines.look()
    assert programmed(world) == {}
    world.adopt(SERVED)
    world.run(3.0)
    engines.look()
    world.run(3.0)
    assert len(programmed(world)) == 1


def test_an_engine_that_hangs_is_asked_again(engines, fleet, world):
    fleet.hangs, fleet.remembered = True, [known("n1", 100, "06:00:00:00:09:01")]
    engines.release("t1", "192.168.1.105")
    engines.look()
    assert (fleet.released, programmed(world)) == ([], {})
    fleet.hangs = False
    engines.look()
    engines.look()
    world.run(3.0)
    assert fleet.released == [("t1", "192.168.1.105")]
    assert len(programmed(world)) == 1


def test_a_release_waits_for_its_own_engine(engines, fleet, world):
    engines.release("t2", "192.168.1.105")
    engines.look()
    assert fleet.released == []
    fleet.there["t2"] = ("127.0.0.1", 2)
    engines.look()
    assert fleet.released == [("t2", "192.168.1.105")]


def test_it_runs_by_itself(engines, fleet):
    engines.release("t1", "192.168.1.105")
    engines.start()
    wait_until(lambda: fleet.released, "it is told")
    engines.close()


def test_leases_of_the_datapath_that_the_engine_does_not_know_end(engines, fleet, world):
    give(world, said(world, "vm-1"))
    world.start()
    world.adopt(SERVED)
    world.run(3.0)
    assert len(programmed(world)) == 1
    Engines(fleet, grants(world)).look()
    assert programmed(world) == {}
