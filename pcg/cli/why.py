"""`pcgctl why`: one flow. Its session, what was dropped of it, what the rules say, what to do."""

import json
import shlex
from dataclasses import replace
from typing import Any

import click

from pcg.cli import names, recent, sides, story
from pcg.cli.flow import Flow, door, watched
from pcg.cli.kinds import NOWHERE, PROTOCOLS, Seconds
from pcg.cli.look import Look
from pcg.cli.rulings import ROUTED, rulings
from pcg.cli.sides import WITH_PORTS, Side, aliases
from pcg.cli.tables import folded
from pcg.model.errors import BackendError

FLOOD_S = 600  # as old may a flood be that is told of
STILL_S = 60  # a drop as old as this may still go on
EXACT = 16  # sessions whose packets are told from others' by each of their ports
SHOWN = 5  # sessions, drops: what is more is counted
LABEL = 12  # columns before the text of a line
ASKED_INSTEAD = "icmp"  # where no protocol is named: a ping


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
    words.append(f"{recent.packets(s['fwd_packets'])} there and {s['rev_packets']} back")
    words.append(f"idle for {recent.span(s['idle_s'])} of {recent.span(s['timeout_s'])}")
    if s["marked"]:
        words.append("will be decided again at its next packet")
    return ", ".join(words)


def _kind(d: dict[str, Any]) -> tuple:
    return tuple(d[key] for key in ("reason", "fw_id", "nat_id", "role"))


