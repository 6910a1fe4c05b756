"""What docstrings show is what happens."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [*sorted(ROOT.glob("pcg/**/*.py")), *sorted(ROOT.glob("bench/*.py"))]
SHOWN = [path for path in SOURCES if ">>> " in path.read_text()]


def test_there_are_some():
    assert len(SHOWN) > 10


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("path", SHOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed
