"""Rules of DHCP scopes: what they hand out must fit the segments that use them."""

import re

from pcg.model.addresses import Prefix, address_number
from pcg.model.desired import Port
from pcg.model.dhcp import DhcpScope
from pcg.model.rules.context import Context, Subnet, overlaps

# RFC 1123 section 2.1: labels of letters, digits and hyphens, 63 each, 253 in all.
HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
NAME_MAX = 253
OPTION_MAX = 255  # bytes: the length is one byte (RFC 2132 section 2)
DNS_MAX = OPTION_MAX // 4
# Options that fields of the scope say, or that belong to the protocol itself (RFC 2132, 3046).
OWN_OPTIONS = {
    1: "the segment's subnet",
    3: "gateway",
    6: "dns",
    15: "domain",
    26: "mtu",
    51: "lease_s",
    121: "routes",
} | dict.fromkeys((50, 52, 53, 54, 55, 57, 58, 59, 61, 82), "the protocol itself")


def check(ctx: Context) -> None:
    ctx.unique("dhcp", ctx.desired.dhcp)
    users: dict[str, list[Subnet]] = {}
    for subnet in ctx.subnets.values():
        if subnet.segment.dhcp is not None:
            users.setdefault(subnet.segment.dhcp, []).append(subnet)
    owners = port_addresses(ctx) if any(s.bindings for s in ctx.desired.dhcp) else {}
    for scope in ctx.desired.dhcp:
        path = f"dhcp[{scope.id}]"
        ctx.refer(f"{path}.vrf", "vrfs", scope.vrf)
        # A scope that nobody uses serves nobody: where its addresses stand is then no matter.
        subnets = [] if ctx.unsure else users.get(scope.id, [])
        check_pools(ctx, path, scope, subnets)
        check_network(ctx, path, scope, subnets)
        check_bindings(ctx, path, scope, subnets, owners)
        check_options(ctx, path, scope)


def port_addresses(ctx: Context) -> dict[tuple[str, str], Port]:
    """VRF and address -> the port that has it."""
    owners = {}
    for port in ctx.desired.ports:
        segment = ctx.tables["segments"].get(port.segment)
        if segment is not None:
            for address in port.addresses:
                owners.setdefault((segment.vrf, address), port)
    return owners


def check_pools(ctx: Context, path: str, scope: DhcpScope, subnets: list[Subnet]) -> None:
    spans = []
    for index, pool in enumerate(scope.pools):
        where = f"{path}.pools[{index}]"
        first = ctx.address(f"{where}.first", pool.first)
        last = ctx.address(f"{where}.last", pool.last)
        if first is None or last is None:
            continue
        text = f"{pool.first} to {pool.last}"
        if first > last:
            ctx.add(where, text, "is backwards; first is the lower one")
            continue
        spans.append((Prefix(first, last), (where, text)))
        if subnets and (mend := misplaced_pool(Prefix(first, last), subnets)):
            ctx.add(where, text, mend)
    for (where, text), (other, _) in overlaps(spans):
        ctx.add(where, text, f"overlaps {other}; keep pools apart")


def misplaced_pool(pool: Prefix, subnets: list[Subnet]) -> str:
    home = next((s for s in subnets if pool.within(s.prefix)), None)
    if home is None:
        names = ", ".join(s.segment.subnet for s in subnets)
        return f"is in no subnet of a segment that uses the scope; stay inside {names}"
    if home.prefix.edge(pool.first) or home.prefix.edge(pool.last):
        return f"has the network's or broadcast address of {home.segment.subnet}; leave it out"
    if home.gateway is not None and home.gateway in pool:
        return f"has the gateway {home.segment.gateway} in it; leave it out"
    return ""


