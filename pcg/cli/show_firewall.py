"""Rows of `pcgctl show firewall`: a rule each, however many records it is."""

from typing import Any

from pcg.cli.look import Look, ports_text
from pcg.cli.show_rows import Rows, counters_of, side_of

LISTED_MAX = 4  # sources, destinations or services of a rule; of more it is said how many


def firewall(look: Look) -> Rows:
    """In the order in which they are asked, then each VRF's defaults; counters are of the rule, of
    all its records."""
    records: dict[int, list[dict[str, Any]]] = {}
    for record in look.table("firewall"):
        records.setdefault(record["id"], []).append(record)
    counters = counters_of(look, "firewall")
    rules = [_rule(look, id_, of, counters[id_]) for id_, of in records.items()]
    return rules + _defaults(look)


def _defaults(look: Look) -> Rows:
    hits = {c["id"]: c["hits"] for c in look.client.counters("vrfs")}
    return [
        {
            "id": 0,
            "name": "(default)",
            "vrf": vrf["name"],
            "action": vrf[f"default_{way}"],
            "direction": way.upper(),
            "source": "any",
            "destination": "any",
            "services": "any",
            "state": "stateful",
            "log": False,
            "hits": hits.get(2 * vrf["index"] + (way == "in"), 0),
        }
        for vrf in look.table("vrfs")
        for way in ("in", "out")
    ]


def _rule(look: Look, id_: int, of: list[dict[str, Any]], counters: dict[str, int]) -> dict:
    first = of[0]
    return {
        "id": id_,
        "name": first["name"],
        "vrf": look.vrf(first["vrf"]),
        "action": first["action"],
        "direction": first["direction"],
        "source": _listed([_end(look, record, "src") for record in of]),
        "destination": _listed([_end(look, record, "dst") for record in of]),
        "services": _listed([_service(record["match"]) for record in of]),
        "state": "stateless" if first["stateless"] else "stateful",
        "log": bool(first["log"]),
        **counters,
    }


def _end(look: Look, record: dict[str, Any], side: str) -> str:
    group = record[f"{side}_group"]
    if not group:
        return side_of(look, record, side)
    name = next((g["name"] for g in look.table("groups") if g["id"] == group), "a list")
    return f"{name} of {look.group_size(group)}"


def _service(match: dict[str, Any]) -> str:
    """
    >>> _service({"protocol": "tcp", "sport_first": 0, "sport_last": 65535, "dport_first": 80,
    ...           "dport_last": 81})
    'tcp 80-81'
    """
    source = ports_text(match["sport_first"], match["sport_last"])
    ports = ports_text(match["dport_first"], match["dport_last"])
    words = [str(match["protocol"]), *([] if ports == "any" else [ports])]
    return " ".join(words + ([] if source == "any" else [f"from {source}"]))


def _listed(texts: list[str]) -> str:
    """
    >>> _listed(["a", "b", "a"]), _listed(["1", "2", "3", "4", "5"])
    ('a, b', '1, 2, 3, and 2 more')
    """
    once = list(dict.fromkeys(texts))
    if len(once) > LISTED_MAX:
        once[LISTED_MAX - 1 :] = [f"and {len(once) - LISTED_MAX + 1} more"]
    return ", ".join(once)
