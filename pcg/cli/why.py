"""`pcgctl why`: one flow. Its session, what was dropped of it, what the rules say, what to do."""

import json
import shlex
import time
from typing import Any

import click

from pcg.cli import story
from pcg.cli.flow import WITH_PORTS, Flow, aliases, watched
from pcg.cli.kinds import PROTOCOLS, Address, Seconds
from pcg.cli.look import Look
from pcg.cli.rulings import rulings

SHOWN = 5  # sessions, drops: what is more is counted
ASKED_INSTEAD = "icmp"  # where no protocol is named: a ping


def span(seconds: float) -> str:
    """
    >>> span(0.4), span(42), span(3600), span(200_000)
    ('0 s', '42 s', '60 min', '2 d')
    """
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _since(at_ns: int) -> str:
    return span(max(0, time.monotonic_ns() - at_ns) / 1e9) + " ago"


def session_text(look: Look, s: dict[str, Any]) -> str:
    first = story.end(s["fwd_src"], s["fwd_sport"], s["protocol"])
    to = story.end(s["fwd_dst"], s["fwd_dport"], s["protocol"])
    state = "" if s["state"] == "none" else f", {s['state']}"
    words = [f"number {s['index']}{state}: {s['protocol']} {first} -> {to}"]
    if s["kind"] != "none":
        out = story.end(s["rev_dst"], s["rev_dport"], s["protocol"])
        onto = story.end(s["rev_src"], s["rev_sport"], s["protocol"])
        words.append(f"goes on as {out} -> {onto} by NAT rule {look.nat_rule(s['nat_id'])}")
    if s["fw_id"]:
        words.append(f"firewall rule {look.firewall_rule(s['fw_id'])}")
    words.append(f"{s['fwd_packets']} packets there and {s['rev_packets']} back")
    words.append(f"idle for {span(s['idle_s'])} of {span(s['timeout_s'])}")
    if s["marked"]:
        words.append("will be decided again at its next packet")
    return ", ".join(words)


def drop_text(look: Look, d: dict[str, Any]) -> str:
    rules = [f"NAT rule {look.nat_rule(d['nat_id'])}"] if d["nat_id"] else []
    rules += [f"firewall rule {look.firewall_rule(d['fw_id'])}"] if d["fw_id"] else []
    ends = [story.end(d[a], d[p], d["protocol"]) for a, p in (("src", "sport"), ("dst", "dport"))]
    words = [f"{d['reason']}: {look.client.reasons().get(d['reason'], '')}", *rules]
    words.append(
        f"{d['protocol']} {ends[0]} -> {ends[1]} came by the {d['role']} {_since(d['at_ns'])}"
    )
    return ", ".join(words) + f"; {d['packets']} of its kind, the last {_since(d['last_ns'])}"


