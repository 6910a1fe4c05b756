"""One lab for the whole session, under a name of its own: others may be up beside it."""

import os
from collections.abc import Iterator

import pytest

from pcg.lab.lab import Lab, raised

GENEROUS_S = 10.0  # a test says whether it works; how fast is the demo's to say


@pytest.fixture(scope="session")
def lab(built: None) -> Iterator[Lab]:
    with raised(f"pcgt{os.getpid()}-", effect_limit_s=GENEROUS_S) as lab:
        yield lab
