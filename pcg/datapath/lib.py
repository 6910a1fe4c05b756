"""The C border as Python: `ensure()` turns codes into exceptions, `Datapath` is the handle.

Roles are "uplink" and "downlink", tables the names of records.py. A method named `*_raw` gives the
packed array that the process hands to its client as it is; the one without the suffix reads it.
Threads: as pcgdp.h says; one caller at a time for everything that writes.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any

from pcg.datapath import border, ledger, pack, pages, views
from pcg.datapath.errors import driver_number, ensure, role_number, table_number
from pcg.datapath.frames import Frames
from pcg.model.errors import BackendError
from pcg.reconcile import records

ERROR_LEN = 256
CHUNK = 65_536  # records of a table copied out by one call
EVENTS_AT_ONCE = 16_384
PAGE = 4096  # sessions, counters


def pack_touches(touches: Sequence | None) -> bytes:
    """None or empty: every session may be concerned, as pcgdp.h has it."""
    return pack.pack("touch", touches or ())


class Datapath(Frames):
    """One packet path. Close it, or use it as a context; the arena's file stays."""

    def __init__(
        self,
        sessions: int = 262_144,
        workload_addresses: int = 0,
        workers: int = 1,
        arena: str = "",
        fresh: bool = False,
        mappings: int = 0,
    ) -> None:
        """`arena` "": anonymous memory; `mappings` 0: as many as sessions. Raises BackendError."""
        self.ffi, self.lib, self.arena = border.ffi(), border.lib(), arena
        self._sizes: dict[tuple, int] = {}  # call and arguments -> records, see _array()
        self._error = self.ffi.new("char[]", ERROR_LEN)
        params = self.ffi.new("struct pcgdp_params *")
        params.sessions, params.ports, params.workers = sessions, workload_addresses, workers
        params.arena, params.fresh, params.mappings = os.fsencode(arena), fresh, mappings
        out = self.ffi.new("struct pcgdp **")
        rc = self.lib.pcgdp_open(params, out, self._error, ERROR_LEN)
        ensure(rc, f"arena {arena}" if arena else "datapath", self._error)
        self._dp = out[0]

    def __enter__(self) -> "Datapath":
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def close(self) -> None:
        if self._dp:
            self.lib.pcgdp_close(self._dp)
            self._dp = None

    def nic_add(self, name: str, role: str, driver: str = "mem") -> None:
        numbers = role_number(role), driver_number(driver)
        rc = self.lib.pcgdp_nic_add(self._dp, name.encode(), *numbers, self._error, ERROR_LEN)
        ensure(rc, f"interface {name}", self._error)

    def start(self) -> None:
        ensure(self.lib.pcgdp_start(self._dp), "datapath start")

    def stop(self) -> None:
        ensure(self.lib.pcgdp_stop(self._dp), "datapath stop")

    # ---- tables ----

    def put_raw(self, table: str, data: bytes) -> None:
        args = table_number(table), self.ffi.from_buffer(data), len(data) // pack.size(table)
        rc = self.lib.pcgdp_put(self._dp, *args, self._error, ERROR_LEN)
        ensure(rc, f"table {table}", self._error)

    def put(self, table: str, rows: Iterable) -> None:
        """Write records of a single table: all of them or, with BackendError, none."""
        self.put_raw(table, pack.pack(table, rows))

    def delete_raw(self, table: str, data: bytes) -> None:
        args = table_number(table), self.ffi.from_buffer(data), len(data) // pack.size(table)
        ensure(self.lib.pcgdp_del(self._dp, *args), f"table {table}")

    def delete(self, table: str, rows: Iterable) -> None:
        """Remove records of a single table by their key fields; an absent one is no error."""
        self.delete_raw(table, pack.pack(table, rows))

    def commit_raw(self, policy: dict[str, bytes], revision: int, touches: bytes) -> None:
        error = (self._error, ERROR_LEN)
        ensure(self.lib.pcgdp_policy_begin(self._dp), "policy")
        try:
            for table in sorted(policy, key=table_number):
                n = len(policy[table]) // pack.size(table)
                args = table_number(table), self.ffi.from_buffer(policy[table]), n
                rc = self.lib.pcgdp_policy_put(self._dp, *args, *error)
                ensure(rc, f"policy table {table}", self._error)
            data = self.ffi.from_buffer("struct pcgdp_touch[]", touches)
            n = len(touches) // pack.size("touch")
            rc = self.lib.pcgdp_policy_commit(self._dp, revision, data, n, *error)
            ensure(rc, f"policy revision {revision}", self._error)
        except BackendError:
            self.lib.pcgdp_policy_abort(self._dp)
            raise

    def commit(
        self, policy: dict[str, list], revision: int = 0, touches: Sequence | None = None
    ) -> None:
        """Publish all policy tables at once; one not given becomes empty.

        touches  what changed for sessions that exist; None or empty: anything may have
        """
        raw = {table: pack.pack(table, policy.get(table, ())) for table in records.POLICY}
        self.commit_raw(raw, revision, pack_touches(touches))

    def read_raw(self, table: str) -> bytes:
        number, size = table_number(table), pack.size(table)
        chunk, whole, at = bytearray(CHUNK * size), bytearray(), 0
        into = self.ffi.from_buffer(chunk)
        while True:
            n = self.lib.pcgdp_read(self._dp, number, at, into, CHUNK)
            if not ensure(n, f"table {table}"):
                return bytes(whole)
            whole += chunk[: n * size]
            at += n

    def read(self, table: str) -> list:
        return pack.unpack(table, self.read_raw(table))

    # ---- counters and sessions ----

    def _array(self, call, kind: str, first: int, *args) -> Any:
        """A C array filled by `call`, asked again with more room while it comes back full.
        What was enough is where the next one begins: to count anew can cost milliseconds.
        """
        of = (call, *args)
        room = self._sizes.get(of, first)
        while True:
            array = self.ffi.new(f"struct pcgdp_{kind}[]", room)
            n = ensure(call(self._dp, *args, array, room), kind)
            if n < room:
                self._sizes[of] = room
                return bytes(self.ffi.buffer(array)[0 : n * pack.size(kind)])
            room *= 2

    def _counts(self, call, names: list[str]) -> dict[str, int]:
        array = self.ffi.new("uint64_t[]", len(names))
        ensure(call(self._dp, array, len(names)), "counters")
        return dict(zip(names, array, strict=True))

    def totals(self) -> dict[str, int]:
        out = self.ffi.new("struct pcgdp_totals *")
        ensure(self.lib.pcgdp_totals(self._dp, out), "totals")
        return {name: getattr(out, name) for name, _ in self.ffi.typeof(out[0]).fields}

    def drops(self) -> dict[str, int]:
        """Reason -> packets, of those that have any."""
        counted = self._counts(self.lib.pcgdp_drops, border.reason_names())
        return {reason: n for reason, n in counted.items() if n}

    def ledger_raw(self) -> bytes:
        return self._array(self.lib.pcgdp_ledger, "drop", PAGE)

    def ledger(self) -> list[dict]:
        """Drops by reason, port, segment and rule, with times and an example; of all workers."""
        return ledger.merged(views.views("drop", self.ledger_raw()))

    def recent_raw(self) -> bytes:
        return self._array(self.lib.pcgdp_read, "recent", PAGE, table_number("recent"), 0)

    def recent(self) -> list[dict]:
        """Flows of which packets were dropped lately, by reason and rule; of all workers."""
        return ledger.recent(views.views("recent", self.recent_raw()))

    def stages(self) -> dict[str, int]:
        """Stage -> packets that entered it, in the path's order."""
        return self._counts(self.lib.pcgdp_stages, border.stage_names())

    def performance_raw(self) -> bytes:
        return self._array(self.lib.pcgdp_performance, "performance", 32)

    def performance(self) -> list[dict]:
        """Where the time of each worker goes, since it was made; the last is inject's."""
        return views.views("performance", self.performance_raw())

    def arena_pages(self) -> dict | None:
        """On which pages the arena lies, as pages.read() has it; None: it is anonymous."""
        return pages.of_this_process(self.arena)

    def nics(self) -> list[dict]:
        return views.views("nic_info", self._array(self.lib.pcgdp_nics, "nic_info", 16))

    def counters(self, table: str) -> list[dict]:
        """Of "segments" (id: VNI), "nat", "firewall" (rule id), "publics" (index), or "vrfs" (id:
        domain, 2 * index outwards and 1 more inwards)."""
        data = self._array(self.lib.pcgdp_counters, "counter", PAGE, table_number(table))
        return views.views("counter", data)

    def sessions_raw(self, cursor: int, n: int = PAGE) -> tuple[bytes, int]:
        """The next up to n sessions and where to go on; an empty array: that was all."""
        at = self.ffi.new("uint32_t *", cursor)
        array = self.ffi.new("struct pcgdp_session[]", n)
        got = ensure(self.lib.pcgdp_sessions(self._dp, at, array, n), "sessions")
        return bytes(self.ffi.buffer(array)[0 : got * pack.size("session")]), at[0]

    def sessions(self) -> list[dict]:
        seen, cursor = [], 0
        while True:
            data, cursor = self.sessions_raw(cursor)
            if not data:
                return seen
            seen += views.views("session", data)

    def events_raw(self, keep: int, n: int = EVENTS_AT_ONCE) -> tuple[bytes, int]:
        """Packed session events since the last call, up to n, and how many were lost; keep: see
        pcgdp_events()."""
        array, lost = self.ffi.new("struct pcgdp_event[]", n), self.ffi.new("uint64_t *")
        got = ensure(self.lib.pcgdp_events(self._dp, keep, array, n, lost), "session events")
        return bytes(self.ffi.buffer(array)[0 : got * pack.size("event")]), lost[0]

    def events(self, keep: int) -> list[dict]:
        return views.views("event", self.events_raw(keep)[0])

    # ---- DHCP, to the gateway's relay and back ----

    def punts_raw(self, room: bytearray, gone: bool) -> int:
        """Fill `room` with parcels, those of the last call again unless they are `gone`; bytes."""
        into = self.ffi.from_buffer(room)
        return ensure(self.lib.pcgdp_punts(self._dp, into, len(room), gone), "punts")

    def punts_close(self, gone: bool = False) -> None:
        """Nobody reads: what waits is dropped, and what comes until the next punts_raw()."""
        ensure(self.lib.pcgdp_punts(self._dp, self.ffi.NULL, 0, gone), "punts")

    def punt_fd(self) -> int:
        """Readable when a parcel has come since punts_raw()."""
        return self.lib.pcgdp_punt_fd(self._dp)

    def send_raw(self, parcels: bytes) -> int:
        """Parcels to workloads; the bytes taken: whole ones, all unless those before wait."""
        data = self.ffi.from_buffer(parcels)
        return ensure(self.lib.pcgdp_send(self._dp, data, len(parcels)), "send")

    def sweep(self, now_ns: int) -> None:
        """One ageing round, as housekeeping does by itself once started."""
        ensure(self.lib.pcgdp_sweep(self._dp, now_ns), "sweep")
