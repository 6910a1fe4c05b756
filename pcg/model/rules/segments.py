"""Rules of VRFs, tunnel endpoints and segments."""

from pcg.model.addresses import GENEVE_OPTION, Prefix, address_number
from pcg.model.desired import Segment
from pcg.model.rules.context import NEVER_HOSTS, Context, Subnet, overlaps
from pcg.model.sizes import VRFS_MAX, overlay_mtu

SUBNET_LENGTH_MAX = 30  # room for our gateway and one workload


def check(ctx: Context) -> None:
    check_vrfs(ctx)
    check_teps(ctx)
    ctx.unique("segments", ctx.desired.segments)
    ctx.unsure |= len(ctx.tables["segments"]) != len(ctx.desired.segments)
    for segment in ctx.desired.segments:
        check_segment(ctx, segment, f"segments[{segment.id}]")
    check_vnis(ctx)
    check_overlaps(ctx)
    check_routed(ctx)


def check_vrfs(ctx: Context) -> None:
    vrfs = ctx.desired.vrfs
    ctx.unique("vrfs", vrfs)
    if len(vrfs) > VRFS_MAX:
        ctx.add("vrfs", len(vrfs), f"are too many; a gateway holds {VRFS_MAX}")
    for vrf in vrfs:
        if vrf.transit is not None:
            ctx.mac(f"vrfs[{vrf.id}].transit.gateway_mac", vrf.transit.gateway_mac)


def check_teps(ctx: Context) -> None:
    ours = {number for link in ctx.links.values() for number in link.addresses}
    seen = set()
    for tep in ctx.desired.teps:
        path = f"teps[{tep.address}]"
        number = ctx.address(f"{path}.address", tep.address)
        if number in ours:
            ctx.add(f"{path}.address", tep.address, "is our own address; list only other TEPs")
        if tep.address in seen:
            ctx.add(f"{path}.address", tep.address, "stands there twice; TEPs are unique")
        seen.add(tep.address)
        ctx.no_repeats(f"{path}.options", tep.options)
        for index, option in enumerate(tep.options):
            if not GENEVE_OPTION.fullmatch(option):
                mend = "is not class/type of a Geneve option; use the form 0x0104/0x80"
                ctx.add(f"{path}.options[{index}]", option, mend)


def check_segment(ctx: Context, segment: Segment, path: str) -> None:
    vrf = ctx.refer(f"{path}.vrf", "vrfs", segment.vrf)
    prefix = check_subnet(ctx, f"{path}.subnet", segment.subnet)
    ctx.unsure |= vrf is None or prefix is None
    gateway = ctx.address(f"{path}.gateway", segment.gateway)
    if prefix is not None and gateway is not None:
        if gateway not in prefix:
            mend = f"is outside the subnet {segment.subnet}; use an address of it"
            ctx.add(f"{path}.gateway", segment.gateway, mend)
        elif prefix.edge(gateway):
            mend = "is the network's or broadcast address; use one between"
            ctx.add(f"{path}.gateway", segment.gateway, mend)
    ctx.mac(f"{path}.gateway_mac", segment.gateway_mac)
    check_segment_mtu(ctx, segment, path)
    if segment.dhcp is not None:
        ctx.refer_in_vrf(f"{path}.dhcp", "dhcp", segment.dhcp, segment.vrf)
    ctx.no_repeats(f"{path}.replication", segment.replication)
    for index, tep in enumerate(segment.replication):
        ctx.refer(f"{path}.replication[{index}]", "teps", tep)


def check_subnet(ctx: Context, path: str, text: str) -> Prefix | None:
    prefix = ctx.prefix(path, text)
    if prefix is None:
        return None
    if prefix.size < 1 << (32 - SUBNET_LENGTH_MAX):
        mend = f"has no room for a gateway and a workload; use /{SUBNET_LENGTH_MAX} or shorter"
        ctx.add(path, text, mend)
        return None
    if any(prefix.overlaps(block) for block in NEVER_HOSTS):
        mend = "holds addresses that no host can have (0/8, 127/8, 224/3); use another"
        ctx.add(path, text, mend)
        return None
    return prefix


def check_segment_mtu(ctx: Context, segment: Segment, path: str) -> None:
    downlink = ctx.link("downlink")
    if downlink is None:
        return
    room = overlay_mtu(downlink.mtu)
    if segment.mtu > room:
        mend = f"does not fit the downlink's MTU {downlink.mtu}; use {room} or less"
        ctx.add(f"{path}.mtu", segment.mtu, mend)


def check_vnis(ctx: Context) -> None:
    """One number space: a packet's VNI alone says which segment or transit it is on."""
    owners: dict[int, str] = {}
    transits = [(v.transit.vni, f"vrfs[{v.id}].transit") for v in ctx.desired.vrfs if v.transit]
    for vni, path in [*transits, *((s.vni, f"segments[{s.id}]") for s in ctx.desired.segments)]:
        if vni in owners:
            ctx.add(f"{path}.vni", vni, f"is also the VNI of {owners[vni]}; give each its own")
        owners.setdefault(vni, path)


def check_overlaps(ctx: Context) -> None:
    in_order: dict[str, list[tuple[Prefix, Segment]]] = {}
    for subnet in ctx.subnets.values():
        in_order.setdefault(subnet.segment.vrf, []).append((subnet.prefix, subnet.segment))
    for vrf, spans in in_order.items():
        for later, earlier in overlaps(spans):
            ctx.unsure = True
            mend = f"overlaps {earlier.subnet} of segments[{earlier.id}] in VRF {vrf}; "
            ctx.add(f"segments[{later.id}].subnet", later.subnet, mend + "keep them apart")


def check_routed(ctx: Context) -> None:
    """The underlay has one address space, and routed prefixes live in it."""
    routed = [subnet for subnet in ctx.subnets.values() if subnet.segment.routed]
    for later, earlier in overlaps((s.prefix, s.segment) for s in routed):
        if later.vrf != earlier.vrf:
            mend = f"is routed and overlaps routed {earlier.subnet} of segments[{earlier.id}]; "
            ctx.add(f"segments[{later.id}].subnet", later.subnet, mend + "route only one of them")
    teps = [
        (n, t.address) for t in ctx.desired.teps if (n := address_number(t.address)) is not None
    ]
    for subnet in routed:
        check_routed_apart(ctx, subnet, teps)


def check_routed_apart(ctx: Context, subnet: Subnet, teps: list[tuple[int, str]]) -> None:
    path = f"segments[{subnet.segment.id}].subnet"
    for link in ctx.links.values():
        if any(subnet.prefix.overlaps(prefix) for prefix in link.addresses.values()):
            mend = f"is routed and overlaps the {link.role} interface's; use another subnet"
            ctx.add(path, subnet.segment.subnet, mend)
    inside = next((text for number, text in teps if number in subnet.prefix), None)
    if inside is not None:
        mend = f"is routed and holds the TEP {inside}; use another subnet"
        ctx.add(path, subnet.segment.subnet, mend)
