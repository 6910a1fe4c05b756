"""DHCP of workloads, for the gateway's relay: what the datapath punts, and answers to it.

    datapath -> relay, relay -> datapath    [shape of the border, parcels behind each other]

One socket beside the control one. Whoever connected last is the relay: connecting says so by itself
(ZMQ_PROBE_ROUTER), so a datapath or a relay that starts again needs no word of the other. While
there is none, the datapath drops what it would punt, with that as its reason.
"""

import logging
from collections.abc import Iterator, Sequence

import zmq

from pcg.datapath import border
from pcg.datapath.parcels import Answer, Punt, joined, split
from pcg.model.errors import BackendError
from pcg.wire import local

log = logging.getLogger(__name__)

RECONNECT_MS = 20
# Messages in front of a reader that is too slow: punts then wait in the path's rings, answers with
# the relay. Of answers there are more and smaller ones, a few each turn of the relay's.
PUNTS_HELD, ANSWERS_HELD = 16, 256
MESSAGE_MAX = 1 << 20  # bytes
ANSWERS_AT_ONCE = 100  # of the longest frames, so many fit a message


def endpoint_of(control: str) -> str:
    """The endpoint that belongs to a datapath's control endpoint."""
    return f"{control}-punt"


def bounded(socket: zmq.Socket, out: int, into: int) -> None:
    """What both sides set: a slow reader makes the other one wait, not this process grow."""
    socket.linger = 0
    socket.sndhwm, socket.rcvhwm = out, into
    socket.maxmsgsize = MESSAGE_MAX


class Punts:
    """Not safe to share between threads. `socket` may be polled for reading, and must be asked now
    and then, one way or another: it connects in its owner's calls.
    """

    def __init__(self, endpoint: str) -> None:
        """Connects in the background, and again whenever the datapath was started anew."""
        self._shape = border.shape().encode()
        self._other = False  # what comes is of another build, and that was said
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        bounded(self.socket, ANSWERS_HELD, PUNTS_HELD)
        self.socket.immediate = 1
        self.socket.probe_router = 1
        self.socket.reconnect_ivl = RECONNECT_MS
        try:
            local.connect(self.socket, endpoint, f"datapath at {endpoint}")
        except BackendError:
            self.close()
            raise

    def __enter__(self) -> "Punts":
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()
        self._context.term()

    def receive(self) -> list[Punt]:
        """What has come since the last call; never waits."""
        found: list[Punt] = []
        for shape, data in self._messages():
            if shape == self._shape:
                found += split(data)
            elif not self._other:
                log.error("the datapath is of another build; restart it after an upgrade")
            self._other = shape != self._shape
        return found

    def _messages(self) -> Iterator[list[bytes]]:
        while self.socket.poll(0, zmq.POLLIN):
            message = self.socket.recv_multipart()
            if len(message) == 2:
                yield message

    def send(self, answers: Sequence[Answer]) -> int:
        """Hand frames over to be sent; how many were taken: the first ones, all unless the datapath
        is not there or too slow. Never waits."""
        taken = 0
        while taken < len(answers):
            some = answers[taken : taken + ANSWERS_AT_ONCE]
            try:
                self.socket.send_multipart([self._shape, joined(some)], zmq.NOBLOCK)
            except zmq.Again:
                break
            taken += len(some)
        return taken
