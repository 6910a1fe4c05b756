"""The rows of every `pcgctl show`: lists of plain dicts, printed as a table or as JSON.

Keys are for programs and stay; a column of the table is one of them.
"""

from collections import Counter
from typing import Any

from pcg.cli.look import Look, address_key, ports_text

Rows = list[dict[str, Any]]
ROUTED, DHCP = 1, 2  # enum pcgdp_segment_flags
CARRIED = ("in_packets", "in_bytes", "out_packets", "out_bytes")
COUNTED = {
    "segments": CARRIED,
    "nat": (*CARRIED, "sessions", "overflow"),
    "firewall": (*CARRIED, "sessions", "hits"),
}  # a session is of no one segment


def ports(look: Look) -> Rows:
    rows = [
        {
            "vrf": look.vrf(port["vrf"]),
            "address": port["address"],
            "segment": look.segment(port["vni"]),
            "vni": port["vni"],
            "mac": port["mac"],
            "tep": port["tep"],
        }
        for port in look.table("ports")
    ]
    return sorted(rows, key=lambda row: (row["vrf"], address_key(row["address"])))


def counters_of(look: Look, table: str) -> dict[int, dict]:
    keys = COUNTED[table]
    zero = dict.fromkeys(keys, 0)
    found = {c["id"]: {key: c[key] for key in keys} for c in look.client.counters(table)}
    return {**{r["vni" if table == "segments" else "id"]: zero for r in look.table(table)}, **found}


def segments(look: Look) -> Rows:
    counters = counters_of(look, "segments")
    return [
        {
            "vni": s["vni"],
            "name": s["name"],
            "vrf": look.vrf(s["vrf"]),
            "kind": s["kind"],
            "subnet": f"{s['subnet']}/{s['prefix_len']}" if s["kind"] == "segment" else "",
            "gateway": s["gateway"] if s["kind"] == "segment" else "",
            "gateway_mac": s["gateway_mac"],
            "mtu": s["mtu"],
            "routed": bool(s["flags"] & ROUTED),
            "dhcp": bool(s["flags"] & DHCP),
            **counters[s["vni"]],
        }
        for s in sorted(look.table("segments"), key=lambda s: s["vni"])
    ]


def teps(look: Look) -> Rows:
    used = Counter(port["tep"] for port in look.table("ports"))
    rows = sorted(look.table("teps"), key=lambda t: address_key(t["address"]))
    paths = {p["address"]: p for p in look.table("path_mtu")}
    return [
        {
            **t,
            "mac": t["mac"] if t["resolved"] else "",
            "ports": used[t["address"]],
            "path_mtu": paths[t["address"]]["mtu"] if t["address"] in paths else "",
            "told_s_ago": paths[t["address"]]["age_s"] if t["address"] in paths else "",
        }
        for t in rows
    ]


def nexthops(look: Look) -> Rows:
    rows = sorted(look.table("nexthops"), key=lambda n: address_key(n["address"]))
    return [{**n, "mac": n["mac"] if n["resolved"] else ""} for n in rows]


def routes(look: Look) -> Rows:
    rows = [
        {
            "vrf": look.vrf(r["vrf"]),
            "prefix": f"{r['prefix']}/{r['prefix_len']}",
            "kind": r["kind"],
            "next_hop": r["next_hop"] if r["kind"] == "uplink" else "",
            "segment": look.segment(r["vni"]) if r["kind"] == "segment" else "",
        }
        for r in look.table("routes")
    ]
    return sorted(rows, key=lambda r: (r["vrf"], address_key(r["prefix"].split("/")[0])))


def side_of(look: Look, rule: dict[str, Any], side: str) -> str:
    """`src` or `dst` of a rule's match, as the operator named it where it has a name."""
    text, length = rule["match"][side], rule["match"][f"{side}_len"]
    public = look.public_at(rule["vrf"], text) if length == 32 else None
    if public:
        return _named(public)
    return f"{text}/{length}" if length else "any"


def _named(public: dict[str, Any] | None) -> str:
    return f"{public['name']} ({public['address']})" if public else "unknown"


