"""One flow as an operator names it, and what the datapath has of it: sessions, drops, frames."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, NamedTuple

from pcg.cli.look import Look
from pcg.cli.rulings import ROUTED
from pcg.cli.sides import WITH_PORTS, Side, aliases, expression


class Door(NamedTuple):
    """Where the uplink's side sends what a NAT rule leads to a workload."""

    address: str
    port: int
    rule: str


def _outside_port(rule: dict[str, Any], port: int) -> int | None:
    """Which one a rule turns into `port`; None: none. 0 is any."""
    match, first = rule["match"], rule["port_first"]
    if not port or not first:
        low, high = match["dport_first"], match["dport_last"]
        return port if not port or low <= port <= high else None
    if not first <= port <= max(first, rule["port_last"]):
        return None
    return match["dport_first"] + port - first


def _leads_to(rule: dict[str, Any], address: str) -> bool:
    first = int(IPv4Address(rule["target"]))
    return first <= int(IPv4Address(address)) < first + rule["n_targets"]


def door(
    look: Look, source: str, workload: str, protocol: str, port: int, vrf: int | None
) -> Door | None:
    """The first that a DNAT rule opens from outside to this port of a workload that has no other
    way in; None: it has one, or none, or comes from a workload itself."""
    found = {(p["vrf"], p["address"]): p for p in look.table("ports")}
    home = found.get((vrf, workload))
    if not home or any(address == source for _, address in found):
        return None
    if len(aliases(look, source)) > 1:  # ours too
        return None
    if any(n["vni"] == home["vni"] and n["flags"] & ROUTED for n in look.table("segments")):
        return None
    publics = {p["secondary"]: p for p in look.table("publics")}
    for rule in look.table("nat"):
        its = rule["match"]["protocol"]
        fits = rule["vrf"] == vrf and its in ("any", protocol or its)
        if rule["action"] != "DNAT" or not fits or not _leads_to(rule, workload):
            continue
        outside, public = _outside_port(rule, port), publics.get(rule["match"]["dst"])
        if outside is not None and public:
            return Door(public["address"], outside, rule["name"])
    return None


@dataclass(frozen=True, kw_only=True)
class Flow:
    """From `source` to `port` of `destination`; "" and 0 are any."""

    source: str
    destination: str
    sources: frozenset[str]  # with its other names
    destinations: frozenset[str]
    protocol: str = ""
    port: int = 0
    vrf: int | None = None
    by: str = ""  # the NAT rule that its destination was found by
    inside_port: int = 0  # and what that makes of the port

    def __str__(self) -> str:
        port = f" port {self.port}" if self.port else ""
        by = f" (by NAT rule {self.by})" if self.by else ""
        return f"{self.protocol or 'anything'} {self.source} -> {self.destination}{port}{by}"

    def _ports(self, *ports: int) -> bool:
        return not self.port or bool({self.port, self.inside_port} & {*ports} - {0})

    def has_session(self, s: dict[str, Any]) -> bool:
        """Whoever opened it, by inside or translated addresses."""
        if self.vrf not in (None, s["vrf"]) or self.protocol not in ("", s["protocol"]):
            return False
        opener = {s["fwd_src"], s["rev_dst"]}
        other = {s["fwd_dst"], s["rev_src"]}
        if opener & self.sources and other & self.destinations:
            return self._ports(s["fwd_dport"], s["rev_sport"])
        if opener & self.destinations and other & self.sources:
            return self._ports(s["fwd_sport"], s["rev_dport"])
        return False

    def has_packet(self, p: dict[str, Any]) -> bool:
        """By its addresses as it came, there or back; `vrf` None: that was not known yet."""
        if self.vrf is not None and p["vrf"] not in (None, self.vrf):
            return False
        if self.protocol not in ("", p["protocol"]):
            return False
        if p["src"] in self.sources and p["dst"] in self.destinations:
            return self._ports(p["dport"])
        if p["src"] in self.destinations and p["dst"] in self.sources:
            return self._ports(p["sport"])
        return False

    def port_of(self, p: dict[str, Any]) -> int:
        """Of its destination, whichever way the packet went; of others, where it was sent to."""
        if p["protocol"] not in WITH_PORTS:
            return 0
        return p["sport"] if p["src"] in self.destinations else p["dport"]

    def is_at(self, port: dict[str, Any]) -> bool:
        """Whether this workload's port is one of its ends."""
        if self.vrf not in (None, port["vrf"]):
            return False
        return port["address"] in self.sources | self.destinations

    def ours(self, look: Look) -> set[str]:
        """Its ends that are workloads or public addresses; all when none is: who else speaks with a
        host out there is not about this flow."""
        known = {p["address"] for p in look.table("ports")}
        known |= {p[end] for p in look.table("publics") for end in ("address", "secondary")}
        ends = self.sources | self.destinations
        return (ends & known) or set(ends)

    def expression(self, sides: Iterable[Side] = ()) -> str:
        """It in tcpdump's syntax, on all its sides."""
        ends = self.sources, self.destinations
        mine = expression(*ends, protocol=self.protocol, ports=[self.port])
        every = dict.fromkeys([mine, *(side.expression() for side in sides)])
        return mine if len(every) == 1 else " or ".join(f"({one})" for one in every)


def watched(look: Look, expression: str, seconds: float) -> dict[str, Any]:
    """What came of it and what became of that, for so long: {came, sent, dropped: {fate: n}}."""
    from pcg.cli import bpf
    from pcg.cli.capture import Capture
    from pcg.cli.sinks import Fates
    from pcg.datapath.pack import CaptureWanted

    wanted = CaptureWanted(inner=1, directions=1, snaplen=14)
    fate, dropped, seen = Fates(look), Counter(), Counter()
    with Capture(look, wanted, bpf.compiled(expression), None, seconds) as running:
        for frames in running.follow():
            for c in frames:
                seen[c.verdict] += 1
                if c.verdict == "dropped":
                    dropped[fate(c)] += 1
    return {"came": seen.total(), "sent": seen["sent"], "dropped": dict(dropped)}
