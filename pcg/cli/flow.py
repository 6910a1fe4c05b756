"""One flow as an operator names it, and what the datapath has of it: sessions, drops, frames."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from pcg.cli.kinds import PROTOCOLS
from pcg.cli.look import Look

WITH_PORTS = ("tcp", "udp")


def aliases(look: Look, address: str) -> frozenset[str]:
    """An address and, of a public one, its other name: Elastic IP and secondary address."""
    pairs = ({p["address"], p["secondary"]} for p in look.table("publics"))
    return frozenset({address}.union(*(pair for pair in pairs if address in pair)))


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

    def __str__(self) -> str:
        port = f" port {self.port}" if self.port else ""
        return f"{self.protocol or 'anything'} {self.source} -> {self.destination}{port}"

    def _ports(self, *ports: int) -> bool:
        return not self.port or self.port in ports

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

    def touches(self, p: dict[str, Any]) -> bool:
        """A packet of one of its ends, whatever its other end."""
        return bool({p["src"], p["dst"]} & (self.sources | self.destinations))

    def expression(self) -> str:
        """It in tcpdump's syntax."""
        ends = (self.sources, self.destinations)
        hosts = [f"({' or '.join(f'host {a}' for a in sorted(end))})" for end in ends]
        if self.port:
            hosts.append(f"{self.protocol} port {self.port}")
        elif self.protocol:
            hosts.append(f"ip proto {PROTOCOLS[self.protocol]}")
        return " and ".join(hosts)


def watched(look: Look, flow: Flow, seconds: float) -> dict[str, Any]:
    """What came of it and what became of that, for so long: {came, sent, dropped: {fate: n}}."""
    from pcg.cli import bpf
    from pcg.cli.capture import Capture
    from pcg.cli.sinks import Fates
    from pcg.datapath.pack import CaptureWanted

    wanted = CaptureWanted(inner=1, directions=1, snaplen=14)
    fate, dropped, seen = Fates(look), Counter(), Counter()
    with Capture(look, wanted, bpf.compiled(flow.expression()), None, seconds) as running:
        for frames in running.follow():
            for c in frames:
                seen[c.verdict] += 1
                if c.verdict == "dropped":
                    dropped[fate(c)] += 1
    return {"came": seen.total(), "sent": seen["sent"], "dropped": dict(dropped)}
