"""Which rules decided about an explained packet: NAT, firewall, route, next hop and its MTU.

The path says what it decided (its events); the tables say how that is called.
"""

import ipaddress
from typing import Any

from pcg.cli.look import Look
from pcg.cli.story import NOWHERE, Event

Lines = list[tuple[str, str]]
DECIDED = "session_lookup"
ROUTED = 1  # of a segment's flags, enum pcgdp_segment_flags
UNROUTED = ("NO_ROUTE", "BLACKHOLE", "PORT_UNKNOWN")  # where nothing is asked behind the route
FILTERED = ("FIREWALL_DENIED", "NAT_FILTERED")  # once the firewall has been asked
UNMAPPED = ("NO_DNAT", "NAT_FILTERED", "TCP_NO_SESSION")  # to a public address: nobody's yet


def inward(event: Event) -> bool:
    """By the uplink, or turned round into it."""
    return event["outer_src"] == NOWHERE


def _has(prefix: str, length: int, address: str) -> bool:
    return ipaddress.IPv4Address(address) in ipaddress.ip_network(f"{prefix}/{length}")


def vrf_of(look: Look, event: Event) -> int | None:
    """Of the segment it came by; else of the public address or routed segment that it is to."""
    networks = look.table("segments")
    if not inward(event):
        return next((n["vrf"] for n in networks if n["vni"] == event["vni"]), None)
    for public in look.table("publics"):
        if event["dst"] == public["secondary"]:
            return public["vrf"]
    routed = [n for n in networks if n["kind"] == "segment" and n["flags"] & ROUTED]
    fits = [n for n in routed if _has(n["subnet"], n["prefix_len"], event["dst"])]
    return max(fits, key=lambda n: n["prefix_len"])["vrf"] if fits else None


def route_of(look: Look, vrf: int | None, address: str) -> dict[str, Any] | None:
    """The longest prefix that has it, as the path takes it."""
    fits = [
        r
        for r in look.table("routes")
        if r["vrf"] == vrf and _has(r["prefix"], r["prefix_len"], address)
    ]
    return max(fits, key=lambda r: r["prefix_len"], default=None)


def _target(look: Look, event: Event) -> str | None:
    """Whom the rule leads to that took a packet which ended before it was translated. None: that is
    not known, of a mapping's or where one of several is chosen by the sender."""
    rule = look.record("nat", event["nat_id"])
    if rule and rule["action"] == "DNAT" and rule["n_targets"] == 1:
        return rule["target"]
    if rule and rule["action"] == "REFLEXIVE":  # 1:1, in order
        pool = [look.public(index) for index in rule["pool"][: rule["n_pool"]]]
        for n, public in enumerate(pool):
            if public and public["secondary"] == event["dst"]:
                return str(ipaddress.IPv4Address(rule["match"]["src"]) + n)
    return None


def _destination(look: Look, event: Event) -> str | None:
    """By which its route is asked; None: see _target()."""
    if not inward(event):
        return event["dst"]
    if event["new"] != NOWHERE and event["nat_id"]:
        return event["new"]
    to_public = any(p["secondary"] == event["dst"] for p in look.table("publics"))
    return _target(look, event) if to_public else event["dst"]


def _nat(look: Look, event: Event) -> str:
    if not event["nat_id"]:
        return "no rule" if event["verdict"] == "dropped" else "not translated"
    rule = look.record("nat", event["nat_id"])
    words = [f"rule {look.nat_rule(event['nat_id'])}" + (f" ({rule['action']})" if rule else "")]
    if event["new"] != NOWHERE:
        public = next((p for p in look.table("publics") if p["secondary"] == event["new"]), None)
        port = f":{event['new_port']}" if event["new_port"] else ""
        named = f" ({public['name'] or 'Elastic IP'}, {public['address']})" if public else ""
        words.append(f"puts {event['new']}{port}{named}")
    elif inward(event) and (target := _target(look, event)):
        words.append(f"leads to {target}")
    return ", ".join(words)


