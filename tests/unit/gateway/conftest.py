import pytest

from tests.unit.gateway.world import World


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)
