"""The story of one packet, from its trace events: what `trace` and `explain` print."""

from collections.abc import Iterable, Iterator
from typing import Any

from pcg.cli.kinds import NOWHERE
from pcg.cli.look import Look

Event = dict[str, Any]
ENDS = {"dropped", "punted", "sent", "held", "answered"}  # verdicts after which nothing follows


class Packets:
    """Sorts events by packet: stages run over bursts, so those of several packets alternate."""

    def __init__(self) -> None:
        self._open: dict[int, list[Event]] = {}

    def feed(self, events: Iterable[Event]) -> Iterator[list[Event]]:
        """Every packet that has left with these events, whole."""
        for event in events:
            self._open.setdefault(event["packet"], []).append(event)
            if event["verdict"] in ENDS:
                yield self._open.pop(event["packet"])

    def rest(self) -> list[list[Event]]:
        """Packets whose end was not noted."""
        return list(self._open.values())


def end(address: str, port: int, protocol: str) -> str:
    return f"{address}:{port}" if protocol in ("tcp", "udp", "sctp") else address


def headline(events: list[Event]) -> str:
    """What the packet was, as far as it was read: the last stage that saw its addresses."""
    first = events[0]
    seen = next((e for e in events if e["src"] != NOWHERE or e["dst"] != NOWHERE), first)
    words = [f"packet {first['packet']}:"]
    if seen["src"] != NOWHERE or seen["dst"] != NOWHERE:
        source = end(seen["src"], seen["sport"], seen["protocol"])
        words += [seen["protocol"], source, "->", end(seen["dst"], seen["dport"], seen["protocol"])]
    words.append(f"{first['length']} bytes")
    if any(e["outer_src"] != NOWHERE for e in events):
        tunnel = next(e for e in reversed(events) if e["outer_src"] != NOWHERE)
        words.append(f"from TEP {tunnel['outer_src']} VNI {tunnel['vni']}")
    return " ".join(words)


def found(look: Look, event: Event) -> str:
    """What one stage found out, in words."""
    words = [event["note"]] if event["note"] else []
    if event["stage"] == "session_lookup":
        if event["session"] is not None:
            words.append(f"number {event['session']}")
        if event["nat_id"]:
            words.append(f"NAT rule {look.nat_rule(event['nat_id'])}")
        if event["fw_id"]:
            words.append(f"firewall rule {look.firewall_rule(event['fw_id'])}")
    return ", ".join(words)


def outcome(look: Look, events: list[Event]) -> str:
    """How it ended: sent where, or dropped why."""
    last = events[-1]
    if last["verdict"] == "dropped":
        return f"dropped: {last['reason']}: {look.client.reasons().get(last['reason'], '')}"
    if last["verdict"] == "sent":
        tunnel = f", {last['note']}" if last["note"] else ""
        return f"sent by the {last['nic_out']} to {last['next']}{tunnel}"
    if last["verdict"] == "punted":
        dhcp = "handed to the gateway's DHCP relay, which answers it or says why not"
        return dhcp if last["stage"] == "parse_inner" else "taken by the gateway itself"
    if last["verdict"] == "held":
        return "held until its other pieces are here, too; then the whole goes on as one packet"
    return {"answered": "answered by the gateway itself"}.get(last["verdict"], last["verdict"])


def lines(look: Look, events: list[Event]) -> Iterator[str]:
    """One packet, stage by stage, and why it left."""
    yield headline(events)
    for event in events:
        yield f"  {event['stage']:<15} {event['verdict']:<9} {found(look, event)}".rstrip()
    yield f"  => {outcome(look, events)}"
