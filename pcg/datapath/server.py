"""Answers the datapath's clients: one request, one operation on the handle, one reply.

One thread, so the handle has one caller, as pcgdp.h asks. A request that cannot be read or carried
out gets an error and harms nobody: packets are the workers' business.
"""

import logging
import struct
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import zmq

from pcg.datapath import border, messages, pack, tap
from pcg.datapath.lib import Datapath
from pcg.model.errors import BackendError
from pcg.reconcile import records

log = logging.getLogger("pcg.datapath")

SESSIONS_MAX = 65_536  # records of one answer: 6 MiB that this process has to spare


class Answer(NamedTuple):
    """`arrays` follow the reply as frames of their own."""

    result: Any = None
    arrays: tuple[bytes, ...] = ()


Operation = Callable[[Datapath, dict[str, Any], list[bytes]], Answer]


def _commit(dp: Datapath, args: dict, arrays: list[bytes]) -> Answer:
    *tables, touches = arrays
    policy = dict(zip(records.POLICY, tables, strict=True))
    dp.commit_raw(policy, args["revision"], touches)
    return Answer()


def _sessions(dp: Datapath, args: dict, _arrays: list[bytes]) -> Answer:
    if not 0 < args["n"] <= SESSIONS_MAX:
        raise ValueError(f"n is 1 to {SESSIONS_MAX}, not {args['n']}")
    data, cursor = dp.sessions_raw(args["cursor"], args["n"])
    return Answer(cursor, (data,))


def _events(dp: Datapath, args: dict, _arrays: list[bytes]) -> Answer:
    data, lost = dp.events_raw(args["keep"])
    return Answer(lost, (data,))


def _trace_start(dp: Datapath, args: dict, arrays: list[bytes]) -> Answer:
    (wanted,) = pack.unpack("trace_filter", arrays[0])
    dp.trace_start(args["packets"], wanted)
    return Answer()


OPERATIONS: dict[str, Operation] = {
    "hello": lambda dp, args, arrays: Answer(),
    "put": lambda dp, args, arrays: Answer(dp.put_raw(args["table"], arrays[0])),
    "delete": lambda dp, args, arrays: Answer(dp.delete_raw(args["table"], arrays[0])),
    "commit": _commit,
    "read": lambda dp, args, arrays: Answer(None, (dp.read_raw(args["table"]),)),
    "totals": lambda dp, args, arrays: Answer(dp.totals()),
    "drops": lambda dp, args, arrays: Answer(dp.drops()),
    "ledger": lambda dp, args, arrays: Answer(None, (dp.ledger_raw(),)),
    "recent": lambda dp, args, arrays: Answer(None, (dp.recent_raw(),)),
    "stages": lambda dp, args, arrays: Answer(dp.stages()),
    "performance": lambda dp, args, arrays: Answer(None, (dp.performance_raw(),)),
    "arena_pages": lambda dp, args, arrays: Answer(dp.arena_pages()),
    "nics": lambda dp, args, arrays: Answer(dp.nics()),
    "counters": lambda dp, args, arrays: Answer(dp.counters(args["table"])),
    "sessions": _sessions,
    "events": _events,
    "trace_start": _trace_start,
    "trace_read": lambda dp, args, arrays: Answer(None, (dp.trace_raw(),)),
    "explain": lambda dp, args, arrays: Answer(None, dp.explain_raw(args["role"], arrays[0])),
}


# What an operation raises for arguments that are not what it takes.
WRONG = (KeyError, IndexError, TypeError, ValueError, OverflowError, struct.error)


class Server:
    """The ROUTER socket and what it does; the owner polls it and calls `answer_one`."""

    def __init__(self, dp: Datapath, context: zmq.Context, endpoint: str) -> None:
        self.dp, self.shape = dp, border.shape()
        self.tap = tap.Tap(dp)
        captures = tap.operations(self.tap, time.monotonic)
        self._more = {
            op: lambda dp, *given, do=do: Answer(*do(*given)) for op, do in captures.items()
        }
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.maxmsgsize = messages.MESSAGE_MAX
        try:
            self.socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.socket.close()
            mend = "mend `control` in the datapath's settings; its folder must exist"
            raise BackendError(f"control socket {endpoint}", str(error), mend) from None

    def close(self) -> None:
        self.socket.close()

    def tick(self) -> None:
        """What time alone ends. Called now and then, also while nobody asks anything."""
        self.tap.expire(time.monotonic())

    def answer_one(self) -> None:
        """Take one request and answer it; never raises for what a client did."""
        client, *parts = self.socket.recv_multipart()
        try:
            request = messages.decode_request(parts[0])
        except (msgspec.MsgspecError, IndexError, RecursionError) as error:
            log.warning("a message on the control socket is no request: %s", error)
            return
        reply, arrays = self._reply(request, parts[1:])
        self.socket.send_multipart([client, messages.encode(reply), *arrays], copy=False)

    def _reply(self, request: messages.Request, arrays: list[bytes]) -> tuple:
        reply = messages.Reply(id=request.id, shape=self.shape)
        try:
            answer = self._carry_out(request, arrays)
        except BackendError as error:
            reply.error = messages.Failure(error.thing, error.why, error.mend)
        except WRONG as error:
            why = f"its arguments are wrong ({type(error).__name__}: {error})"
            reply.error = messages.Failure(f"datapath request {request.op}", why, "")
        except Exception as error:  # no request is worth the end of the path
            log.exception("%s", request.op)
            why = f"it failed ({type(error).__name__}: {error})"
            reply.error = messages.Failure(f"datapath request {request.op}", why, "report this")
        else:
            reply.result = answer.result
            return reply, answer.arrays
        log.warning("%s: %s: %s", request.op, reply.error.thing, reply.error.why)
        return reply, ()

    def _carry_out(self, request: messages.Request, arrays: list[bytes]) -> Answer:
        if request.version != messages.VERSION or request.shape != self.shape:
            raise BackendError(
                f"datapath request {request.op}",
                f"the client is of another build (border {request.shape}, ours {self.shape})",
                "install both from one release, then restart the datapath",
            )
        operation = OPERATIONS.get(request.op) or self._more.get(request.op)
        if not operation:
            raise BackendError(f"datapath request {request.op}", "there is no such operation")
        return operation(self.dp, request.args, arrays)