class Answer:
    """All that is known of a flow."""

    def __init__(self, look: Look, flow: Flow, watch_s: float) -> None:
        from pcg.cli import packets

        self.look, self.flow = look, flow
        self.sessions = look.client.sessions_between(flow.sources, flow.destinations)
        self.sessions = [s for s in self.sessions if flow.has_session(s)]
        ledger = [d for d in look.client.ledger() if flow.touches(d)]
        self.drops = [d for d in ledger if flow.has_packet(d)]
        self.near = [d for d in ledger if not flow.has_packet(d)]
        self.watched = watched(look, flow, watch_s) if watch_s else None
        self.role, self.frame = packets.build(
            look,
            packets.Wanted(
                source=flow.source,
                destination=flow.destination,
                protocol=flow.protocol or ASKED_INSTEAD,
                dport=flow.port,
                vrf="" if flow.vrf is None else str(flow.vrf),
            ),
        )
        self.events, self.out = look.client.explain(self.role, self.frame)
        self.rules = rulings(look, self.events)

    @property
    def refused(self) -> str:
        """Why the rules would drop it now; "" when they would not."""
        return self.events[-1]["reason"] if self.events else ""

    @property
    def capture(self) -> str:
        """The command that shows each of its drops: the ledger keeps an example of each kind."""
        return f"pcgctl capture --drops --inner {shlex.quote(self.flow.expression())}"

    def advice(self) -> str:
        """One thing to do next."""
        texts = self.look.client.advice()
        if self.refused:
            return texts[self.refused]
        if self.events and self.events[-1]["verdict"] == "punted":
            return "look at `pcgctl show leases`, and at what the relay refused in `pcgctl drops`"
        recent = max(self.drops, key=lambda d: d["last_ns"], default=None)
        if recent and not self.sessions:
            now = "the rules would let it pass now; if it is still dropped"
            return f"{now}: {texts[recent['reason']]}"
        if not self.sessions:
            what = "nothing of it is here and nothing stops it: look at the sender"
            return f"{what}, at its routes, its own firewall and its tunnel to this gateway"
        back = sum(s["rev_packets"] for s in self.sessions)
        if not back:
            what = "it leaves and nothing comes back: look behind the gateway"
            return f"{what}, at the other end, its firewall, security groups and its way back"
        return "packets go both ways here: look at the two ends"

    def data(self) -> dict[str, Any]:
        """For programs."""
        last = self.events[-1] if self.events else {}
        return {
            "flow": str(self.flow),
            "sessions": self.sessions,
            "drops": self.drops,
            "watched": self.watched,
            "verdict": last.get("verdict", ""),
            "reason": self.refused,
            "rules": self.rules,
            "advice": self.advice(),
            "capture": self.capture,
        }

    def _some(self, what: str, texts: list[str], none: str) -> list[str]:
        lines = [f"{what:<11} {text}" for text in texts[:SHOWN]] or [f"{what:<11} {none}"]
        if len(texts) > SHOWN:
            lines.append(f"{'':<11} and {len(texts) - SHOWN} more")
        return lines

    def _watched(self) -> list[str]:
        if self.watched is None:
            return []
        seen = self.watched
        lines = [f"{'watched':<11} {seen['came']} packets of it came, {seen['sent']} were sent on"]
        return lines + [f"{'':<11} {n} {fate}" for fate, n in seen["dropped"].items()]

    def lines(self) -> list[str]:
        look = self.look
        sessions = [session_text(look, s) for s in self.sessions]
        drops = [drop_text(look, d) for d in self.drops]
        none = "none of it among the examples that are kept: one of each line of `pcgctl drops`"
        lines = [str(self.flow)]
        lines += self._some("session", sessions, "none")
        lines += self._some("dropped", drops, none)
        if not drops and self.near:
            lines += self._some("of its ends", [drop_text(look, d) for d in self.near], "")
        lines += self._watched()
        asked = "" if self.flow.protocol else " (a ping was asked about: name protocol and port)"
        if self.events:
            lines.append(f"{'now':<11} would be {story.outcome(look, self.events)}{asked}")
        lines += [f"{'':<11} {what}: {text}" for what, text in self.rules]
        lines.append(f"{'do':<11} {self.advice()}")
        if not drops:
            lines.append(f"{'':<11} each drop of it from now on: {self.capture}")
        return lines


def _vrf(look: Look, name: str, source: str, destination: str) -> int | None:
    """As named, or of the one workload that is an end of it; None: of several, or of none."""
    if name:
        return look.vrf_index(name)
    for end in (source, destination):
        found = {p["vrf"] for p in look.table("ports") if p["address"] == end}
        if len(found) == 1:
            return found.pop()
    return None


@click.command()
@click.argument("source", type=Address(), metavar="SRC")
@click.argument("destination", type=Address(), metavar="DST")
@click.argument("protocol", type=click.Choice([p for p in PROTOCOLS if p != "any"]), required=False)
@click.argument("port", type=click.IntRange(1, 65535), required=False)
@click.option("--vrf", default="", help="Of the workload, where several VRFs have its address.")
@click.option("--watch", type=Seconds(), default=0.0, help="Also look at its packets for so long.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def why(
    look: Look,
    source: str,
    destination: str,
    protocol: str | None,
    port: int | None,
    vrf: str,
    watch: float,
    as_json: bool,
) -> None:
    """Why does a packet from SRC to DST not arrive? PORT is that of DST.

    Workloads by their own addresses, public addresses by either of their two.
    """
    if protocol in WITH_PORTS and not port:
        raise click.UsageError(f"{protocol} needs a port: pcgctl why SRC DST {protocol} PORT")
    if port and protocol not in WITH_PORTS:
        raise click.UsageError(f"{protocol} has no ports")
    flow = Flow(
        source=source,
        destination=destination,
        sources=aliases(look, source),
        destinations=aliases(look, destination),
        protocol=protocol or "",
        port=port or 0,
        vrf=_vrf(look, vrf, source, destination),
    )
    answer = Answer(look, flow, watch)
    click.echo(json.dumps(answer.data()) if as_json else "\n".join(answer.lines()))