def _translated(look: Look, rule: dict[str, Any]) -> str:
    """What a rule turns addresses into, as the operator named it where it has a name."""
    if rule["action"] == "DNAT":
        target, n = rule["target"], rule["n_targets"]
        text = target if n == 1 else f"{target} +{n - 1}"
    else:
        text = ", ".join(_named(look.public(i)) for i in rule["pool"][: rule["n_pool"]])
    if rule["port_first"]:
        text += f" port {ports_text(rule['port_first'], rule['port_last'])}"
    return text


def nat(look: Look) -> Rows:
    """In the order of evaluation. Counters are of the rule: its first row has them, if several."""
    left = counters_of(look, "nat")
    none = dict.fromkeys(COUNTED["nat"])
    return [
        {
            "id": rule["id"],
            "name": rule["name"],
            "vrf": look.vrf(rule["vrf"]),
            "action": rule["action"],
            "source": side_of(look, rule, "src"),
            "destination": side_of(look, rule, "dst"),
            "protocol": rule["match"]["protocol"],
            "source_ports": ports_text(rule["match"]["sport_first"], rule["match"]["sport_last"]),
            "destination_ports": ports_text(
                rule["match"]["dport_first"], rule["match"]["dport_last"]
            ),
            "translated": _translated(look, rule),
            "firewall_match": rule["fw_match"],
            **left.pop(rule["id"], none),
        }
        for rule in look.table("nat")
    ]


def sessions(look: Look, limit: int | None, address: str, vrf: str) -> Rows:
    index = look.vrf_index(vrf) if vrf else None
    secondary = {public["address"]: public["secondary"] for public in look.table("publics")}
    address = secondary.get(address, address)  # which is what a session has
    rows = []
    for s in look.client.sessions(limit=limit, address=address, vrf=index):
        public = look.public(s["public_index"])
        names = {
            "vrf": look.vrf(s["vrf"]),
            "nat_rule": look.nat_rule(s["nat_id"]),
            "firewall_rule": look.firewall_rule(s["fw_id"]),
            "public": public["name"] if public else "",
        }
        rows.append({**s, **names, **_ends(s)})
    return rows


def _ends(s: dict[str, Any]) -> dict[str, str]:
    """Both tuples as text: as the first packet came, and as it left.

    The reverse tuple is what the reply looks like when it comes, so what left is that turned round.
    """
    return {
        "from": f"{s['fwd_src']}:{s['fwd_sport']}",
        "to": f"{s['fwd_dst']}:{s['fwd_dport']}",
        "as_from": f"{s['rev_dst']}:{s['rev_dport']}",
        "as_to": f"{s['rev_src']}:{s['rev_sport']}",
    }


def usage(look: Look) -> Rows:
    """Who holds or was refused anything, the greediest first."""
    rows = [
        {
            "vrf": look.vrf(u["vrf"]),
            "address": u["address"],
            "sessions": u["sessions"],
            "ports": u["ports"],
            "refused": u["refused"],
            "reason": u["reason"],
            "nat_rule": look.nat_rule(u["nat_id"]) if u["refused"] else "",
            "public": _public_name(look, u["public_index"]) if u["refused"] else "",
        }
        for u in look.table("usage")
        if u["sessions"] or u["ports"] or u["refused"]
    ]
    return sorted(rows, key=lambda row: (-row["ports"], -row["sessions"], row["vrf"]))


def _public_name(look: Look, index: int | None) -> str:
    public = look.public(index)
    return public["name"] if public else ""


def drops(look: Look, every: bool) -> Rows:
    counted = look.client.drops()
    return [
        {"reason": reason, "packets": counted.get(reason, 0), "conclude": text}
        for reason, text in look.client.reasons().items()
        if every or counted.get(reason)
    ]


def totals(look: Look) -> Rows:
    return [{"name": name, "value": value} for name, value in look.client.totals().items()]


def stages(look: Look) -> Rows:
    from pcg.datapath import border

    texts = dict(zip(border.stage_names(), border.stage_texts(), strict=True))
    counted = look.client.stages()
    return [{"stage": name, "packets": n, "settles": texts[name]} for name, n in counted.items()]


def nics(look: Look) -> Rows:
    return look.client.nics()
