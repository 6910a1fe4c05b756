"""Frames through the path without a NIC, and its trace: the part of `Datapath` that tests, fuzzing,
bench and `pcgctl explain` come in by.
"""

import errno
from collections.abc import Sequence
from typing import NamedTuple

from pcg.datapath import border, captured, pack, views
from pcg.datapath.errors import ensure, role_number

FRAMES_AT_ONCE = 256  # of one inject call
EVENTS_AT_ONCE = 1024  # of one trace read
CAPTURED_AT_ONCE = 4 << 20  # bytes of one capture read
EXPLAIN_EVENTS = 64  # more stages than any packet meets
EVERY_PACKET = pack.TraceFilter()
EVERY_FRAME = pack.CaptureWanted()


class Sent(NamedTuple):
    """A frame that left: by which role's port, and its bytes."""

    role: str
    frame: bytes


class Pass(NamedTuple):
    """One pass of the bench over all its frames."""

    cycles: float  # TSC, per packet
    ns: float  # per packet
    on_ns: float  # of it on the CPU
    worst: int  # TSC of the slowest burst; 0: not asked for
    worst_on_ns: int  # of the burst that was on the CPU for longest


class Frames:
    """Needs `_dp`, `ffi` and `lib` of the class it is part of."""

    _dp, ffi, lib = None, None, None
    _room = None  # inject's buffers, made once

    def _buffers(self):
        if self._room is None:
            n = 2 * FRAMES_AT_ONCE + 64
            new = self.ffi.new_allocator(should_clear_after_alloc=False)
            longest = border.lib().PCGDP_FRAME_MAX
            sizes = new("uint32_t[]", n), new("uint32_t[]", n)
            self._room = new("uint8_t[]", n * longest), n * longest, *sizes, n
        return self._room

    def inject(self, role: str, frames: Sequence[bytes], now_ns: int = 0) -> list[Sent]:
        """Run frames through the path as if `role`'s port had received them; what it would send,
        and, while no worker runs, what send_raw() left to be sent and what it says by itself.

        now_ns  monotonic; 0: the clock
        """
        sent: list[Sent] = []
        for at in range(0, len(frames) or 1, FRAMES_AT_ONCE):
            sent += self._inject(role_number(role), frames[at : at + FRAMES_AT_ONCE], now_ns)
        return sent

    def _inject(self, role: int, frames: Sequence[bytes], now_ns: int) -> list[Sent]:
        out, out_len, lengths, roles, n_out = self._buffers()
        data = self.ffi.from_buffer("uint8_t[]", b"".join(frames))
        sizes = self.ffi.new("uint32_t[]", [len(frame) for frame in frames])
        got = self.lib.pcgdp_inject(
            self._dp, role, data, sizes, len(frames), now_ns, out, out_len, lengths, roles, n_out
        )
        names, sent, at = border.words("pcgdp_role"), [], 0
        for i in range(ensure(got, "inject")):
            frame = bytes(self.ffi.buffer(out + at, lengths[i]))
            sent.append(Sent(names[roles[i]].lower(), frame))
            at += lengths[i]
        return sent

    def explain_raw(self, role: str, frame: bytes) -> tuple[bytes, bytes]:
        """The packed trace events, and the frame that would leave (empty: none would)."""
        events = self.ffi.new("struct pcgdp_trace_event[]", EXPLAIN_EVENTS)
        out = self.ffi.new("uint8_t[]", border.lib().PCGDP_FRAME_MAX)
        length = self.ffi.new("uint32_t *")
        data = self.ffi.from_buffer("uint8_t[]", frame)
        args = role_number(role), data, len(frame), out, length, events, EXPLAIN_EVENTS
        got = ensure(self.lib.pcgdp_explain(self._dp, *args), "explain")
        met = bytes(self.ffi.buffer(events)[0 : got * pack.size("trace_event")])
        return met, bytes(self.ffi.buffer(out, length[0]))

    def explain(self, role: str, frame: bytes) -> tuple[list[dict], bytes | None]:
        """What would happen to this frame by the live configuration; nothing does."""
        events, out = self.explain_raw(role, frame)
        return views.views("trace_event", events), out or None

    def bench(self, what: dict, flows: bytes) -> list[list[Pass]]:
        """The path by itself, over mem ports: what each worker's passes took.

        what   fields of struct pcgdp_bench; the others are zero
        flows  packed array of struct pcgdp_flow
        """
        n, workers = what["passes"], what["workers"]
        passes = self.ffi.new("struct pcgdp_pass[]", workers * n)
        data = self.ffi.from_buffer("struct pcgdp_flow[]", flows)
        spec = self.ffi.new("struct pcgdp_bench *", what)
        ensure(self.lib.pcgdp_bench(self._dp, spec, data, len(data), passes), "bench")
        seen = [Pass(*(getattr(one, name) for name in Pass._fields)) for one in passes]
        return [seen[i * n : (i + 1) * n] for i in range(workers)]

    def trace_start(self, packets: int, wanted: pack.TraceFilter = EVERY_PACKET) -> None:
        """Note the stages of the next `packets` that match; ends a trace that runs."""
        data = self.ffi.from_buffer(pack.pack("trace_filter", [wanted]))
        filter_ = self.ffi.cast("struct pcgdp_trace_filter *", data)
        ensure(self.lib.pcgdp_trace_start(self._dp, filter_, packets), "trace")

    def trace_raw(self) -> bytes:
        """Packed events noted since the last call, up to EVENTS_AT_ONCE."""
        events = self.ffi.new("struct pcgdp_trace_event[]", EVENTS_AT_ONCE)
        got = self.lib.pcgdp_trace_read(self._dp, events, EVENTS_AT_ONCE)
        if got == -errno.EAGAIN:
            return b""
        n = ensure(got, "trace")
        return bytes(self.ffi.buffer(events)[0 : n * pack.size("trace_event")])

    def trace_read(self) -> list[dict]:
        return views.views("trace_event", self.trace_raw())

    def capture_start_raw(self, wanted: bytes, program: bytes) -> None:
        """`wanted` is one packed record; `program` classic BPF as libpcap compiles it; empty: all.

        Ends a capture that runs.
        """
        first = self.ffi.from_buffer("struct pcgdp_capture_wanted[]", wanted)
        code = self.ffi.from_buffer("struct pcgdp_bpf[]", program)
        got = self.lib.pcgdp_capture_start(self._dp, first, code, len(code))
        ensure(got, "capture")

    def capture_start(self, wanted: pack.CaptureWanted = EVERY_FRAME, program: bytes = b"") -> None:
        self.capture_start_raw(pack.pack("capture_wanted", [wanted]), program)

    def capture_stop(self) -> None:
        ensure(self.lib.pcgdp_capture_start(self._dp, self.ffi.NULL, self.ffi.NULL, 0), "capture")

    def capture_raw(self) -> tuple[bytes, captured.Flow]:
        """Packed frames since the last call; captured.split() reads them."""
        state = self.ffi.new("struct pcgdp_capture_state *")
        out = self.ffi.new_allocator(should_clear_after_alloc=False)("uint8_t[]", CAPTURED_AT_ONCE)
        got = self.lib.pcgdp_capture_read(self._dp, out, CAPTURED_AT_ONCE, state)
        n = ensure(got, "capture")
        flow = captured.Flow(tuple(state.seen), tuple(state.taken), tuple(state.lost))
        return bytes(self.ffi.buffer(out, n)), flow

    def capture_read(self) -> list[captured.Captured]:
        return list(captured.split(self.capture_raw()[0]))
