"""Records in words: plain dicts of text, ints and booleans, as `pcgctl --json` prints them.

A key is the struct's field without `_be`. Addresses are dotted text, MACs colon text, enums their
names, 0xffffffff ("none") is None.
"""

import functools
from collections.abc import Callable, Iterable
from socket import inet_ntoa
from typing import Any

from pcg.datapath import border, pack

NONE = 0xFFFFFFFF
NOT_TRANSLATED = 255  # session.kind
PROTOCOLS = {0: "any", 1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 51: "ah", 132: "sctp"}
DIRECTIONS = {0: "none", 1: "IN", 2: "OUT", 3: "IN_OUT"}


def address(data: bytes) -> str:
    return inet_ntoa(data)  # a tenth of what ipaddress takes: a page of sessions has 16,000


def mac(data: bytes) -> str:
    return data.hex(":")


def _or_none(value: int) -> int | None:
    return None if value == NONE else value


def _protocol(value: int) -> str:
    return PROTOCOLS.get(value, str(value))


def _enum(name: str, prefix: str = "PCGDP_", lower: bool = False) -> Callable[[int], str]:
    def convert(value: int) -> str:
        word = border.words(name, prefix).get(value, str(value))
        return word.lower() if lower else word

    return convert


def _kind(value: int) -> str:
    return "none" if value == NOT_TRANSLATED else _enum("pcgdp_nat_action")(value)


def _stage(value: int) -> str:
    names = border.stage_names()
    return names[value] if value < len(names) else str(value)


def _reason(value: int) -> str:
    names = border.reason_names()
    return names[value] if value < len(names) else str(value)


# (struct, field) or field -> how its value reads. What stands nowhere stays as it is.
READS: dict[tuple[str, str] | str, Callable[[Any], Any]] = {
    "mac": mac,
    "gateway_mac": mac,
    "protocol": _protocol,
    "public_index": _or_none,
    ("nat", "action"): _enum("pcgdp_nat_action"),
    ("nat", "filtering"): _enum("pcgdp_filtering"),
    ("nat", "fw_match"): _enum("pcgdp_fw_match", "PCGDP_FW_"),
    ("firewall", "action"): _enum("pcgdp_fw_action"),
    ("firewall", "direction"): lambda value: DIRECTIONS.get(value, str(value)),
    ("vrfs", "default_in"): _enum("pcgdp_fw_action"),
    ("vrfs", "default_out"): _enum("pcgdp_fw_action"),
    ("segments", "kind"): _enum("pcgdp_vni_kind", lower=True),
    ("routes", "kind"): _enum("pcgdp_route_kind", "PCGDP_VIA_", lower=True),
    ("nic_info", "role"): _enum("pcgdp_role", lower=True),
    ("nic_info", "driver"): _enum("pcgdp_driver", "PCGDP_DRIVER_", lower=True),
    ("nic_info", "up"): bool,
    ("teps", "resolved"): bool,
    ("teps", "silent"): bool,
    ("teps", "option"): bool,
    ("nexthops", "resolved"): bool,
    ("nexthops", "silent"): bool,
    ("session", "kind"): _kind,
    ("session", "state"): _enum("pcgdp_tcp_state", "PCGDP_TCP_", lower=True),
    ("session", "marked"): bool,
    ("session", "fwd_from_uplink"): bool,
    ("drop", "reason"): _reason,
    ("event", "kind"): _enum("pcgdp_event_kind", "PCGDP_SESSION_", lower=True),
    ("event", "end"): _enum("pcgdp_end", "PCGDP_END_", lower=True),
    ("event", "from_uplink"): bool,
    ("event", "continued"): bool,
    ("usage", "reason"): _reason,
    ("drop", "role"): _enum("pcgdp_role", lower=True),
    ("drop", "vni"): _or_none,
    ("drop", "vrf"): _or_none,
    ("recent", "reason"): _reason,
    ("recent", "role"): _enum("pcgdp_role", lower=True),
    ("recent", "vrf"): _or_none,
    ("trace_event", "stage"): _stage,
    ("trace_event", "verdict"): _enum("pcgdp_verdict", lower=True),
    ("trace_event", "session"): _or_none,
    ("trace_event", "new_session"): bool,
    ("trace_event", "nic_in"): _enum("pcgdp_role", lower=True),
    ("trace_event", "nic_out"): _enum("pcgdp_role", lower=True),
}


def _reader(name: str, field: pack.Field) -> Callable[[Any], Any] | None:
    known = READS.get((name, field.name)) or READS.get(field.name)
    if known:
        return known
    if field.name == "match":
        return lambda record: view("match", record)
    if field.name.endswith("_be"):
        return address
    return list if field.code[-1] in "HIQ" and field.build else None


@functools.cache
def _readers(name: str) -> list[tuple[str, Callable[[Any], Any] | None]]:
    fields = pack.layout(name).fields
    return [(field.name.removesuffix("_be"), _reader(name, field)) for field in fields]


def view(name: str, record: Iterable) -> dict[str, Any]:
    """One record of `struct pcgdp_<name>` in words."""
    pairs = zip(_readers(name), record, strict=True)
    seen = {key: read(value) if read else value for (key, read), value in pairs}
    if name == "trace_event":
        names = border.reason_names()
        dropped = seen["verdict"] == "dropped" and seen["reason"] < len(names)
        seen["reason"] = names[seen["reason"]] if dropped else ""
    if name == "usage" and not seen["refused"]:
        seen["reason"] = ""
    if name == "drop":
        seen["frame"] = seen["frame"][: seen.pop("captured")].hex()
    return seen


def views(name: str, data: bytes) -> list[dict[str, Any]]:
    """A packed array in words."""
    return [view(name, record) for record in pack.unpack(name, data)]