def _firewall(look: Look, event: Event, vrf: int | None) -> str:
    if event["fw_id"]:
        rule = look.record("firewall", event["fw_id"])
        name = look.firewall_rule(event["fw_id"])
        return f"rule {name}" + (f" ({rule['action']})" if rule else "")
    nat = look.record("nat", event["nat_id"])
    if nat and nat["fw_match"] == "BYPASS":
        return f"bypassed by NAT rule {nat['name']}"
    if event["note"].startswith("known"):
        return "no rule, when its session was made"
    side = "default_in" if inward(event) else "default_out"
    default = next((v[side] for v in look.table("vrfs") if v["index"] == vrf), "unknown")
    return f"no rule, the VRF's default ({default})"


def _route(
    look: Look, vrf: int | None, destination: str, out: bool
) -> tuple[str, dict[str, Any] | None]:
    """In words; and the record, if it leads on from here. out: it may be turned round."""
    route = route_of(look, vrf, destination)
    if not route:
        return f"none for {destination}", None
    elastic = any(p["address"] == destination for p in look.table("publics"))
    if out and elastic and route["kind"] == "uplink":
        return f"{destination} is a public address of ours: turned round here", None
    ways = {
        "uplink": f"by the uplink to {route['next_hop']}",
        "segment": f"segment {look.segment(route['vni'])}",
    }
    way = ways.get(route["kind"], route["kind"])
    return f"{route['prefix']}/{route['prefix_len']}, {way}", route


def _next_hop(look: Look, event: Event, route: dict[str, Any] | None) -> str:
    """Where it goes next and whether its MAC is known; "" when nothing is known of it."""
    address = event["next"]
    if address == NOWHERE and route and route["kind"] == "uplink":
        address = route["next_hop"]
    for table, what in (("nexthops", "router"), ("teps", "TEP")):
        for record in look.table(table):
            if record["address"] == address:
                asked = "not known, nobody answers" if record["silent"] else "not known"
                known = record["mac"] if record["resolved"] else asked
                return f"{what} {address}, MAC {known}"
    return "" if address == NOWHERE else f"{address}, not among the next hops"


def _way_back(look: Look, event: Event, vrf: int | None) -> Lines:
    """Of what comes in and ends as the way to its sender is missing, or its next hop."""
    lost = event["reason"] in ("NO_ROUTE", "NEIGHBOUR_UNRESOLVED")
    if not inward(event) or not lost or event["next"] != NOWHERE:
        return []
    where, route = _route(look, vrf, event["src"], out=True)
    hop = _next_hop(look, event, route)
    return [("way back", f"{where}; {hop}" if hop else where)]


def _undecided(look: Look, event: Event, route: Lines) -> Lines | None:
    """Of what ended before all were asked: those that were. None: it got further."""
    nat = [("NAT", _nat(look, event))]
    if event["verdict"] != "dropped":
        return None
    if event["reason"] == "SOURCE_SPOOFED":
        return []
    if event["reason"] in UNROUTED:
        return (nat if event["nat_id"] else []) + route
    publics = {p["secondary"] for p in look.table("publics")}
    return nat if event["reason"] in UNMAPPED and event["dst"] in publics else None


def _one(look: Look, event: Event) -> Lines:
    vrf, destination = vrf_of(look, event), _destination(look, event)
    said, route = [], None
    if destination:
        where, route = _route(look, vrf, destination, out=not inward(event))
        said = [("route", where)]
    back = _way_back(look, event, vrf)
    if (few := _undecided(look, event, said)) is not None:
        return few + back
    if not inward(event) and route and route["kind"] != "uplink":
        said += [(what, "not asked within the overlay") for what in ("NAT", "firewall")]
    else:
        said += [("NAT", _nat(look, event))]
        asked = event["verdict"] != "dropped" or event["reason"] in FILTERED
        if asked or event["fw_id"]:
            said += [("firewall", _firewall(look, event, vrf))]
    if hop := _next_hop(look, event, route):
        said += [("next hop", hop)]
    if event["mtu"]:
        said += [("MTU", f"IP packets up to {event['mtu']} bytes")]
    return said + back


def rulings(look: Look, events: list[Event]) -> Lines:
    """What each part of the policy says, in the order the packet meets them; [] when it ends before
    anything is decided, or the gateway answers itself."""
    lines: Lines = []
    for event in events:
        decided = event["stage"] == DECIDED
        if decided and event["src"] != NOWHERE and not event["note"].startswith("answered"):
            lines += _one(look, event)
    return lines
