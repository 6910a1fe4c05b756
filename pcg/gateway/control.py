"""The gateway's control socket: pcgctl asks what is desired and what became of it.

One MessagePack map each way: {"op": "realised"} -> {"ok": {...}} or {"error": "..."}.
What does something has its words beside: {"op": "dhcp_release", "vrf": ..., "address": ...}.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import zmq

from pcg.model.errors import BackendError
from pcg.wire import local

REQUEST_MAX = 4096  # bytes
PER_STEP = 16  # requests answered before other work gets its turn

Answers = Mapping[str, Callable[[], Any]]  # op -> what answers it
Actions = Mapping[str, Callable[[dict[str, Any]], Any]]  # op -> what does it, given its words


class ControlServer:
    """On a Unix socket that only root opens. Never more than a look, but for `actions`."""

    def __init__(self, endpoint: str, answers: Answers, actions: Actions | None = None) -> None:
        self._answers, self._actions = answers, actions or {}
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.maxmsgsize = REQUEST_MAX
        path = endpoint.removeprefix("ipc://")
        try:
            if endpoint.startswith("ipc://"):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self.socket.bind(endpoint)
            if endpoint.startswith("ipc://"):
                os.chmod(path, 0o600)
        except (zmq.ZMQError, OSError) as e:
            self.close()
            mend = "correct `control` in the gateway's settings"
            raise BackendError(f"control socket {endpoint}", e.strerror or str(e), mend) from None

    def close(self) -> None:
        self._context.destroy(linger=0)

    def serve(self) -> None:
        """Answer what has arrived. Never blocks, never raises for what a client sends."""
        for _ in range(PER_STEP):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(frames) < 2:
                continue
            reply = msgspec.msgpack.encode(self._answer(frames[-1]))
            try:
                self.socket.send_multipart([*frames[:-1], reply], zmq.NOBLOCK)
            except zmq.ZMQError:
                continue  # it went away

    def _answer(self, data: bytes) -> dict[str, Any]:
        try:
            request = msgspec.msgpack.decode(data)
        except (msgspec.MsgspecError, RecursionError) as e:
            return {"error": f"not a request: {e}"}
        op = request.get("op") if isinstance(request, dict) else None
        if isinstance(op, str) and op in self._actions:
            return self._do(self._actions[op], request)
        if not isinstance(op, str) or op not in self._answers:
            there = ", ".join((*self._answers, *self._actions))
            return {"error": f"unknown op {op!r}; there are: {there}"}
        return {"ok": self._answers[op]()}

    @staticmethod
    def _do(action: Callable[[dict[str, Any]], Any], request: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"ok": action(request)}
        except BackendError as error:
            return {"error": str(error)}


def ask(endpoint: str, op: str, timeout_s: float = 5.0, **words: str) -> Any:
    """What a running gateway answers to `op`: "realised", "desired", "drops", "leases",
    "shortages" or "gone" (rules that are no more, by name: their numbers); or what
    came of telling it to do something, by `words`.

    Raises  BackendError   nobody there or not for us, no answer in time, or the gateway says why
    """
    with zmq.Context() as context, context.socket(zmq.REQ) as sock:
        sock.linger = 0
        sock.immediate = 1
        thing = f"gateway at {endpoint}"
        local.connect(sock, endpoint, thing)
        mend = "is `pcg gateway` running, with this control socket in its settings?"
        if not sock.poll(min(1.0, timeout_s) * 1000, zmq.POLLOUT):
            raise local.absent(endpoint, thing, mend)
        sock.send(msgspec.msgpack.encode({"op": op, **words}))
        if not sock.poll(timeout_s * 1000, zmq.POLLIN):
            raise BackendError(thing, f"no answer within {timeout_s:g} s", mend)
        answer = msgspec.msgpack.decode(sock.recv())
    if "error" in answer:
        raise BackendError(thing, answer["error"])
    return answer["ok"]
