"""Rules of routes and public addresses: how a VRF reaches the uplink and is reached from it."""

from pcg.model.addresses import address_number
from pcg.model.desired import PublicAddress, Route, route_key
from pcg.model.rules.context import NEVER_HOSTS, Context, Link, subnet_at
from pcg.model.rules.gateway import check_next_hop
from pcg.model.sizes import PUBLIC_ADDRESSES_MAX


def check(ctx: Context) -> None:
    connected = {(s.segment.vrf, s.prefix): s.segment.id for s in ctx.subnets.values()}
    seen = set()
    for route in ctx.desired.routes:
        path = f"routes[{route_key(route)}]"
        if route_key(route) in seen:
            ctx.add(f"{path}.prefix", route.prefix, "stands there twice in this VRF; keep one")
        seen.add(route_key(route))
        ctx.refer(f"{path}.vrf", "vrfs", route.vrf)
        check_route_prefix(ctx, path, route, connected)
        check_target(ctx, path, route)
    check_publics(ctx)


def check_route_prefix(ctx: Context, path: str, route: Route, connected: dict) -> None:
    prefix = ctx.prefix(f"{path}.prefix", route.prefix)
    if prefix is None:
        return
    owner = connected.get((route.vrf, prefix))
    if owner is not None:
        mend = f"is the subnet of segments[{owner}], whose route is implied; remove this one"
        ctx.add(f"{path}.prefix", route.prefix, mend)
    if any(prefix.within(block) for block in NEVER_HOSTS):
        mend = "is never forwarded (0/8, 127/8, 224/3); remove the route"
        ctx.add(f"{path}.prefix", route.prefix, mend)


def check_target(ctx: Context, path: str, route: Route) -> None:
    given = {
        "next_hop": bool(route.next_hop),
        "segment": route.segment is not None,
        "blackhole": route.blackhole,
    }
    targets = [name for name, there in given.items() if there]
    if len(targets) != 1:
        wrong = f"has {' and '.join(targets)}" if targets else "leads nowhere"
        ctx.add(path, None, f"{wrong}; give it exactly one of {', '.join(given)}")
    if route.segment is not None:
        ctx.refer_in_vrf(f"{path}.segment", "segments", route.segment, route.vrf)
    uplink = ctx.link("uplink")
    if route.next_hop and uplink is not None:
        check_next_hop(ctx, f"{path}.next_hop", route.next_hop, uplink)
        # A packet sent to one of our own secondary addresses would come back for ever.
        if route.next_hop in ctx.secondaries:
            mend = f"is our own, of public_addresses[{ctx.secondaries[route.next_hop]}]; "
            ctx.add(f"{path}.next_hop", route.next_hop, mend + "name the router's")


def check_publics(ctx: Context) -> None:
    publics = ctx.desired.public_addresses
    ctx.unique("public_addresses", publics)
    if len(publics) > PUBLIC_ADDRESSES_MAX:
        mend = f"are too many; a gateway holds {PUBLIC_ADDRESSES_MAX}"
        ctx.add("public_addresses", len(publics), mend)
    elastic: dict[str, str] = {}  # Elastic IP -> id
    secondary: dict[tuple[str, str], str] = {}  # gateway, address -> id
    routed = sorted((s for s in ctx.subnets.values() if s.segment.routed), key=lambda s: s.prefix)
    for public in publics:
        path = f"public_addresses[{public.id}]"
        ctx.refer(f"{path}.vrf", "vrfs", public.vrf)
        check_elastic(ctx, path, public, elastic)
        check_elastic_place(ctx, path, public, routed)
        for gateway, address in public.secondary.items():
            check_secondary(ctx, f"{path}.secondary[{gateway}]", gateway, address)
            other = secondary.setdefault((gateway, address), public.id)
            if other != public.id:
                mend = f"is also the secondary address of public_addresses[{other}]; use another"
                ctx.add(f"{path}.secondary[{gateway}]", address, mend)


def check_elastic(ctx: Context, path: str, public: PublicAddress, seen: dict[str, str]) -> None:
    other = seen.setdefault(public.address, public.id)
    if other != public.id:
        mend = f"is also the address of public_addresses[{other}]; an Elastic IP is used once"
        ctx.add(f"{path}.address", public.address, mend)


def check_elastic_place(ctx: Context, path: str, public: PublicAddress, routed: list) -> None:
    number = ctx.address(f"{path}.address", public.address)
    if number is None:
        return
    for link in ctx.links.values():
        if number in link.addresses:
            mend = f"is our own address on the {link.role}; write the Elastic IP"
            ctx.add(f"{path}.address", public.address, mend)
    inside = ctx.segment_at(public.vrf, number) or subnet_at(routed, number)
    if inside is not None:
        mend = f"is inside {inside.segment.subnet} of segments[{inside.segment.id}]; "
        ctx.add(f"{path}.address", public.address, mend + "write the Elastic IP")


def check_secondary(ctx: Context, path: str, gateway: str, address: str) -> None:
    if ctx.desired.gateway is None:
        return
    ours, ha = ctx.desired.gateway.id, ctx.desired.ha
    known = {ours} | ({ha.peer} if ha else set())
    told = ctx.missing.any("ha") or (ha is not None and ha.peer == ours)  # the peer is not known
    if gateway not in known and not told:
        mend = f"is neither this gateway nor its peer; use {' or '.join(sorted(known))}"
        ctx.add(path, gateway, mend)
    number = ctx.address(path, address)
    if number is not None and gateway == ours:
        check_on_uplink(ctx, path, address, number, ctx.links["uplink"])


def check_on_uplink(ctx: Context, path: str, address: str, number: int, uplink: Link) -> None:
    subnet = uplink.subnet_of(number)
    router = address_number(ctx.desired.gateway.interfaces.uplink.gateway)
    if number in uplink.addresses:
        mend = "is the uplink's own address, which stays with the kernel; use a secondary one"
        ctx.add(path, address, mend)
    elif subnet is None and uplink.whole:
        ctx.add(path, address, "is in no subnet of the uplink; use an address the cloud gave it")
    elif subnet is not None and subnet.edge(number):
        ctx.add(path, address, "is the network's or broadcast address; use one between")
    elif number == router:
        ctx.add(path, address, "is the uplink's gateway; use an address the cloud gave us")
