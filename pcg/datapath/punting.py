"""The datapath's side of punts.py: from the path's rings to the relay, and its answers back.

A thread of its own, so that neither waits for a commit's answer on the control socket. It rests
EACH_S after work: at a high rate parcels go in batches, and a single one goes at once.
"""

import logging
import socket
import threading
import time

import zmq

from pcg.datapath import border
from pcg.datapath.lib import Datapath
from pcg.datapath.punts import ANSWERS_HELD, MESSAGE_MAX, PUNTS_HELD, bounded
from pcg.model.errors import BackendError

log = logging.getLogger("pcg.datapath")

EACH_S = 0.002
ROOM = MESSAGE_MAX // 4  # bytes of parcels in a message
RETRY_MS = 5  # while the relay, or the path, takes nothing


class Punter:
    """The socket and what goes over it; run() until close()."""

    def __init__(self, dp: Datapath, context: zmq.Context, endpoint: str) -> None:
        self.dp, self._shape = dp, border.shape().encode()
        self._relay: bytes | None = None  # its identity; None: nobody reads
        self._room, self._filled = bytearray(ROOM), 0  # bytes that the relay has not taken yet
        self._other = False  # that relay is of another build, and that was said
        self._gone = False  # what the path gave last has gone on
        self._answers = b""  # what the path has not taken yet
        self._stop, self._stopped = socket.socketpair()
        self._thread: threading.Thread | None = None
        self.socket = context.socket(zmq.ROUTER)
        bounded(self.socket, PUNTS_HELD, ANSWERS_HELD)
        self.socket.router_mandatory = 1
        try:
            self.socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            mend = "mend `control` in the datapath's settings; its folder must exist"
            raise BackendError(f"punt socket {endpoint}", str(error), mend) from None

    def start(self) -> None:
        self._thread = threading.Thread(target=self.run, name="punts")
        self._thread.start()

    def close(self) -> None:
        self._stop.close()
        if self._thread:
            self._thread.join()
        self.socket.close()
        self._stopped.close()

    def run(self) -> None:
        path, stopped = self.dp.punt_fd(), self._stopped.fileno()
        poller = zmq.Poller()
        poller.register(stopped, zmq.POLLIN)
        poller.register(path, zmq.POLLIN)
        poller.register(self.socket, zmq.POLLIN)
        while True:
            waits = self._filled or self._answers
            ready = dict(poller.poll(RETRY_MS if waits else None))
            if stopped in ready:
                return
            try:
                self.turn()
            except Exception:  # no parcel is worth the end of the path
                log.exception("DHCP between path and relay: an error; going on")
            time.sleep(RETRY_MS / 1000 if self._filled or self._answers else EACH_S)

    def turn(self) -> None:
        """Move what can be moved, both ways."""
        self._take_answers()
        self._give_punts()

    # ---- relay -> path ----

    def _take_answers(self) -> None:
        self._send_answers()
        while not self._answers and self.socket.poll(0, zmq.POLLIN):
            relay, *message = self.socket.recv_multipart()
            if message == [b""]:  # it has just connected
                self._relay, self._other = relay, False
                log.info("a relay takes DHCP")
            elif len(message) == 2 and message[0] == self._shape:
                self._answers = message[1]
                self._send_answers()
            elif not self._other:
                self._other = True
                log.error("a relay of another build; restart the gateway after an upgrade")

    def _send_answers(self) -> None:
        if not self._answers:
            return
        try:
            taken = self.dp.send_raw(self._answers)
        except BackendError as error:
            log.error("the relay's answers: %s", error)
            taken = len(self._answers)
        self._answers = self._answers[taken:]

    # ---- path -> relay ----

    def _give_punts(self) -> None:
        """All that waits, or as much as the relay takes."""
        while self._relay is not None:
            self._filled = self.dp.punts_raw(self._room, self._gone)
            self._gone = bool(self._filled) and self._hand_over()
            if not self._gone:
                break
        if self._relay is None:
            self.dp.punts_close(self._gone)
            self._filled = 0

    def _hand_over(self) -> bool:
        """Whether the relay has it now; if not, it comes again from the path."""
        data = memoryview(self._room)[: self._filled]
        try:
            self.socket.send_multipart([self._relay, self._shape, data], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            log.warning("the relay is gone: DHCP is dropped until it comes back")
            self._relay = None
            return False
        return True
