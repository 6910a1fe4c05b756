"""The C packet path in this process, without a NIC. Whatever a test does, no frame may vanish."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from click.testing import CliRunner

from pcg.cli.look import Look
from pcg.datapath.lib import Datapath
from pcg.datapath.server import Server
from tests.c.world import World


def assert_accounted(dp: Datapath) -> None:
    """rx + made = tx + punt + sum(drops) + held + joined, at rest; the ledger agrees, and
    no more is said of flows."""
    t = dp.totals()
    ended = t["tx"] + t["punt"] + t["drops"] + t["held"] + t["joined"]
    assert t["rx"] + t["made"] == ended, t
    assert t["drops"] == sum(dp.drops().values())
    noted = Counter()
    for row in dp.ledger():
        noted[row["reason"]] += row["packets"]
    assert noted == dp.drops()
    listed = Counter()
    for row in dp.recent():
        listed[row["reason"]] += row["packets"]
    assert listed <= noted


@pytest.fixture
def dp(built) -> Iterator[Datapath]:
    """A fresh datapath on anonymous memory: `up0` is its uplink, `down0` its downlink.

    Its tables are empty. Use `dp.inject(role, frames)`; workers are not started.
    """
    with Datapath(sessions=4096, workload_addresses=1024, fresh=True) as path:
        path.nic_add("up0", "uplink")
        path.nic_add("down0", "downlink")
        yield path
        assert_accounted(path)


@pytest.fixture
def world(dp):
    """The datapath `dp`, holding the world of places.py; every frame it sends is checked."""
    return World(dp)


@pytest.fixture
def look(world: World, tmp_path) -> Iterator[Look]:
    """The world behind a socket, as pcgctl meets it."""
    endpoint, end = f"ipc://{tmp_path}/dp.sock", threading.Event()
    with zmq.Context() as context:
        server = Server(world.dp, context, endpoint)

        def serve() -> None:
            while not end.is_set():
                if server.socket.poll(10):
                    server.answer_one()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with Look(endpoint, "") as look:
                yield look
        finally:
            end.set()
            thread.join()
            server.close()


@pytest.fixture
def ask(look):
    """A command of pcgctl, run there: what it prints."""

    def call(command, *args: str) -> str:
        look.forget()
        done = CliRunner().invoke(command, args, obj=look, standalone_mode=False)
        if done.exception:
            raise done.exception
        return done.stdout

    return call


@pytest.fixture
def captures() -> Path:
    """The folder of captured frames."""
    return Path(__file__).parent / "captures"
