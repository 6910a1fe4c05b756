"""keeper.c, cuts.c, mail.c where nothing shows it outside: inside.c, linked with the whole path."""

import struct
import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import UDP

from pcg.datapath import build
from tests.c.packets import tcp, udp
from tests.c.places import A, R
from tests.c.world import over
from tests.fuzz import steps
from tests.oracle.fragments import cut

HERE = Path(__file__).parent
FUZZ = HERE.parent / "fuzz"
N, LONG, LONGEST = 160, 6000, 4020  # datagrams; bytes inside; of their first pieces
ETHER = 14
OWN = ("keeper-", "binding-")  # it has the first in itself, and is no module of Python


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("inside") / "inside"
    with build.one_build_at_a_time():
        objects = [one for one in build.compile_all(build.FAST) if not one.name.startswith(OWN)]
        sources = [HERE / "inside.c", FUZZ / "world.c", FUZZ / "derive.c"]
        flags = [*build.FAST.cflags, f"-I{build.SOURCES}/include", f"-I{build.SOURCES}/src"]
        argv = [*build.cc(), *flags, *map(str, sources), *map(str, objects)]
        build.run([*argv, "-pthread", *build.LIBRARIES, "-o", str(target)])
    return target


def told(*argv: object) -> str:
    """What it says is not so; "": nothing."""
    done = subprocess.run([*map(str, argv)], capture_output=True, text=True, timeout=60)
    return done.stderr or f"exit {done.returncode}" * bool(done.returncode)


def test_housekeeping_slows_down_when_nothing_changes_and_hurries_when_something_does(program):
    assert told(program, "pace") == ""


def opening(tmp_path: Path, packet) -> tuple:
    """A world, a frame of R that opens a session in it, and where its ports stand."""
    frame = over(R, packet, udp={"chksum": 0})
    (tmp_path / "world").write_bytes(steps.world())
    (tmp_path / "frame").write_bytes(frame)
    return tmp_path / "world", tmp_path / "frame", frame.rindex(bytes(packet.payload)[:4])


@pytest.mark.parametrize("sessions", [100_000, 400_000])
def test_what_a_commit_concerns_is_decided_again_within_a_second(program, tmp_path, sessions):
    """By the pace of housekeeping alone, which no load of a machine changes: what deciding takes is
    beside it. All sessions are concerned, and the commit comes just behind another's walk."""
    packet = udp(R.address)
    packet[UDP].chksum = 0
    assert told(program, "judged", *opening(tmp_path, packet), sessions) == ""


def test_resets_of_many_sessions_let_frames_pass_between(program, tmp_path):
    """16 sessions (README) between two looks at the ports, however many end; each is asked."""
    packet = tcp("S", R.address)
    assert told(program, "asked", *opening(tmp_path, packet), 50_007) == ""


def test_a_full_lane_refuses_counts_and_has_room_again(program, tmp_path):
    """Pieces for a worker that stands still: of the others none is lost, and none is delivered
    twice; those refused, sent again, complete their datagrams."""
    (tmp_path / "world").write_bytes(steps.world())
    first, last = b"", b""
    for i in range(N):
        frame = over(A, udp(sport=2000, data=bytes(LONG)), outer={"id": i + 1, "flags": 0})
        one, two = cut(frame[ETHER:], LONGEST)
        for piece in (one, two):
            assert len(piece) <= LONGEST
        first += struct.pack("=I", ETHER + len(one)) + frame[:ETHER] + one
        last += struct.pack("=I", ETHER + len(two)) + frame[:ETHER] + two
    (tmp_path / "first").write_bytes(first)
    (tmp_path / "last").write_bytes(last)
    files = (tmp_path / name for name in ("world", "first", "last"))
    assert told(program, "lane", *files) == ""
