"""Rows that the gateway's control loop knows: what is in force, and what was asked for."""

from collections import Counter
from datetime import datetime
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


def for_people(answer: dict[str, Any]) -> dict[str, Any]:
    """ "realised" with moments as text. An epoch is a name, not a number to be grouped."""
    backends = {
        name: backend | {"applied_at": _moment(backend.get("applied_at"))}
        for name, backend in answer.get("backends", {}).items()
    }
    names = {key: str(answer[key]) for key in ("epoch", "revision") if key in answer}
    return answer | names | {"backends": backends}


def _moment(wall_s: float | None) -> str:
    """
    >>> _moment(None)
    'never'
    """
    if not wall_s:
        return "never"
    return datetime.fromtimestamp(wall_s).astimezone().isoformat(" ", "milliseconds")


def workloads(look: Look) -> list[dict[str, Any]]:
    """The desired ports; `programmed`: each address is in the datapath behind that TEP."""
    desired = look.ask_gateway("desired") or {}
    vrfs = {segment["id"]: segment["vrf"] for segment in desired.get("segments", ())}
    held = {(look.vrf(p["vrf"]), p["address"], p["tep"]) for p in look.table("ports")}
    ends = Counter()
    for session in look.client.sessions():
        seen = {session[key] for key in ("fwd_src", "fwd_dst", "rev_src", "rev_dst")}
        ends.update((look.vrf(session["vrf"]), address) for address in seen)
    return [
        {
            "id": port["id"],
            "instance": port.get("instance", ""),
            "segment": port["segment"],
            "mac": port["mac"],
            "addresses": list(port["addresses"]),
            "tep": port["tep"],
            "programmed": all(
                (vrfs[port["segment"]], a, port["tep"]) in held for a in port["addresses"]
            ),
            "sessions": sum(ends[vrfs[port["segment"]], a] for a in port["addresses"]),
        }
        for port in desired.get("ports", ())
    ]
