"""Flows that were dropped lately, as the datapath keeps them: whose, how often, by which rule.

Each worker keeps 4,096 of them, in memory alone: a restart of the datapath forgets them. Of one
kind (reason, side, segment, rule) 64 new ones in 100 ms find a place, more are counted only.
"""

import time
from collections.abc import Callable, Hashable, Iterable

from pcg.cli.drop_rows import NS, Row, rule_of, vrf_of
from pcg.cli.kinds import NOWHERE
from pcg.cli.look import Look
from pcg.cli.names import Names
from pcg.cli.story import end


def span(seconds: float) -> str:
    """
    >>> span(0.4), span(42), span(3600), span(200_000)
    ('0 s', '42 s', '60 min', '2 d')
    """
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def packets(n: int) -> str:
    """
    >>> packets(1), packets(1234)
    ('1 packet', '1,234 packets')
    """
    return f"{n:,} packet{'' if n == 1 else 's'}"


def ago_s(at_ns: int) -> float:
    return max(0, time.monotonic_ns() - at_ns) / NS


def _protocol(flow: Row) -> str:
    """ "" of what could not be read. What has ends and no protocol is ARP; DHCP's has no source."""
    if flow["protocol"] != "any":
        return flow["protocol"]
    return "" if (flow["src"], flow["dst"]) == (NOWHERE, NOWHERE) else "arp"


def row(look: Look, names: Names, flow: Row) -> Row:
    """One flow in words. Times are seconds since 1970; the source's port is the latest."""
    offset_ns = time.time_ns() - time.monotonic_ns()  # both are of this host
    index = vrf_of(look, flow)
    vrf = look.vrf(index) if index is not None else ""
    protocol = _protocol(flow)

    def side(address: str, port: str) -> str:
        return end(flow[address], flow[port], protocol) if protocol else ""

    def who(address: str) -> str:
        public = look.public_at(index, flow[address]) if vrf else None
        return names.workload(vrf, flow[address]) or (public["name"] if public else "")

    return {
        "reason": flow["reason"],
        "packets": flow["packets"],
        "flows": flow.get("flows", 1),
        "first": (flow["first_ns"] + offset_ns) / NS,
        "last": (flow["last_ns"] + offset_ns) / NS,
        "ago_s": round(ago_s(flow["last_ns"]), 3),
        "where": flow["role"],
        "vrf": vrf,
        "segment": names.segment(vrf, flow["src"])
        or names.segment(vrf, flow["dst"])
        or (look.segment(flow["vni"]) if flow["vni"] else ""),
        "rule": rule_of(look, flow),
        "tep": "" if flow["outer_src"] == NOWHERE else flow["outer_src"],
        "vni": flow["vni"],
        "protocol": protocol,
        "source": side("src", "sport"),
        "source_name": who("src"),
        "destination": side("dst", "dport"),
        "destination_name": who("dst"),
        "length": flow["length"],
        "means": look.client.reasons().get(flow["reason"], ""),
        "advice": look.client.advice().get(flow["reason"], ""),
    }


def tunnel(found: Row) -> str:
    """By which it came: the segment of its source need not be that of its VNI.

    >>> tunnel({"tep": "10.0.0.2", "vni": 9096}), tunnel({"tep": "10.0.0.2", "vni": 0})
    (' from TEP 10.0.0.2 VNI 9096', ' from TEP 10.0.0.2')
    >>> tunnel({"tep": "", "vni": 0})
    ''
    """
    vni = f" VNI {found['vni']}" if found["vni"] else ""
    return f" from TEP {found['tep']}{vni}" if found["tep"] else ""


def ends(found: Row) -> str:
    """Of a row: who sent what to whom."""
    tep = tunnel(found)
    if not found["source"]:
        return f"{found['length']} bytes that could not be read{tep}"

    def side(which: str) -> str:
        name = found[f"{which}_name"]
        return f"{found[which]} ({name})" if name else found[which]

    return f"{found['protocol']} {side('source')} -> {side('destination')}{tep}"


def text(found: Row) -> str:
    """Of a row: how often, when, why, by which rule, and what it was, or the latest of them was."""
    many = f" of {found['flows']:,} flows" if found["flows"] > 1 else ""
    n = packets(found["packets"]) + many
    lately = f"the last {span(found['ago_s'])} ago"
    if found["packets"] > 1:
        lately += f", in {span(found['last'] - found['first'])}"
    if found["rule"] == "default":
        rule = ", by the VRF's default"
    else:
        rule = f", by rule {found['rule']}" if found["rule"] else ""
    came = f"{ends(found)}, by the {found['where']}"
    return f"{n}, {lately}: {found['reason']}{rule}: {came}: {found['means']}"


def summed(flows: Iterable[Row], kind: Callable[[Row], Hashable]) -> list[Row]:
    """Those of one kind as one, which is the latest of them, that with most packets first."""
    found: dict[Hashable, Row] = {}
    for flow in flows:
        old = found.get(at := kind(flow))
        if old is None:
            found[at] = flow
            continue
        found[at] = max(old, flow, key=lambda f: f["last_ns"]) | {
            "packets": old["packets"] + flow["packets"],
            "flows": old.get("flows", 1) + 1,
            "first_ns": min(old["first_ns"], flow["first_ns"]),
        }
    return sorted(found.values(), key=lambda f: -f["packets"])


def unlisted(ledger: Iterable[Row], within_s: float = float("inf")) -> dict[str, int]:
    """Reason -> dropped packets whose flows found no place, since the datapath began; of kinds of
    which something was dropped in the last seconds."""
    seen: dict[str, int] = {}
    for line in ledger:
        if line["unlisted"] and ago_s(line["last_ns"]) <= within_s:
            seen[line["reason"]] = seen.get(line["reason"], 0) + line["unlisted"]
    return seen


def unlisted_text(seen: dict[str, int]) -> str:
    """
    >>> unlisted_text({"NO_DNAT": 1234})
    'not listed, as too many flows came at once: 1,234 packets NO_DNAT, since the datapath began'
    """
    some = ", ".join(f"{packets(n)} {reason}" for reason, n in seen.items())
    return f"not listed, as too many flows came at once: {some}, since the datapath began"
