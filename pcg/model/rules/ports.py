"""Rules of workload ports. A document may have a hundred thousand: what is right stays cheap."""

from pcg.model.addresses import MAC, address_number
from pcg.model.desired import Port, Segment
from pcg.model.rules.context import Context

ZERO_MAC = "00:00:00:00:00:00"
MULTICAST_DIGITS = frozenset("13579bdf")  # second digit of a MAC with the group bit


def check(ctx: Context) -> None:
    ctx.unique("ports", ctx.desired.ports)
    routers = _router_macs(ctx)
    macs: dict[tuple[str, str], str] = {}  # segment, MAC -> port
    addresses: dict[tuple[str, int], str] = {}  # VRF, address -> port
    teps, segments = ctx.tables["teps"], ctx.tables["segments"]
    for port in ctx.desired.ports:
        if port.segment not in segments:
            ctx.refer(f"ports[{port.id}].segment", "segments", port.segment)
        if port.tep not in teps:
            check_tep(ctx, port)
        check_mac(ctx, port, macs, routers)
        check_addresses(ctx, port, addresses)


def check_tep(ctx: Context, port: Port) -> None:
    path = f"ports[{port.id}].tep"
    if ctx.desired.gateway is not None and port.tep == ctx.desired.gateway.tep:
        ctx.add(path, port.tep, "is our own TEP; name that of the workload's host")
    elif ctx.address(path, port.tep) is not None:
        ctx.refer(path, "teps", port.tep)


def check_mac(
    ctx: Context, port: Port, macs: dict[tuple[str, str], str], routers: dict[str, set[str]]
) -> None:
    mac = port.mac
    if not MAC.fullmatch(mac) or mac == ZERO_MAC or mac[1] in MULTICAST_DIGITS:
        ctx.mac(f"ports[{port.id}].mac", mac)
        return
    other = macs.setdefault((port.segment, mac), port.id)
    if other != port.id:
        mend = f"is also the MAC of ports[{other}] on segment {port.segment}; give each its own"
        ctx.add(f"ports[{port.id}].mac", mac, mend)
    if mac in routers.get(port.segment, ()):
        ctx.add(f"ports[{port.id}].mac", mac, "is the gateway's MAC; use the workload's own")


def check_addresses(ctx: Context, port: Port, owners: dict[tuple[str, int], str]) -> None:
    subnet = ctx.subnets.get(port.segment)
    if not port.addresses and subnet is not None:
        check_dynamic(ctx, port, subnet.segment)
    for index, text in enumerate(port.addresses):
        number = address_number(text)
        if number is None:
            ctx.address(f"ports[{port.id}].addresses[{index}]", text)
            continue
        if subnet is None:
            continue
        segment, (first, last), gateway = subnet
        if not first < number < last or number == gateway:
            ctx.add(f"ports[{port.id}].addresses[{index}]", text, _misplaced(number, subnet))
        other = owners.setdefault((segment.vrf, number), port.id)
        if other != port.id:
            mend = f"is also an address of ports[{other}] in VRF {segment.vrf}; give each its own"
            ctx.add(f"ports[{port.id}].addresses[{index}]", text, mend)
        elif index and text in port.addresses[:index]:
            ctx.add(f"ports[{port.id}].addresses[{index}]", text, "stands there twice; keep one")


def check_dynamic(ctx: Context, port: Port, segment: Segment) -> None:
    """A port without addresses waits for a lease: somebody must be able to give it one."""
    path = f"ports[{port.id}].addresses"
    if segment.dhcp is None:
        ctx.add(path, None, f"is empty; write one, or give segment {segment.id} a DHCP scope")
        return
    scope = ctx.tables["dhcp"].get(segment.dhcp)
    if scope is None or scope.pools:
        return
    if not any(b.client_id or b.mac == port.mac for b in scope.bindings):
        mend = f"is empty, and dhcp[{scope.id}] has neither a pool nor a binding for it; add one"
        ctx.add(path, None, mend)


def _misplaced(number: int, subnet: tuple) -> str:
    segment, prefix, gateway = subnet
    if number not in prefix:
        return f"is outside {segment.subnet} of segment {segment.id}; use an address of it"
    if number == gateway:
        return f"is the gateway of segment {segment.id}; use another"
    return f"is the network's or broadcast address of {segment.subnet}; use one between"


def _router_macs(ctx: Context) -> dict[str, set[str]]:
    """Segment id -> MACs by which its workloads reach a router."""
    macs = {}
    for segment in ctx.desired.segments:
        vrf = ctx.tables["vrfs"].get(segment.vrf)
        macs[segment.id] = {segment.gateway_mac}
        if vrf is not None and vrf.transit is not None:
            macs[segment.id].add(vrf.transit.gateway_mac)
    return macs