class Answer:
    """All that is known of a flow."""

    def __init__(self, look: Look, flow: Flow, watch_s: float) -> None:
        self.look, self.flow = look, flow
        self.sessions = look.client.sessions_between(flow.sources, flow.destinations)
        self.sessions = [s for s in self.sessions if flow.has_session(s)]
        self.sessions += [s for s in sides.beyond(look, self.sessions) if s not in self.sessions]
        self.names = names.if_known(look)
        self._ask()
        self.sides = sides.of_events(look, self.events, flow.protocol, flow.port)
        self._find_drops()
        self.watched = watched(look, self._now(), watch_s) if watch_s else None

    def _ask(self) -> None:
        """What would become of a packet of it now, and by which rules."""
        from pcg.cli import packets

        look, flow = self.look, self.flow
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
    def _exact(self) -> list[Side]:
        """Where all that fits is its."""
        behind = [side for s in self.sessions if (side := sides.of_session(self.look, s))]
        return behind + [side for side in self.sides if not side.shared]

    @property
    def _later(self) -> list[Side]:
        """By whatever ports its sessions are to have."""
        ports = bool(self.flow.port)
        open_ = [replace(one, sport=0, dport=one.dport * ports) for one in self._exact]
        return list(dict.fromkeys(open_ + [replace(one, shared=False) for one in self.sides]))

    def _now(self) -> str:
        exact = self._exact
        return self.flow.expression(exact if len(exact) <= EXACT else self._later)

    def _find_drops(self) -> None:
        """Of it, and `near` it: of its ends with others, and of its host what could not be read."""
        look, flow = self.look, self.flow
        hosts = {p["tep"] for p in look.table("ports") if flow.is_at(p)}
        dropped = look.client.recent()
        ours, exact, later = flow.ours(look), self._exact, self._later
        its, like, near = [], [], []
        for d in dropped:
            unread = d["src"] == NOWHERE and d["outer_src"] in hosts
            if flow.has_packet(d) or any(side.has(d) for side in exact):
                its.append(d)
            elif any(side.has(d) for side in later):
                like.append(d)
            elif unread or ours & {d["src"], d["dst"]}:
                near.append(d)

        def row(d: dict[str, Any]) -> dict[str, Any]:
            return recent.row(look, self.names, d)

        def same(d: dict[str, Any]) -> tuple:
            return (*_kind(d), d["src"], d["dst"], d["protocol"], flow.port_of(d))

        self.drops = sorted(map(row, recent.summed(its, same)), key=lambda r: r["ago_s"])
        # Between both its ends as they are translated: most likely its own, so they come first.
        self.near = [row(d) for some in (like, near) for d in recent.summed(some, _kind)]
        self.unlisted = recent.unlisted(look.client.ledger(), FLOOD_S)

    @property
    def refused(self) -> str:
        """Why the rules would drop it now; "" when they would not."""
        return self.events[-1]["reason"] if self.events else ""

    @property
    def capture(self) -> str:
        """The command that shows each of its drops from now on."""
        return f"pcgctl capture --drops --inner {shlex.quote(self.flow.expression(self._later))}"

    def advice(self) -> str:
        """One thing to do next."""
        texts = self.look.client.advice()
        if self.refused == "NOT_OWNED" and any(map(self.flow.is_at, self.look.table("ports"))):
            what = "no NAT rule leads from outside to this workload, protocol and port"
            return f"{what}: add a DNAT rule, or mark its segment routed"
        if self.refused:
            return texts[self.refused]
        if self.events and self.events[-1]["verdict"] == "punted":
            return "look at `pcgctl show leases`, and at what the relay refused in `pcgctl drops`"
        latest = self.drops[0] if self.drops else None
        if latest and not self.sessions:
            now = "the rules would let it pass now; if it is still dropped"
            return f"{now}: {texts[latest['reason']]}"
        if latest and latest["ago_s"] < STILL_S:
            return f"some of it passes, some is dropped: {texts[latest['reason']]}"
        if not self.sessions:
            what = "nothing of it is here and nothing stops it: look at the sender"
            return f"{what}, at its routes, its own firewall and its tunnel to this gateway"
        back = sum(s["rev_packets"] for s in self.sessions)
        if not back and self._as_it_is():
            what = "it leaves as it is, and answers to its own address are taken only for a segment"
            return f"{what} that is `routed`: mark it so, or translate it (SNAT)"
        if not back:
            what = "it leaves and nothing comes back: look behind the gateway"
            return f"{what}, at the other end, its firewall, security groups and its way back"
        return "packets go both ways here: look at the two ends"

    def _as_it_is(self) -> bool:
        """A NO_SNAT rule lets it out of a segment that is not routed."""
        look, flow = self.look, self.flow
        numbers = {e["nat_id"] for e in self.events}
        if not any(r["action"] == "NO_SNAT" and r["id"] in numbers for r in look.table("nat")):
            return False
        routed = {s["vni"] for s in look.table("segments") if s["flags"] & ROUTED}
        own = [p for p in look.table("ports") if p["address"] == flow.source and flow.is_at(p)]
        return any(p["vni"] not in routed for p in own)

    def data(self) -> dict[str, Any]:
        """For programs."""
        last = self.events[-1] if self.events else {}
        return {
            "flow": str(self.flow),
            "sessions": self.sessions,
            "drops": self.drops,
            "near": self.near,
            "unlisted": self.unlisted,
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
        drops = [recent.text(d) for d in self.drops]
        none = "none of it lately"
        lines = [str(self.flow)]
        lines += self._some("session", sessions, "none")
        lines += self._some("dropped", drops, none)
        if not drops and not sessions and self.near:
            lines += self._some("of its ends", [recent.text(d) for d in self.near], "")
        if not drops and self.unlisted:
            lines.append(f"{'':<11} {recent.unlisted_text(self.unlisted)}")
        lines += self._watched()
        asked = "" if self.flow.protocol else " (a ping was asked about: name protocol and port)"
        if self.events:
            lines.append(f"{'now':<11} would be {story.outcome(look, self.events)}{asked}")
        lines += [f"{'':<11} {what}: {text}" for what, text in self.rules]
        lines.append(f"{'do':<11} {self.advice()}")
        if not drops:
            lines.append(f"{'':<11} each drop of it from now on: {self.capture}")
        return lines


def _vrf(look: Look, name: str, ends: tuple[names.Place, names.Place]) -> int | None:
    """As named, or of the one workload that is an end of it; None: of several, or of none."""
    if name := name or ends[0].vrf or ends[1].vrf:
        return look.vrf_index(name)
    for end in ends:
        found = {p["vrf"] for p in look.table("ports") if p["address"] == end.address}
        if len(found) == 1:
            return found.pop()
    return None


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
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

    Workloads by their own addresses or names, public addresses by either of their two or by name.
    """
    if protocol in WITH_PORTS and not port:
        raise click.UsageError(f"{protocol} needs a port: pcgctl why SRC DST {protocol} PORT")
    if port and protocol not in WITH_PORTS:
        raise click.UsageError(f"{protocol} has no ports")
    ends = names.place(look, source, vrf), names.place(look, destination, vrf)
    if ends[0].address == NOWHERE:
        raise click.UsageError("who has no address yet asks DHCP: pcgctl explain --dhcp MAC")
    if ends[0].vrf and ends[1].vrf and ends[0].vrf != ends[1].vrf and not ends[1].public:
        why_not = f"is in VRF {ends[1].vrf}, not in {ends[0].vrf} as {source} is"
        raise BackendError(destination, why_not, "VRFs meet by public addresses: name one")
    inside = _vrf(look, vrf, ends)
    entrance = door(look, ends[0].address, ends[1].address, protocol or "", port or 0, inside)
    destination, outside = entrance[:2] if entrance else (ends[1].address, port or 0)
    flow = Flow(
        source=ends[0].address,
        destination=destination,
        sources=aliases(look, ends[0].address),
        destinations=aliases(look, destination) | {ends[1].address},
        protocol=protocol or "",
        port=outside,
        inside_port=port or 0,
        vrf=inside,
        by=f"{entrance.rule}, which leads to {ends[1].address}" if entrance else "",
    )
    answer = Answer(look, flow, watch)
    if as_json:
        click.echo(json.dumps(answer.data()))
        return
    for line in answer.lines():  # a command stays one line, to be copied
        click.echo(line if answer.capture in line else folded(line, LABEL))
