"""Frames that pass one device, taken in a thread while the `with` lasts."""

import contextlib
import socket
import threading
import time

from pcg.lab import ns
from pcg.lab.frames import Overlay, read_overlay

ETH_P_ALL = 3
FRAMES_MAX = 20000  # a capture is for looking at single packets, not for transfers


class Capture:
    def __init__(self, space: str, device: str) -> None:
        self.frames: list[tuple[float, bytes]] = []
        self._stop = threading.Event()
        with ns.inside(space):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((device, ETH_P_ALL))
        self.socket.settimeout(0.05)

    def __enter__(self) -> "Capture":
        self.thread = threading.Thread(target=self._take, daemon=True)
        self.thread.start()
        return self

    def _take(self) -> None:
        while not self._stop.is_set() and len(self.frames) < FRAMES_MAX:
            with contextlib.suppress(TimeoutError):
                self.frames.append((time.monotonic(), self.socket.recv(65536)))

    def __exit__(self, *_: object) -> None:
        """What is already on the wire is still taken."""
        time.sleep(0.05)
        self._stop.set()
        self.thread.join(5)
        self.socket.close()

    def overlay(self) -> list[Overlay]:
        found = (read_overlay(frame) for _, frame in list(self.frames))
        return [packet for packet in found if packet]
