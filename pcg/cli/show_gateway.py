"""Rows that the gateway's control loop knows: what is in force, and what was asked for."""

from collections import Counter
from datetime import datetime
from typing import Any

from pcg.cli.look import Look, address_key


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
    """The desired ports; `programmed`: each address is in the datapath behind that TEP.

    A port without addresses of its own has what it leases.
    """
    desired = look.ask_gateway("desired") or {}
    leased: dict[str, list[str]] = {}
    for lease in lease_rows(look):
        leased.setdefault(lease["port"], []).append(lease["address"])
    ports = desired.get("ports", ())
    having = {port["id"]: list(port["addresses"]) or leased.get(port["id"], []) for port in ports}
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
            "addresses": having[port["id"]],
            "tep": port["tep"],
            "programmed": all(
                (vrfs[port["segment"]], a, port["tep"]) in held for a in having[port["id"]]
            ),
            "sessions": sum(ends[vrfs[port["segment"]], a] for a in having[port["id"]]),
        }
        for port in ports
    ]


def lease_rows(look: Look) -> list[dict[str, Any]]:
    """Leases as the gateway has them."""
    return sorted(
        look.ask_gateway("leases"),
        key=lambda row: (row["vrf"], row["segment"], address_key(row["address"])),
    )


def shortages(look: Look) -> list[dict[str, Any]]:
    """The latest first. `at`: seconds since 1970, and as text."""
    return [row | {"when": _moment(row["at"])} for row in reversed(look.ask_gateway("shortages"))]


def leases(look: Look) -> list[dict[str, Any]]:
    """`expires`: seconds since 1970, and as text; None: never."""
    return [
        row | {"ends": "never" if row["expires"] is None else _moment(row["expires"])}
        for row in lease_rows(look)
    ]
