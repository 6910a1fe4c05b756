"""Which object of the desired state the datapath's words are about.

It refuses a policy with `table[key].field: what is wrong`, where the key is the number or the place
of a record. The operator knows neither, but the object's path: `public_addresses[eip-web]`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pcg.model.errors import BackendError
from pcg.reconcile.addresses import text
from pcg.reconcile.compile import TRANSIT

SAID = re.compile(r"(\w+)\[(.+?)\](\.\w+)?: (.+)", re.DOTALL)
NUMBERS = {"segments": "vni", "publics": "index"}  # table -> the field that is its key
PLACES = ("vrfs", "routes")  # tables whose key is a place in the list

Policy = Mapping[str, Sequence[Any]]


def named(error: BackendError, policy: Policy) -> BackendError:
    """The error about the object, when its words tell which; else the error as it is."""
    said = SAID.match(error.why)
    if not said:
        return error
    table, key, field, why = said.groups()
    thing = _path(table, key, policy) or f"{table}[{key}]"
    return BackendError(thing + (field or ""), why, error.mend)


def _path(table: str, key: str, policy: Policy) -> str:
    record = _record(table, key, policy.get(table, ()))
    if record is None:
        return ""
    if table == "routes":
        vrf = next((v.name for v in policy.get("vrfs", ()) if v.index == record.vrf), record.vrf)
        return f"routes[{vrf} {text(record.prefix_be)}/{record.prefix_len}]"
    if table == "segments" and record.kind == TRANSIT:
        return f"vrfs[{record.name}].transit"
    return f"{'public_addresses' if table == 'publics' else table}[{record.name}]"


def _record(table: str, key: str, records: Sequence[Any]) -> Any:
    if not key.isdecimal():
        return None
    number = int(key)
    if table in PLACES:
        return records[number] if number < len(records) else None
    field = NUMBERS.get(table)
    return next((r for r in records if field and getattr(r, field) == number), None)
