"""Which rules decided about an explained packet: NAT, firewall, route, next hop and its MTU.

The path says what it decided (its events); the tables say how that is called.
"""

import ipaddress
from typing import Any

from pcg.cli.look import Look
from pcg.cli.story import NOWHERE, Event

Lines = list[tuple[str, str]]
DECIDED = "session_lookup"
UNROUTED = ("NO_ROUTE", "BLACKHOLE", "PORT_UNKNOWN")  # where nothing is asked behind the route
UNMAPPED = ("NO_DNAT", "NAT_FILTERED", "TCP_NO_SESSION")  # to a public address: nobody's yet


def inward(event: Event) -> bool:
    """By the uplink, or turned round into it."""
    return event["outer_src"] == NOWHERE


def vrf_of(look: Look, event: Event) -> int | None:
    """Of the segment it came by, or of who has its destination."""
    if not inward(event):
        networks = look.table("segments")
        return next((n["vrf"] for n in networks if n["vni"] == event["vni"]), None)
    for public in look.table("publics"):
        if event["dst"] == public["secondary"]:
            return public["vrf"]
    return next((p["vrf"] for p in look.table("ports") if p["address"] == event["dst"]), None)


def route_of(look: Look, vrf: int | None, address: str) -> dict[str, Any] | None:
    """The longest prefix that has it, as the path takes it."""
    at = ipaddress.IPv4Address(address)
    fits = [
        r
        for r in look.table("routes")
        if r["vrf"] == vrf and at in ipaddress.ip_network(f"{r['prefix']}/{r['prefix_len']}")
    ]
    return max(fits, key=lambda r: r["prefix_len"], default=None)


def _nat(look: Look, event: Event) -> str:
    if not event["nat_id"]:
        return "no rule" if event["verdict"] == "dropped" else "not translated"
    rule = look.record("nat", event["nat_id"])
    words = [f"rule {look.nat_rule(event['nat_id'])} ({rule['action'] if rule else 'gone'})"]
    if event["new"] != NOWHERE:
        public = next((p for p in look.table("publics") if p["secondary"] == event["new"]), None)
        port = f":{event['new_port']}" if event["new_port"] else ""
        named = f" ({public['name'] or 'Elastic IP'}, {public['address']})" if public else ""
        words.append(f"puts {event['new']}{port}{named}")
    return ", ".join(words)


def _firewall(look: Look, event: Event, vrf: int | None) -> str:
    if event["fw_id"]:
        rule = look.record("firewall", event["fw_id"])
        return f"rule {look.firewall_rule(event['fw_id'])} ({rule['action'] if rule else 'gone'})"
    nat = look.record("nat", event["nat_id"])
    if nat and nat["fw_match"] == "BYPASS":
        return f"bypassed by NAT rule {nat['name']}"
    side = "default_in" if inward(event) else "default_out"
    default = next((v[side] for v in look.table("vrfs") if v["index"] == vrf), "unknown")
    return f"no rule, the VRF's default ({default})"


def _route(look: Look, event: Event, vrf: int | None) -> tuple[str, dict[str, Any] | None]:
    translated = inward(event) and event["new"] != NOWHERE
    destination = event["new"] if translated else event["dst"]
    if any(p["address"] == destination for p in look.table("publics")):
        return f"{destination} is a public address of ours: turned round here", None
    route = route_of(look, vrf, destination)
    if not route:
        return f"none for {destination}", None
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


def _undecided(look: Look, event: Event, where: str) -> Lines | None:
    """Of what ended before all were asked: those that were. None: it got further."""
    nat = [("NAT", _nat(look, event))]
    if event["verdict"] != "dropped":
        return None
    if event["reason"] == "SOURCE_SPOOFED":
        return []
    if event["reason"] in UNROUTED:
        return [("route", where), *(nat if event["nat_id"] else [])]
    publics = {p["secondary"] for p in look.table("publics")}
    return nat if event["reason"] in UNMAPPED and event["dst"] in publics else None


def _one(look: Look, event: Event) -> Lines:
    vrf = vrf_of(look, event)
    where, route = _route(look, event, vrf)
    if (few := _undecided(look, event, where)) is not None:
        return few
    said = [("route", where)]
    if not inward(event) and route and route["kind"] != "uplink":
        said += [(what, "not asked within the overlay") for what in ("NAT", "firewall")]
    else:
        said += [("NAT", _nat(look, event))]
        if event["verdict"] != "dropped" or event["reason"] in ("FIREWALL_DENIED", "NAT_FILTERED"):
            said += [("firewall", _firewall(look, event, vrf))]
    if hop := _next_hop(look, event, route):
        said += [("next hop", hop)]
    if event["mtu"]:
        said += [("MTU", f"IP packets up to {event['mtu']} bytes")]
    return said


def rulings(look: Look, events: list[Event]) -> Lines:
    """What each part of the policy says, in the order the packet meets them; [] when it ends before
    anything is decided, or the gateway answers itself."""
    lines: Lines = []
    for event in events:
        decided = event["stage"] == DECIDED
        if decided and event["src"] != NOWHERE and not event["note"].startswith("answered"):
            lines += _one(look, event)
    return lines
