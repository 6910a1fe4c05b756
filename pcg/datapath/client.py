"""The datapath process as Python methods, for the gateway's control loop, `pcgctl` and tests.

Every call is one request and one reply with a deadline. The socket queues nothing while nobody
listens (ZMQ_IMMEDIATE), so no change reaches a restarted process that its caller gave up on, and a
process that ends in the middle of a call is noticed at once. The next call connects again.

BackendError says: not there, does not answer, of another build, or what the path itself refused.
"""

import functools
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from typing import Any

import msgspec
import zmq

from pcg.datapath import border, captured, ledger, messages, pack, views
from pcg.datapath.lib import pack_touches
from pcg.model.errors import BackendError
from pcg.reconcile import records
from pcg.wire import local

CONNECT_S = 1.0  # a listening process takes the connection within milliseconds
RECONNECT_MS = 20
LOOK_MS = 50  # how often a waiting call looks whether the connection still stands
SESSIONS_AT_ONCE = 16_384


class Client:
    """Safe to share between threads; calls queue behind each other."""

    def __init__(self, endpoint: str, timeout_s: float = 5.0, connect_s: float = CONNECT_S) -> None:
        """Connects in the background: a process that is not there shows at the first call.

        connect_s   how long a call waits for that; a caller with other work to do takes less
        """
        self.endpoint, self.timeout_s, self.connect_s = endpoint, timeout_s, connect_s
        self.thing = f"datapath at {endpoint}"
        self._shape = border.shape()
        self._lock = threading.Lock()
        self._last_id = 0
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.immediate = 1
        self._socket.reconnect_ivl = RECONNECT_MS
        self._socket.maxmsgsize = messages.MESSAGE_MAX
        try:
            local.connect(self._socket, endpoint, self.thing)
        except BackendError:
            self.close()
            raise

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    # ---- tables ----

    def read(self, table: str) -> list:
        """Every record the table holds."""
        return pack.unpack(table, self._call("read", table=table)[1][0])

    def put(self, table: str, rows: Iterable) -> None:
        """Write records of a single table (teps, ports, nexthops): all of them or none."""
        self._call("put", pack.pack(table, rows), table=table)

    def delete(self, table: str, rows: Iterable) -> None:
        """Remove records of a single table by their key fields; an absent one is no error."""
        self._call("delete", pack.pack(table, rows), table=table)

    def commit(
        self, policy: dict[str, list], revision: int = 0, touches: Sequence | None = None
    ) -> None:
        """Publish all policy tables at once, or none of them; one not given becomes empty.

        touches  what changed for sessions that exist; None or empty: anything may have
        """
        tables = [pack.pack(table, policy.get(table, ())) for table in records.POLICY]
        self._call("commit", *tables, pack_touches(touches), revision=revision)

    # ---- what is counted ----

    def totals(self) -> dict[str, int]:
        """Fields of struct pcgdp_totals."""
        return self._call("totals")[0]

    def drops(self) -> dict[str, int]:
        """Reason -> packets, of those that have any."""
        return self._call("drops")[0]

    def ledger(self) -> list[dict]:
        """Drops by reason, port, segment and rule, with times (monotonic ns) and an example."""
        return ledger.merged(views.views("drop", self._call("ledger")[1][0]))

    def drops_by_side(self) -> dict[tuple[str, str], int]:
        """Packets by reason and side, of those that have any; ledger.SEVERAL beside the two."""
        return ledger.by_side(pack.unpack("drop", self._call("ledger")[1][0]))

    def recent(self) -> list[dict]:
        """Flows of which packets were dropped lately, by reason and rule, the latest first."""
        return ledger.recent(views.views("recent", self._call("recent")[1][0]))

    def reasons(self) -> dict[str, str]:
        """Every reason -> what the operator should conclude from it."""
        return dict(zip(border.reason_names(), border.reason_texts(), strict=True))

    def advice(self) -> dict[str, str]:
        """Every reason -> what to do about it."""
        return dict(zip(border.reason_names(), border.reason_advice(), strict=True))

    def stages(self) -> dict[str, int]:
        """Stage -> packets that entered it, in the path's order."""
        return self._call("stages")[0]

    def performance(self) -> list[dict]:
        """Where the time of each worker goes, since it began; the last is inject's."""
        return views.views("performance", self._call("performance")[1][0])

    def arena_pages(self) -> dict | None:
        """On which pages the arena lies, as pages.read() has it; None: it is anonymous."""
        return self._call("arena_pages")[0]

    def nics(self) -> list[dict]:
        return self._call("nics")[0]

    def counters(self, table: str) -> list[dict]:
        """Of "segments" (id: VNI), "nat", "firewall" (rule id), "publics" (index), or "vrfs" (id:
        domain, 2 * index outwards and 1 more inwards)."""
        return self._call("counters", table=table)[0]

    def sessions(
        self, limit: int | None = None, address: str = "", vrf: int | None = None
    ) -> list[dict]:
        """Up to `limit` sessions in words; `address` is any of the four of a session."""
        seen: list[dict] = []
        for session in map(functools.partial(views.view, "session"), self._sessions()):
            if limit is not None and len(seen) >= limit:
                break
            ends = {session[key] for key in ("fwd_src", "fwd_dst", "rev_src", "rev_dst")}
            if vrf in (None, session["vrf"]) and (not address or address in ends):
                seen.append(session)
        return seen

    def sessions_between(self, these: Iterable[str], those: Iterable[str]) -> list[dict]:
        """Sessions with one of `these` addresses and one of `those` among their four."""
        a, b = ({IPv4Address(text).packed for text in some} for some in (these, those))
        return [
            views.view("session", s)
            for s in self._sessions()
            if not a.isdisjoint(ends := (s.fwd_src_be, s.fwd_dst_be, s.rev_src_be, s.rev_dst_be))
            and not b.isdisjoint(ends)
        ]

    def _sessions(self) -> Iterator[Any]:
        cursor = 0
        while True:
            cursor, (data,) = self._call("sessions", cursor=cursor, n=SESSIONS_AT_ONCE)
            if not data:
                return
            yield from pack.unpack("session", data)

    def events(self, keep: int) -> tuple[list[Any], int]:
        """Sessions that began and ended since the last call, as records; how many were lost.

        keep  how many each worker holds until then, a power of two; 0 ends it. One reader at a time
        """
        lost, (data,) = self._call("events", keep=keep)
        return pack.unpack("event", data), lost

    # ---- looking at packets ----

    def trace_start(self, wanted: pack.TraceFilter, packets: int) -> None:
        """Note the stages of the next `packets` that match; ends a trace that runs."""
        self._call("trace_start", pack.pack("trace_filter", [wanted]), packets=packets)

    def trace_read(self) -> list[dict]:
        """Events since the last call, in words; each is given once."""
        return views.views("trace_event", self._call("trace_read")[1][0])

    def explain(self, role: str, frame: bytes) -> tuple[list[dict], bytes | None]:
        """What would happen to this frame, stage by stage, and how it would leave; nothing does."""
        events, out = self._call("explain", frame, role=role)[1]
        return views.views("trace_event", events), out or None

    def capture_start(self, wanted: pack.CaptureWanted, program: bytes = b"") -> str:
        """Begin to copy frames that `program` (classic BPF; empty: all) fits; a token to read by.

        It ends by itself when nobody reads for 10 s. BackendError: somebody else captures.
        """
        return self._call("capture_start", pack.pack("capture_wanted", [wanted]), program)[0]

    def capture_read(self, token: str) -> tuple[list[captured.Captured], captured.Flow]:
        """Frames since the last call, and the counts so far."""
        flow, (data,) = self._call("capture_read", token=token)
        return list(captured.split(data)), captured.Flow(*flow)

    def capture_stop(self, token: str) -> None:
        self._call("capture_stop", token=token)

    def captures(self) -> tuple[bool, captured.Flow]:
        """Whether one runs, and the counts of all since the datapath began."""
        runs, flow = self._call("captures")[0]
        return runs, captured.Flow(*flow)

    # ---- the conversation ----

    def _call(self, op: str, *arrays: bytes, **args: Any) -> tuple[Any, list[bytes]]:
        """One request and its reply: (result, arrays)."""
        with self._lock:
            deadline = time.monotonic() + self.timeout_s
            self._last_id += 1
            request = messages.Request(id=self._last_id, shape=self._shape, op=op, args=args)
            self._send([messages.encode(request), *arrays])
            while True:
                reply, data = self._receive(op, deadline)
                if reply.id == self._last_id:  # an older one answers a call that was given up
                    break
        if reply.error:
            raise BackendError(reply.error.thing, reply.error.why, reply.error.mend)
        return reply.result, data

    def _send(self, parts: list[bytes]) -> None:
        if not self._socket.poll(min(self.connect_s, self.timeout_s) * 1000, zmq.POLLOUT):
            raise local.absent(
                self.endpoint, self.thing, "start it: `pcg datapath --settings FILE`"
            )
        self._socket.send_multipart(parts, zmq.NOBLOCK, copy=False)

    def _receive(self, op: str, deadline: float) -> tuple[messages.Reply, list[bytes]]:
        while not self._socket.poll(LOOK_MS, zmq.POLLIN):
            if not self._socket.poll(0, zmq.POLLOUT):
                raise BackendError(self.thing, f"it ended during {op}", "look at its log")
            if time.monotonic() > deadline:
                why = f"no answer to {op} within {self.timeout_s:g} s"
                raise BackendError(self.thing, why, "look at its log and the machine's load")
        header, *data = self._socket.recv_multipart()
        try:
            reply = messages.decode_reply(header)
        except msgspec.MsgspecError as error:
            raise BackendError(self.thing, f"it does not speak our language ({error})") from None
        if reply.version != messages.VERSION or reply.shape != self._shape:
            raise BackendError(
                self.thing,
                f"it is of another build (border {reply.shape}, ours {self._shape})",
                "install both from one release, then restart the datapath",
            )
        return reply, data
