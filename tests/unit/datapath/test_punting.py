"""punting.py and punts.py, without a path: parcels wait, or are said to be lost."""

import contextlib
import os
import threading

import pytest
import zmq

from pcg.datapath.parcels import Answer, Punt, joined, split
from pcg.datapath.punting import Punter
from pcg.datapath.punts import Punts
from pcg.model.errors import BackendError
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("built")
MAC = b"\2\0\0\0\0\1"


def punt(n: int) -> Punt:
    return Punt(n, MAC, bytes(4), 0.0, bytes(60))


class FakePath:
    """The part of Datapath that a Punter uses."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.lock = threading.Lock()
        self.waiting, self.given = [], []  # punts
        self.closed: list[list[int]] = []  # what was dropped when nobody read
        self.sent, self.takes, self.broken = [], 10_000, []
        self.opened = False  # somebody reads

    def came(self, *punts: Punt) -> None:
        with self.lock:
            self.waiting += punts
        os.eventfd_write(self.fd, 1)

    def punt_fd(self) -> int:
        return self.fd

    def punts_raw(self, room: bytearray, gone: bool) -> int:
        with self.lock, contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        with self.lock:
            if self.broken:
                raise self.broken.pop()
            self.opened = True
            self.waiting = self.waiting if gone else self.given + self.waiting
            self.given, self.waiting = self.waiting[:100], self.waiting[100:]
            data = joined(self.given)
            room[: len(data)] = data
            return len(data)

    def punts_close(self, gone: bool = False) -> None:
        with self.lock:
            lost = ([] if gone else self.given) + self.waiting
            self.opened = False
            self.closed.append([one.vni for one in lost])
            self.given, self.waiting = [], []

    def send_raw(self, parcels: bytes) -> int:
        if self.broken:
            raise self.broken.pop()
        taken = split(parcels)[: self.takes]
        self.sent += [one.vni for one in taken]
        return len(joined(taken))


@pytest.fixture
def path():
    made = FakePath()
    yield made
    os.close(made.fd)


@pytest.fixture
def endpoint(path, tmp_path):
    at = f"ipc://{tmp_path}/punt"
    with zmq.Context() as context, contextlib.closing(Punter(path, context, at)) as punter:
        punter.start()
        yield at


@pytest.fixture
def relay(path, endpoint):
    with Punts(endpoint) as made:
        wait_until(lambda one=made: one.receive() or path.opened, "it is known")
        yield made


def heard(relay: Punts, n: int) -> list[int]:
    got = []
    wait_until(lambda: got.extend(relay.receive()) or len(got) >= n, f"{n} parcels come")
    return [one.vni for one in got]


def test_each_once_and_in_order(path, relay):
    for n in range(0, 1000, 50):
        path.came(*map(punt, range(n, n + 50)))
    assert heard(relay, 1000) == list(range(1000))
    wait_until(lambda: not path.given, "they are done with")
    assert not any(path.closed)


def test_one_that_does_not_read_makes_them_wait_where_they_are(path, relay):
    path.came(*map(punt, range(20_000)))
    wait_until(lambda: path.given and len(path.waiting) < 20_000, "some go on")
    assert heard(relay, 20_000) == list(range(20_000))


def test_a_relay_that_is_gone(path, endpoint):
    with Punts(endpoint) as first:
        wait_until(lambda one=first: one.receive() or path.opened, "it is known")
        path.came(punt(1))
        assert heard(first, 1) == [1]

    def noticed() -> bool:
        path.came(punt(2))
        return any(path.closed)

    wait_until(noticed, "what came since is dropped")
    with Punts(endpoint) as second:
        wait_until(lambda: path.came(punt(3)) or second.receive(), "another one is given them")


def test_what_the_path_does_not_take_it_is_offered_again(path, relay):
    path.takes = 3
    answers = [Answer(n, MAC, bytes(60)) for n in range(20)]
    assert relay.send(answers) == 20
    wait_until(lambda: len(path.sent) == 20, "all are taken")
    assert path.sent == list(range(20))


def test_answers_before_there_is_a_datapath(tmp_path):
    with Punts(f"ipc://{tmp_path}/nobody") as relay:
        assert relay.send([Answer(1, MAC, bytes(60))]) == 0
        assert relay.receive() == []


def strangers(caplog) -> int:
    return sum("another build" in one.getMessage() for one in caplog.records)


def test_a_relay_of_another_build_is_told_once_a_connection(path, endpoint, caplog):
    for n in (1, 2):
        with Punts(endpoint) as relay:
            ours, relay._shape = relay._shape, b"other"
            answers = [Answer(1, MAC, bytes(60))]
            wait_until(lambda one=relay, a=answers: one.send(a), "it takes them")
            for _ in range(5):
                wait_until(lambda one=relay, a=answers: one.send(a), "it takes them")
            relay._shape = ours
            last = [Answer(n, MAC, bytes(60))]
            wait_until(lambda one=relay, a=last: one.send(a), "it takes them")
            wait_until(lambda n=n: n in path.sent, "all before it was read")
        assert strangers(caplog) == n


def test_a_datapath_of_another_build_is_told_once(path, relay, caplog):
    relay._shape = b"other"
    for n in range(5):
        path.came(punt(n))
        wait_until(lambda: relay.receive() == [] and not path.waiting, "it is given on")
    wait_until(lambda: relay.receive() or strangers(caplog), "it is told")
    assert strangers(caplog) == 1


@pytest.mark.parametrize("error", [BackendError("send", "no"), RuntimeError("anything")])
def test_an_error_ends_nothing(path, relay, error):
    path.broken.append(error)
    wait_until(lambda: relay.send([Answer(1, MAC, bytes(60))]), "it is listened to")
    wait_until(lambda: not path.broken, "it fails")
    wait_until(lambda: relay.send([Answer(2, MAC, bytes(60))]) and 2 in path.sent, "it goes on")
    path.came(punt(7))
    assert heard(relay, 1) == [7]


def test_an_endpoint_that_cannot_be(path):
    with zmq.Context() as context, pytest.raises(BackendError, match="punt socket"):
        Punter(path, context, "ipc:///does/not/exist/punt")
