"""Rules of DHCP scopes: the addresses they hand out must fit the segments that use them."""

from pcg.model.addresses import Prefix, address_number
from pcg.model.desired import Port
from pcg.model.dhcp import AddressRange, DhcpScope, StaticBinding
from pcg.model.rules import dhcp_options
from pcg.model.rules.context import Context, Subnet, overlaps

CLIENT_ID_MIN, CLIENT_ID_MAX = 2, 128  # bytes: RFC 2132 section 9.14; Kea's limit


def check(ctx: Context) -> None:
    ctx.unique("dhcp", ctx.desired.dhcp)
    users: dict[str, list[Subnet]] = {}
    for subnet in ctx.subnets.values():
        if subnet.segment.dhcp is not None:
            users.setdefault(subnet.segment.dhcp, []).append(subnet)
    owners = port_owners(ctx) if any(s.bindings for s in ctx.desired.dhcp) else {}
    for scope in ctx.desired.dhcp:
        path = f"dhcp[{scope.id}]"
        ctx.refer(f"{path}.vrf", "vrfs", scope.vrf)
        # A scope that nobody uses serves nobody: where its addresses stand is then no matter.
        subnets = [] if ctx.unsure else users.get(scope.id, [])
        check_pools(ctx, path, scope, subnets)
        check_ways(ctx, path, scope, subnets)
        check_bindings(ctx, path, scope, subnets, owners)
        dhcp_options.check(ctx, path, scope, subnets)


def port_owners(ctx: Context) -> dict[tuple[str, str], Port]:
    """VRF and address, and segment and MAC -> the port that has it."""
    owners = {}
    for port in ctx.desired.ports:
        segment = ctx.tables["segments"].get(port.segment)
        if segment is not None:
            owners.setdefault((port.segment, port.mac), port)
            for address in port.addresses:
                owners.setdefault((segment.vrf, address), port)
    return owners


def check_pools(ctx: Context, path: str, scope: DhcpScope, subnets: list[Subnet]) -> None:
    spans = []
    for index, pool in enumerate(scope.pools):
        where, text = f"{path}.pools[{index}]", f"{pool.first} to {pool.last}"
        span = read_range(ctx, where, pool)
        if span is None:
            continue
        spans.append((span, (where, text)))
        if subnets and (mend := misplaced_pool(span, subnets)):
            ctx.add(where, text, mend)
    for (where, text), (other, _) in overlaps(spans):
        ctx.add(where, text, f"overlaps {other}; keep pools apart")
    for index, exclusion in enumerate(scope.exclusions):
        where = f"{path}.exclusions[{index}]"
        span = read_range(ctx, where, exclusion)
        if span and len(spans) == len(scope.pools) and not any(span.overlaps(p) for p, _ in spans):
            mend = "is in no pool of the scope, so it excludes nothing; remove it"
            ctx.add(where, f"{exclusion.first} to {exclusion.last}", mend)


def read_range(ctx: Context, where: str, span: AddressRange) -> Prefix | None:
    first = ctx.address(f"{where}.first", span.first)
    last = ctx.address(f"{where}.last", span.last)
    if first is None or last is None:
        return None
    if first > last:
        ctx.add(where, f"{span.first} to {span.last}", "is backwards; first is the lower one")
        return None
    return Prefix(first, last)


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


def check_ways(ctx: Context, path: str, scope: DhcpScope, subnets: list[Subnet]) -> None:
    if scope.gateway:
        check_inside(ctx, f"{path}.gateway", scope.gateway, subnets)
    for index, route in enumerate(scope.routes):
        ctx.prefix(f"{path}.routes[{index}].prefix", route.prefix)
        check_inside(ctx, f"{path}.routes[{index}].next_hop", route.next_hop, subnets)


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
    clients: set[tuple[str, str, str]] = set()
    addresses: set[str] = set()
    for index, binding in enumerate(scope.bindings):
        where = f"{path}.bindings[{index}]"
        if binding.address in addresses:
            ctx.add(f"{where}.address", binding.address, "stands there twice; bind it once")
        addresses.add(binding.address)
        home = check_inside(ctx, f"{where}.address", binding.address, subnets)
        check_client(ctx, where, binding, home.segment.id if home else "", clients)
        if home is not None and address_number(binding.address) == home.gateway:
            ctx.add(f"{where}.address", binding.address, "is the segment's gateway; use another")
        port = owners.get((scope.vrf, binding.address))
        if port is not None and port.mac != binding.mac:
            mend = f"belongs to ports[{port.id}], whose MAC is {port.mac}; bind it to that"
            ctx.add(f"{where}.address", binding.address, mend)
        elif port is None and home is not None:
            check_other_address(ctx, where, binding, owners.get((home.segment.id, binding.mac)))
        if binding.hostname and not dhcp_options.HOSTNAME.fullmatch(binding.hostname):
            mend = "is not a host name; use letters, digits and hyphens"
            ctx.add(f"{where}.hostname", binding.hostname, mend)


def check_client(
    ctx: Context, where: str, binding: StaticBinding, segment: str, clients: set
) -> None:
    """Whose the address is: a MAC or a client identifier, bound once in each segment."""
    if bool(binding.mac) == bool(binding.client_id):
        wrong = "has mac and client_id" if binding.mac else "is nobody's"
        ctx.add(where, None, f"{wrong}; give it exactly one of mac, client_id")
        return
    name = "mac" if binding.mac else "client_id"
    text = getattr(binding, name)
    if name == "client_id":
        right = dhcp_options.check_hex(
            ctx, f"{where}.client_id", text, CLIENT_ID_MIN, CLIENT_ID_MAX, "client identifier"
        )
    else:
        right = ctx.mac(f"{where}.mac", text)
    if right and (name, text, segment) in clients:
        noun = "a MAC" if binding.mac else "a client"
        ctx.add(f"{where}.{name}", text, f"stands there twice; {noun} is bound once")
    clients.add((name, text, segment))


def check_other_address(
    ctx: Context, where: str, binding: StaticBinding, port: Port | None
) -> None:
    """A port that has addresses may send from these alone: another one would be of no use to it."""
    if port is not None and port.addresses and binding.address not in port.addresses:
        mend = f"is none of ports[{port.id}], which has that MAC; bind it to {port.addresses[0]}"
        ctx.add(f"{where}.address", binding.address, mend)
