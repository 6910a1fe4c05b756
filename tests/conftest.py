"""Shared by all tests. Folders say what a test needs:

unit   nothing     c   the compiled datapath     netns, e2e   root and network namespaces
"""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples each time, so that a red run can be had again; HYPOTHESIS_PROFILE=default draws
# new ones (`make soak`).
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

HERE = Path(__file__).parent
NEED_ROOT = (HERE / "netns", HERE / "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(folder in item.path.parents for folder in NEED_ROOT):
            item.add_marker("root")
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def built() -> None:
    """The datapath's module is up to date. PCGDP_DIR (the sanitized build) is taken as it is."""
    from pcg.datapath import build

    if "PCGDP_DIR" not in os.environ:
        build.build()
