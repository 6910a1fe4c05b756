"""The lab itself, without PCG: it comes up, two of them live side by side, nothing is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from scapy.layers.l2 import Ether

from pcg.lab import ns
from pcg.lab.capture import Capture
from pcg.lab.checks import kernel
from pcg.lab.clients import Beat, Ping, Stream, download, ping_once, upload
from pcg.lab.lab import Lab, LabInUseError, raised
from pcg.lab.layout import HTTP, RUNS
from pcg.lab.sweep import sweep
from tests.waiting import wait_until

ME = os.getpid()


@pytest.fixture(scope="module")
def bare() -> Iterator[Lab]:
    """Up, and no program of PCG in it: Open vSwitch hosts reach each other all the same."""
    lab = Lab(f"pcgb{ME}-")
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


def _remains(prefix: str) -> list[str]:
    folder = RUNS / prefix.strip("-")
    arena = f"/dev/shm/{prefix}lab.arena"
    return ns.listed(prefix) + [str(p) for p in (folder, arena) if os.path.exists(p)]


def _app(lab: Lab) -> str:
    return f"http://{lab.layout.port('app1').addresses[0]}:{HTTP}"


def test_hosts_talk_without_a_gateway(bare: Lab):
    space = bare.layout.workload_ns("web1")
    assert download(space, f"{_app(bare)}/blob").digest == bare.services.digest()
    sent = upload(space, f"{_app(bare)}/upload", bare.services.blob)
    assert sent.digest == bare.services.digest()


def test_a_workload_moves_with_its_session(bare: Lab):
    space = bare.layout.workload_ns("web1")
    address = bare.layout.port("app1").addresses[0]
    with Stream(space, f"{_app(bare)}/stream") as stream, Beat(space, address, fresh=True) as beat:
        for host in ("h3", "h2"):
            told = bare.move("app1", host)
            wait_until(lambda told=told: beat.first(told), "an answer")
            assert stream.goes_on(), stream.broken


def test_a_lost_ping_is_seen(bare: Lab):
    """The instrument itself: what is not answered counts as lost, the tail under way does not."""
    space = bare.layout.workload_ns("web1")
    with Ping(space, bare.layout.port("app1").addresses[0]) as ping:
        _more_answers(ping, 20)
        bare.hosts["h2"].ofctl("del-flows", "nsx-managed")
        _no_answers(ping, 0.3)
        bare.hosts["h2"].program(bare.desired)
        _more_answers(ping, 20)
    assert 5 < len(ping.lost) <= ping.sent - 40


def _more_answers(ping: Ping, count: int) -> None:
    goal = ping.answered() + count
    wait_until(lambda: ping.answered() >= goal, f"{count} answers")


def _no_answers(ping: Ping, for_s: float) -> None:
    seen, since = ping.answered(), time.monotonic()

    def silent() -> bool:
        nonlocal seen, since
        if ping.answered() != seen:
            seen, since = ping.answered(), time.monotonic()
        return time.monotonic() - since >= for_s

    wait_until(silent, "silence")


def test_a_broken_stream_is_seen(bare: Lab):
    space = bare.layout.workload_ns("web1")
    with Stream(space, f"{_app(bare)}/stream") as stream:
        bare.hosts["h2"].ofctl("del-flows", "nsx-managed")
        assert not stream.goes_on(limit_s=1.0)
        bare.hosts["h2"].program(bare.desired)
    assert "stands still" in stream.broken


def test_a_lab_in_use_is_left_alone(bare: Lab):
    with pytest.raises(LabInUseError, match="in use"), raised(bare.layout.prefix):
        pass
    assert len(ns.listed(bare.layout.prefix)) > 10


def test_a_kernel_that_answers_for_the_tunnel_is_seen(bare: Lab):
    """Without PCG there is nobody at UDP port 6081, and the kernel says so: as it never may."""
    layout, tep = bare.layout, bare.desired.gateway.tep
    ns.ip(f"addr add {tep}/24 dev down0", layout.ns("pcg"))
    try:
        with Capture(layout.ns("vpc"), "pcg") as wire:
            assert kernel.provoke_downlink(bare) > 0
            ping_once(layout.ns("vpc"), tep)
    finally:
        ns.ip(f"addr del {tep}/24 dev down0", layout.ns("pcg"))
    assert any(kernel.is_refusal(Ether(frame)) for _, frame in wire.frames)


def test_two_labs_at_once_and_nothing_left(bare: Lab):
    before = len(ns.listed(bare.layout.prefix))
    other = Lab(f"pcgc{ME}-")
    try:
        other.up()
        space = other.layout.workload_ns("web1")
        with Ping(space, other.layout.port("app1").addresses[0]) as ping:
            _more_answers(ping, 20)
        assert not ping.lost
    finally:
        other.down()
    assert _remains(other.layout.prefix) == []
    assert len(ns.listed(bare.layout.prefix)) == before


def test_a_crashed_owner_leaves_a_lab_that_can_be_swept():
    prefix = f"pcgd{ME}-"
    code = f"from pcg.lab.lab import Lab; Lab({prefix!r}).up(); print('up', flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as owner:
        assert owner.stdout.readline() == b"up\n"
        owner.send_signal(signal.SIGKILL)
        owner.wait(5)
    assert ns.listed(prefix)
    assert sweep(prefix) > 10
    assert _remains(prefix) == []
