import pytest


@pytest.fixture(autouse=True)
def _module(built):
    """These tests look at the compiled border."""
