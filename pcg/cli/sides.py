"""A flow as it is behind its translation: by its sessions, or by what the rules would make of it.

Who asks about a flow names what its workload or its peer sees; what comes back by the uplink, or
from behind a DNAT rule, carries other addresses.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pcg.cli.kinds import NOWHERE, PROTOCOLS
from pcg.cli.look import Look
from pcg.cli.rulings import inward, vrf_of
from pcg.cli.story import Event

Row = dict[str, Any]
WITH_PORTS = ("tcp", "udp")


def aliases(look: Look, address: str) -> frozenset[str]:
    """An address and, of a public one, its other name: Elastic IP and secondary address."""
    pairs = ({p["address"], p["secondary"]} for p in look.table("publics"))
    return frozenset({address}.union(*(pair for pair in pairs if address in pair)))


def expression(*ends: Iterable[str], protocol: str = "", ports: Iterable[int] = ()) -> str:
    """In tcpdump's syntax: between these, either way.

    >>> expression(["10.0.0.2", "10.0.0.1"], ["10.0.0.9"], protocol="tcp", ports=[80, 0])
    '(host 10.0.0.1 or host 10.0.0.2) and (host 10.0.0.9) and tcp port 80'
    """
    words = [f"({' or '.join(f'host {a}' for a in sorted(end))})" for end in ends]
    named = [f"{protocol} port {port}" for port in ports if port]
    if protocol and not named:
        named = [f"ip proto {PROTOCOLS.get(protocol, protocol)}"]
    return " and ".join(words + named)


@dataclass(frozen=True, kw_only=True)
class Side:
    """From `sport` of `sources` to `dport` of `destinations`; 0, "" and None are any."""

    sources: frozenset[str]
    destinations: frozenset[str]
    vrf: int | None = None
    protocol: str = ""
    sport: int = 0
    dport: int = 0
    shared: bool = False  # others' flows look like this, too: which port is its is not known

    def has(self, p: Row) -> bool:
        """A packet as it came, there or back; `vrf` None: that was not known yet."""
        if self.protocol not in ("", p["protocol"]):
            return False
        if self.vrf is not None and p["vrf"] not in (None, self.vrf):
            return False
        if p["src"] in self.sources and p["dst"] in self.destinations:
            ports = p["sport"], p["dport"]
        elif p["src"] in self.destinations and p["dst"] in self.sources:
            ports = p["dport"], p["sport"]
        else:
            return False
        return self.sport in (0, ports[0]) and self.dport in (0, ports[1])

    def expression(self) -> str:
        ports = (self.sport, self.dport) if self.protocol in WITH_PORTS else ()
        ends = self.sources, self.destinations
        return expression(*ends, protocol=self.protocol, ports=dict.fromkeys(ports))


def of_session(look: Look, s: Row) -> Side | None:
    """What its answers turn round; None: it is not translated, and looks the same there."""
    if s["kind"] == "none":
        return None
    side = Side(
        sources=aliases(look, s["rev_dst"]),
        destinations=aliases(look, s["rev_src"]),
        protocol=s["protocol"],
        sport=s["rev_dport"],
        dport=s["rev_sport"],
    )
    # A public address is of one VRF; where it leads to another's, packets are that one's.
    return replace(side, vrf=s["vrf"]) if s["fwd_from_uplink"] else side


def beyond(look: Look, sessions: list[Row]) -> list[Row]:
    """Those by which these go on: turned round inside, towards an Elastic IP of ours."""
    publics = {p["address"] for p in look.table("publics")}
    sides = [side for s in sessions if (side := of_session(look, s))]
    sides = [side for side in sides if side.destinations & publics]
    if not sides:
        return []
    ends = [frozenset().union(*(getattr(s, e) for s in sides)) for e in ("sources", "destinations")]
    names = {name: f"fwd_{name}" for name in ("src", "dst", "sport", "dport")} | {
        name: name for name in ("protocol", "vrf")
    }
    return [
        s
        for s in look.client.sessions_between(*ends)
        if s["fwd_from_uplink"]
        and any(side.has({name: s[field] for name, field in names.items()}) for side in sides)
    ]


def of_events(look: Look, events: list[Event], protocol: str, port: int) -> list[Side]:
    """Of a packet as explained. protocol, port: "" and 0 where none was asked about."""
    sides, shared = [], not protocol
    for e in events:
        if e["stage"] != "session_lookup" or e["new"] == NOWHERE:
            continue
        rule = look.record("nat", e["nat_id"])
        shared |= bool(rule and rule["action"] == "SNAT")
        ported = protocol in WITH_PORTS and bool(port)
        new = aliases(look, e["new"])
        ends = (aliases(look, e["src"]), new) if inward(e) else (new, aliases(look, e["dst"]))
        sides.append(
            Side(
                sources=ends[0],
                destinations=ends[1],
                vrf=vrf_of(look, e) if inward(e) else None,
                protocol=protocol,
                dport=(e["new_port"] if inward(e) else e["dport"]) if ported else 0,
                shared=shared,
            )
        )
    return sides
