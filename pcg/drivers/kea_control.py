"""Kea's control socket: one command, one answer, one connection (Kea's own protocol, JSON).

Nothing is kept between commands, so any thread may use it. Who answers is told by the kernel
(SO_PEERCRED), so that a server that hangs can be told from one that is not there.
"""

import json
import socket
import struct
import time
from pathlib import Path
from typing import Any

from pcg.model.errors import AbsentError, BackendError

QUICK_S = 3.0
SLOW_S = 60.0  # a configuration of a hundred thousand reservations takes ten
RECEIVE = 1 << 20  # bytes
SUCCESS, FAILURE, EMPTY = 0, 1, 3  # results: done; refused; nothing there to do it to
WHERE = " (<wire>:"  # Kea's position in a document that nobody sees


class Control:
    def __init__(self, path: Path, thing: str) -> None:
        self.path, self.thing = path, thing

    def ask(self, command: str, arguments: dict | None = None, timeout_s: float = 0.0) -> Any:
        """What it answers, under "arguments". `timeout_s` 0: QUICK_S.

        Raises  AbsentError    nobody listens
                BackendError   it hangs, ended meanwhile, or refused
        """
        request: dict[str, Any] = {"command": command}
        if arguments is not None:
            request["arguments"] = arguments
        answer = self._exchange(json.dumps(request).encode(), timeout_s or QUICK_S)
        if answer.get("result") == EMPTY:
            return {}
        if answer.get("result") != SUCCESS:
            text = str(answer.get("text", "no reason given")).partition(WHERE)[0]
            raise BackendError(self.thing, f"refused {command}: {text}")
        return answer.get("arguments", {})

    def listener(self) -> int | None:
        """The process that listens, even when it is stopped; None: there is none."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(QUICK_S)
            try:
                sock.connect(str(self.path))
            except OSError:
                return None
            form = struct.Struct("3i")
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, form.size)
            return form.unpack(credentials)[0]

    def _exchange(self, request: bytes, timeout_s: float) -> dict:
        until = time.monotonic() + timeout_s
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.settimeout(timeout_s)
                sock.connect(str(self.path))
                sock.sendall(request)
                sock.shutdown(socket.SHUT_WR)
                data = bytearray()
                while piece := self._receive(sock, until):
                    data += piece
                return json.loads(data)
            except TimeoutError:
                why = f"does not answer within {timeout_s:g} s"
                raise BackendError(self.thing, why) from None
            except (ConnectionRefusedError, FileNotFoundError):
                raise AbsentError(self.thing, "does not run") from None
            except (OSError, ValueError) as e:
                raise BackendError(self.thing, f"broke off its answer ({e})") from None

    @staticmethod
    def _receive(sock: socket.socket, until: float) -> bytes:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        return sock.recv(RECEIVE)
