"""Frames that pass one device, taken in a thread while the `with` lasts."""

import contextlib
import ctypes
import socket
import struct
import threading
import time

from pcg.lab import ns
from pcg.lab.frames import Overlay, read_overlay

ETH_P_ALL = 3
SO_ATTACH_FILTER = 26  # asm-generic/socket.h
FRAMES_MAX = 20000  # a capture is for looking at single packets, not for transfers


def _only(sock: socket.socket, at: int, value: int) -> None:
    """Frames whose byte `at` has that value, chosen by the kernel (classic BPF)."""
    load, compare, whole, nothing = (0x30, 0, 0, at), (0x15, 0, 1, value), (6, 0, 0, 65536), (6,)
    code = b"".join(
        struct.pack("=HBBI", *(*one, 0, 0, 0)[:4]) for one in (load, compare, whole, nothing)
    )
    held = ctypes.create_string_buffer(code)
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(held))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


class Capture:
    """`only`: (offset, value) of a byte that a frame must have; others are not taken."""

    def __init__(self, space: str, device: str, only: tuple[int, int] | None = None) -> None:
        self.frames: list[tuple[float, bytes]] = []
        self._stop = threading.Event()
        with ns.inside(space):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        if only:
            _only(self.socket, *only)
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
