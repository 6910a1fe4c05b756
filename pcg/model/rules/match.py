"""Rules of what NAT and firewall rules match: items, protocols, ports."""

from collections.abc import Sequence

from pcg.model.addresses import address_number
from pcg.model.desired import PortRange, Protocol
from pcg.model.rules.context import Context
from pcg.model.sizes import RULE_RECORDS_MAX

WITH_PORTS = (Protocol.TCP, Protocol.UDP)
NO_PORTS_OF = "has no ports that rules can match; use tcp or udp, or leave the ports out"
NO_SPAN = "is neither a prefix nor an address; use a form like 10.0.0.0/24"


def check_items(
    ctx: Context,
    path: str,
    items: Sequence[str],
    vrf: str,
    ids: str | None = None,
    tables: Sequence[str] = ("public_addresses",),
) -> None:
    """Each item a prefix, an address or, unless `ids` says why not, an id of one of the tables."""
    ctx.no_repeats(path, items)
    for index, item in enumerate(items):
        where = f"{path}[{index}]"
        if not is_id(item):
            check_span(ctx, where, item)
        elif ids is None:
            ctx.refer_either(where, tables, item, vrf)
        elif item in ctx.tables["public_addresses"]:
            ctx.add(where, item, ids)
        else:
            ctx.add(where, item, NO_SPAN)


def is_id(item: str) -> bool:
    """Ids begin with a letter and have no colon, so none is an address (IPv6 included)."""
    return item[:1].isalpha() and ":" not in item and "/" not in item


def check_span(ctx: Context, path: str, item: str) -> None:
    if "/" in item:
        ctx.prefix(path, item)
    elif ":" in item:
        ctx.add(path, item, "is not an IPv4 address; only IPv4 is carried")
    elif address_number(item) is None:
        ctx.add(path, item, NO_SPAN)


def check_ports(
    ctx: Context,
    path: str,
    protocol: Protocol,
    source: Sequence[PortRange],
    destination: Sequence[PortRange],
) -> None:
    for name, ranges in (("source_ports", source), ("destination_ports", destination)):
        if ranges and protocol not in WITH_PORTS:
            ctx.add(f"{path}.{name}", protocol.value, NO_PORTS_OF)
        for index, ports in enumerate(ranges):
            check_range(ctx, f"{path}.{name}[{index}]", ports)


def check_range(ctx: Context, path: str, ports: PortRange) -> bool:
    if ports.first > ports.last:
        ctx.add(path, f"{ports.first} to {ports.last}", "is backwards; first is the lower one")
        return False
    return True


def check_product(ctx: Context, path: str, *factors: int) -> None:
    """The path holds one record for each combination of a rule's lists."""
    records = 1
    for factor in factors:
        records *= max(factor, 1)
    if records > RULE_RECORDS_MAX:
        mend = f"combinations are too many for one rule ({RULE_RECORDS_MAX}); split it"
        ctx.add(path, records, mend)
