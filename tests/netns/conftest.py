"""Fixtures of real namespaces."""

from collections.abc import Iterator

import pytest

from tests.netns.process import Place, two_spaces
from tests.netns.spaces import Wires


@pytest.fixture
def wires():
    """Two namespaces and the wires between them; see spaces.py."""
    made = Wires()
    yield made
    made.close()


@pytest.fixture
def inside(wires):
    """The test's own thread runs in the gateway's namespace."""
    with wires.gw.inside():
        yield wires


@pytest.fixture
def gw() -> Iterator[str]:
    """The named namespace with interfaces `up0` and `down0`."""
    with two_spaces() as name:
        yield name


@pytest.fixture
def place(gw, tmp_path) -> Iterator[Place]:
    """Where datapaths are started as processes; they end with the test."""
    made = Place(gw, tmp_path)
    yield made
    made.close()
