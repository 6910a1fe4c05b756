"""The one capture, and who has it. Time is an argument."""

import pytest

from pcg.datapath.captured import Flow
from pcg.datapath.tap import LEASE_S, Tap
from pcg.model.errors import BackendError


class PretendedPath:
    def __init__(self):
        self.said, self.flow = [], Flow()

    def capture_start_raw(self, wanted, program):
        if program == b"bad":
            raise BackendError("capture", "EINVAL")
        self.said.append("start")

    def capture_raw(self):
        return b"frames", self.flow

    def capture_stop(self):
        self.said.append("stop")


@pytest.fixture
def tap():
    return Tap(PretendedPath())


def test_one_after_the_other(tap):
    first = tap.start(b"", b"", 0.0)
    assert tap.read(first, 1.0)[1] == b"frames"
    tap.stop(first, 2.0)
    second = tap.start(b"", b"", 2.0)
    assert first != second
    assert tap.dp.said == ["start", "stop", "start"]


def test_a_second_one_is_refused_while_the_first_is_read(tap):
    token = tap.start(b"", b"", 0.0)
    tap.read(token, LEASE_S)
    with pytest.raises(BackendError, match="somebody else's is under way"):
        tap.start(b"", b"", 1.5 * LEASE_S)


def test_one_that_nobody_reads_ends_by_itself(tap):
    token = tap.start(b"", b"", 0.0)
    tap.expire(LEASE_S)
    assert tap.dp.said == ["start"]
    tap.expire(LEASE_S + 1)
    assert tap.dp.said == ["start", "stop"]
    tap.expire(LEASE_S + 2)
    assert tap.dp.said == ["start", "stop"]
    with pytest.raises(BackendError, match="it has ended"):
        tap.read(token, LEASE_S + 3)


def test_an_abandoned_one_stands_in_nobodys_way(tap):
    tap.start(b"", b"", 0.0)
    assert tap.start(b"", b"", LEASE_S + 1)


@pytest.mark.parametrize("token", ["", "another"])
def test_a_stranger_reads_and_ends_nothing(tap, token):
    tap.start(b"", b"", 0.0)
    for ask in (tap.read, tap.stop):
        with pytest.raises(BackendError):
            ask(token, 1.0)
    assert tap.dp.said == ["start"]


def test_a_start_that_fails_leaves_nothing_behind(tap):
    with pytest.raises(BackendError):
        tap.start(b"", b"bad", 0.0)
    assert tap.start(b"", b"", 0.0)


def test_what_all_of_them_took_and_lost(tap):
    """Of the one that runs as it was read, of an ended one to its end."""
    assert tap.counts() == (False, Flow())
    token = tap.start(b"", b"", 0.0)
    tap.dp.flow = Flow((9, 0), (5, 0), (1, 0))
    tap.read(token, 1.0)
    assert tap.counts() == (True, Flow((9, 0), (5, 0), (1, 0)))
    tap.dp.flow = Flow((9, 0), (5, 0), (3, 0))
    tap.stop(token, 2.0)
    assert tap.counts() == (False, Flow((9, 0), (5, 0), (3, 0)))
    token = tap.start(b"", b"", 3.0)
    tap.dp.flow = Flow((1, 2), (1, 1), (0, 1))
    tap.expire(3.0 + LEASE_S + 1)
    assert tap.counts() == (False, Flow((10, 2), (6, 1), (3, 1)))
