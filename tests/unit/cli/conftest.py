import json

import pytest
from click.testing import CliRunner

from tests.unit.cli.fake import FakeLook


@pytest.fixture(autouse=True)
def _module(built):
    """Records in words need the compiled border."""


@pytest.fixture
def look():
    return FakeLook()


@pytest.fixture
def pcgctl(look):
    """Run a command line on the pretended gateway: pcgctl("show", "ports") -> its output."""
    from pcg.cli.capture import capture
    from pcg.cli.dhcp import dhcp
    from pcg.cli.drops import drops
    from pcg.cli.explain import explain
    from pcg.cli.selftest import test
    from pcg.cli.show import show
    from pcg.cli.trace import trace

    commands = {"show": show, "trace": trace, "explain": explain, "capture": capture}
    commands |= {"drops": drops, "test": test, "dhcp": dhcp}

    def call(name, *args, as_json=False, code=0):
        argv = [*args, "--json"] if as_json else list(args)
        done = CliRunner().invoke(commands[name], argv, obj=look, standalone_mode=False)
        if done.exception:
            raise done.exception
        assert (done.return_value or 0) == code
        return json.loads(done.stdout) if as_json else done.stdout

    return call
