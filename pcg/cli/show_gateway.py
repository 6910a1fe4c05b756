"""Rows that the gateway's control loop knows: what is in force, and what was asked for."""

from collections import Counter
from typing import Any

from pcg.cli.look import Look


def flat(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Leaves of nested dicts and lists as (path, value).

    >>> flat({"a": {"b": 1}, "c": [2]})
    [('a.b', 1), ('c[0]', 2)]
    """
    if isinstance(value, dict):
        parts = [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(f"{path}[{i}]", item) for i, item in enumerate(value)]
    else:
        return [(path, value)]
    return [leaf for name, item in parts for leaf in flat(item, name)]


def workloads(look: Look) -> list[dict[str, Any]]:
    """The desired ports; `programmed`: each address is in the datapath behind that TEP."""
    desired = look.ask_gateway("desired") or {}
    held = {(port["address"], port["tep"]) for port in look.table("ports")}
    ends = Counter()
    for session in look.client.sessions():
        ends.update({session[key] for key in ("fwd_src", "fwd_dst", "rev_src", "rev_dst")})
    return [
        {
            "id": port["id"],
            "instance": port.get("instance", ""),
            "segment": port["segment"],
            "mac": port["mac"],
            "addresses": list(port["addresses"]),
            "tep": port["tep"],
            "programmed": all((a, port["tep"]) in held for a in port["addresses"]),
            "sessions": sum(ends[a] for a in port["addresses"]),
        }
        for port in desired.get("ports", ())
    ]
