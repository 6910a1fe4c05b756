"""What configs/ shows to users must load, whole and without a complaint."""

from pathlib import Path

import pytest

from pcg.model.load import load_desired, load_settings
from pcg.model.settings import ControllerSettings, DatapathSettings, GatewaySettings

CONFIGS = Path(__file__).parents[3] / "configs"
DESIRED = sorted((CONFIGS / "desired").glob("*.yaml"))
SETTINGS = {
    "controller": ControllerSettings,
    "gateway": GatewaySettings,
    "datapath": DatapathSettings,
}


def test_there_are_examples():
    assert DESIRED, f"no example of desired state in {CONFIGS / 'desired'}"


@pytest.mark.parametrize("path", DESIRED, ids=lambda path: path.name)
def test_desired_state(path):
    assert load_desired(path).gateway.id == path.stem  # as the controller looks for it


@pytest.mark.parametrize("program", SETTINGS)
def test_settings(program):
    assert load_settings(CONFIGS / f"{program}.yaml", SETTINGS[program])
