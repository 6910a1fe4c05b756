"""The NAT log: each translated session's start and end, as JSON lines and as IPFIX records.

Which sessions, and how many a second, is decided once for both forms. All ends are told from the
workload: it is inside, whoever opened the session.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from pcg.gateway import ipfix
from pcg.gateway.growth import LEFT_OUT_S, LOG_S, Growth
from pcg.gateway.ipfix_export import Exporter
from pcg.gateway.json_log import JsonLog
from pcg.gateway.names import Names, dotted, headed, peer_port, protocol

log = logging.getLogger(__name__)

BEGAN, ENDED = 1, 2  # enum pcgdp_event_kind
BY_RULE = 1  # of enum pcgdp_log
EVENTS = {BEGAN: "start", ENDED: "end"}
REASONS = ("", "idle", "closed", "port gone", "decided again")  # enum pcgdp_end
FLOW_END = (0, ipfix.IDLE, ipfix.END_OF_FLOW, ipfix.FORCED, ipfix.FORCED)


class Rate:
    """At most `per_s` a second, and as many at once after a second of silence."""

    def __init__(self, per_s: int) -> None:
        self.per_s, self._left, self._at = per_s, float(per_s), None
        self.left_out = 0

    def follow(self, now: float) -> None:
        gained = 0.0 if self._at is None else (now - self._at) * self.per_s
        self._left, self._at = min(float(self.per_s), self._left + gained), now

    def take(self) -> bool:
        if self._left < 1:
            self.left_out += 1
            return False
        self._left -= 1
        return True


def translated(e: Any) -> bool:
    return (e.inside_be, e.inside_port) != (e.outside_be, e.outside_port)


class NatLog:
    """What is told, and how. `now` is monotonic seconds; `offset_s` leads from the path's clock to
    the time since 1970."""

    def __init__(self, gateway: str, per_s: int, every: bool, names: Names) -> None:
        """`every`: also sessions of which no rule says `log: true`."""
        self.gateway, self.every, self._names = gateway, every, names
        # each its own: a flood of starts shall not hide how others ended
        self._rates = {BEGAN: Rate(per_s), ENDED: Rate(per_s)}
        self._missing = Growth(LEFT_OUT_S)

    def choose(self, events: Iterable[Any], now: float) -> list[Any]:
        self._names.follow(now)
        for rate in self._rates.values():
            rate.follow(now)
        sessions = (e for e in events if e.kind in EVENTS)
        wanted = (e for e in sessions if (self.every or e.log & BY_RULE) and translated(e))
        return [e for e in wanted if self._rates[e.kind].take()]

    @property
    def left_out(self) -> dict[str, int]:
        return {EVENTS[kind]: rate.left_out for kind, rate in self._rates.items()}

    def line(self, e: Any, offset_s: float) -> dict[str, Any]:
        names, inside = self._names, dotted(e.inside_be)
        line = headed(e.at_ns / 1e9 + offset_s, self.gateway, EVENTS[e.kind]) | {
            "vrf": names.vrf(e),
            "protocol": protocol(e),
            "workload": names.workload(e, inside),
            "inside": inside,
            "inside_port": e.inside_port,
            "outside": dotted(names.public(e)),
            "outside_port": e.outside_port,
            "secondary": dotted(e.outside_be),
            "destination": dotted(e.peer_be),
            "destination_port": peer_port(e),
            "opened_by": "destination" if e.from_uplink else "workload",
            "nat": names.nat(e.nat_id),
            "nat_number": e.nat_id,
            "firewall": names.firewall(e.fw_id),
        }
        if e.kind == BEGAN:
            return line | {"continued": bool(e.continued)}
        return line | {
            "out_packets": e.out_packets,
            "out_bytes": e.out_bytes,
            "in_packets": e.in_packets,
            "in_bytes": e.in_bytes,
            "seconds": e.lasted_s,
            "reason": REASONS[e.end],
        }

    def record(self, e: Any, offset_s: float) -> ipfix.Record:
        names = self._names
        nat_event = ipfix.CREATE if e.kind == BEGAN else ipfix.DELETE
        realm = ipfix.PUBLIC if e.from_uplink else ipfix.PRIVATE
        at_ms = int(e.at_ns / 1e6 + offset_s * 1e3)
        last_ms = max(0, at_ms - e.idle_s * 1000)  # a start has neither been idle nor lasted
        first_ms = max(0, last_ms - e.lasted_s * 1000)
        inside, peer = (e.inside_be, e.inside_port), (e.peer_be, peer_port(e))
        outside = (names.public(e), e.outside_port)
        head = (at_ms, first_ms, last_ms, nat_event, realm, e.protocol)
        values = (*head, *inside, *outside, *peer)
        texts = (names.vrf(e), names.nat(e.nat_id))
        if e.kind == BEGAN:
            return ipfix.record(ipfix.STARTED, values, texts)
        octets, packets = (e.out_bytes, e.in_bytes), (e.out_packets, e.in_packets)
        if e.from_uplink:
            octets, packets = octets[::-1], packets[::-1]
        duration_ms = min(e.lasted_s * 1000, 0xFFFFFFFF)
        end = (FLOW_END[e.end], duration_ms, *octets, *packets, e.out_bytes, e.out_packets)
        return ipfix.record(ipfix.ENDED, (*values, *end), texts)

    def shortfall(self, lost: int, now: float, at_s: float) -> list[dict[str, Any]]:
        """A line when something was left out or lost since the last one. `lost`: events, ever."""
        missing = self._missing.since(now, *self.left_out.values(), lost)
        if not missing:
            return []
        told = dict(zip(("starts", "ends", "events_lost"), missing, strict=True))
        return [headed(at_s, self.gateway, "left out") | told]


class NatLogWriter:
    """Writes it in both forms. A session_log.Log."""

    def __init__(self, nat_log: NatLog, out: JsonLog | None, exporter: Exporter | None) -> None:
        self._nat_log, self._out, self._exporter = nat_log, out, exporter
        self._logged = Growth(LOG_S)

    def wanted(self) -> bool:
        """Always: a session whose rule said `log` may end after the rule."""
        return True

    def take(self, events: Sequence[Any], now: float, offset_s: float) -> None:
        chosen = self._nat_log.choose(events, now)
        if self._out:
            self._out.put(self._nat_log.line(e, offset_s) for e in chosen)
        if self._exporter:
            self._exporter.put(self._nat_log.record(e, offset_s) for e in chosen)

    def settle(self, now: float, at_s: float, lost: int) -> None:
        self._tell(now)
        try:
            if self._exporter:
                self._exporter.flush(now, at_s)
        finally:
            if self._out:
                self._write(now, at_s, lost)

    def _tell(self, now: float) -> None:
        """In the gateway's log, whichever form there is: IPFIX has no word for it."""
        if left_out := self._logged.since(now, *self._nat_log.left_out.values()):
            text = "NAT log: %d starts and %d ends left out, more than its per_second allows"
            log.warning(text, *left_out)

    def _write(self, now: float, at_s: float, lost: int) -> None:
        self._out.put(self._nat_log.shortfall(lost + self._out.dropped, now, at_s))
        self._out.flush()

    def counts(self) -> dict[str, int]:
        found = {f"nat_log_{event}_rate": n for event, n in self._nat_log.left_out.items()}
        if self._out:
            found["nat_log_unwritten"] = self._out.dropped
        if self._exporter:
            found["nat_log_ipfix_unsent"] = self._exporter.unsent
        return found

    def close(self) -> None:
        if self._exporter:
            self._exporter.close()


def made(settings: Any, gateway: str, names: Names) -> NatLogWriter:
    """`settings`: pcg.model.settings.NatLog."""
    nat_log = NatLog(gateway, settings.per_second, settings.sessions == "all", names)
    out = JsonLog(settings.log, settings.log_mib << 20) if settings.log else None
    to = settings.ipfix
    return NatLogWriter(nat_log, out, Exporter(to.address, to.port, to.domain) if to else None)
