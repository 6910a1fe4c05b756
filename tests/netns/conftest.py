"""Fixtures of real namespaces."""

import pytest

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