def check_network(ctx: Context, path: str, scope: DhcpScope, subnets: list[Subnet]) -> None:
    if scope.gateway:
        check_inside(ctx, f"{path}.gateway", scope.gateway, subnets)
    ctx.no_repeats(f"{path}.dns", scope.dns)
    for index, text in enumerate(scope.dns):
        ctx.address(f"{path}.dns[{index}]", text)
    if len(scope.dns) > DNS_MAX:
        mend = f"servers do not fit one option; use {DNS_MAX} or fewer"
        ctx.add(f"{path}.dns", len(scope.dns), mend)
    if scope.domain and not is_domain(scope.domain):
        ctx.add(f"{path}.domain", scope.domain, "is not a domain name; use a form like example.com")
    for index, route in enumerate(scope.routes):
        ctx.prefix(f"{path}.routes[{index}].prefix", route.prefix)
        check_inside(ctx, f"{path}.routes[{index}].next_hop", route.next_hop, subnets)
    room = min((s.segment.mtu for s in subnets), default=None)
    if scope.mtu is not None and room is not None and scope.mtu > room:
        mend = f"is above the MTU of a segment that uses the scope; use {room} or less"
        ctx.add(f"{path}.mtu", scope.mtu, mend)


def check_inside(ctx: Context, path: str, text: str, subnets: list[Subnet]) -> Subnet | None:
    """The subnet that a host's address is in, of the segments that use the scope."""
    number = ctx.address(path, text)
    if number is None or not subnets:
        return None
    home = next((s for s in subnets if number in s.prefix), None)
    if home is None:
        names = ", ".join(s.segment.subnet for s in subnets)
        mend = f"is in no subnet of a segment that uses the scope; use an address of {names}"
        ctx.add(path, text, mend)
    elif home.prefix.edge(number):
        ctx.add(path, text, "is the network's or broadcast address; use one between")
    return home


def check_bindings(
    ctx: Context, path: str, scope: DhcpScope, subnets: list[Subnet], owners: dict
) -> None:
    macs, addresses = set(), set()
    for index, binding in enumerate(scope.bindings):
        where = f"{path}.bindings[{index}]"
        if ctx.mac(f"{where}.mac", binding.mac) and binding.mac in macs:
            ctx.add(f"{where}.mac", binding.mac, "stands there twice; a MAC is bound once")
        if binding.address in addresses:
            ctx.add(f"{where}.address", binding.address, "stands there twice; bind it once")
        macs.add(binding.mac)
        addresses.add(binding.address)
        home = check_inside(ctx, f"{where}.address", binding.address, subnets)
        if home is not None and address_number(binding.address) == home.gateway:
            ctx.add(f"{where}.address", binding.address, "is the segment's gateway; use another")
        port = owners.get((scope.vrf, binding.address))
        if port is not None and port.mac != binding.mac:
            mend = f"belongs to ports[{port.id}], whose MAC is {port.mac}; bind it to that"
            ctx.add(f"{where}.address", binding.address, mend)
        if binding.hostname and not HOSTNAME.fullmatch(binding.hostname):
            mend = "is not a host name; use letters, digits and hyphens"
            ctx.add(f"{where}.hostname", binding.hostname, mend)


def check_options(ctx: Context, path: str, scope: DhcpScope) -> None:
    seen = set()
    for index, option in enumerate(scope.options):
        where = f"{path}.options[{index}]"
        if option.code in OWN_OPTIONS:
            mend = f"is said by {OWN_OPTIONS[option.code]}; remove the option"
            ctx.add(f"{where}.code", option.code, mend)
        if option.code in seen:
            ctx.add(f"{where}.code", option.code, "stands there twice; keep one")
        seen.add(option.code)
        if not re.fullmatch(r"([0-9a-f]{2})+", option.value):
            mend = "is not hexadecimal bytes; use an even number of digits, like c0a80001"
            ctx.add(f"{where}.value", option.value, mend)
        elif len(option.value) > 2 * OPTION_MAX:
            mend = f"bytes do not fit an option; use {OPTION_MAX} or fewer"
            ctx.add(f"{where}.value", len(option.value) // 2, mend)


def is_domain(text: str) -> bool:
    labels = text.removesuffix(".").split(".")
    return len(text) <= NAME_MAX and all(HOSTNAME.fullmatch(label) for label in labels)
