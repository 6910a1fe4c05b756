"""Rules of the gateway itself: its interfaces, its TEP, its HA peer."""

import re

from pcg.model.desired import Gateway, Ha, Interface
from pcg.model.rules.context import Context, Link, overlaps
from pcg.model.sizes import ETHERNET_LEN, FRAME_MAX, INTERFACE_NAME_MAX
from pcg.model.terms import DhcpRates, ErrorRates

# What Linux takes (dev_valid_name), less what would need quoting in nft and shells.
INTERFACE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")
ROLES = ("uplink", "downlink", "management")


def check(ctx: Context) -> None:
    gateway = ctx.desired.gateway
    if gateway is not None:
        for role in ROLES:
            interface = getattr(gateway.interfaces, role)
            check_interface(ctx, f"gateway.interfaces.{role}", interface, ctx.links[role])
        check_distinct(ctx, gateway)
        check_tep(ctx, gateway)
        check_errors(ctx, gateway.errors)
        check_dhcp_requests(ctx, gateway.dhcp_requests)
        if ctx.desired.ha is not None:
            check_ha(ctx, gateway, ctx.desired.ha)


def interface_name_problem(name: str) -> str:
    """What is wrong with the name of a network device, or ""."""
    if len(name.encode()) > INTERFACE_NAME_MAX:
        return f"is too long; Linux takes {INTERFACE_NAME_MAX} bytes"
    if not INTERFACE_NAME.fullmatch(name):
        return "is not an interface name; use letters, digits, '_', '.', '-'"
    return ""


def check_interface(ctx: Context, path: str, interface: Interface, link: Link) -> None:
    if wrong := interface_name_problem(interface.name):
        ctx.add(f"{path}.name", interface.name, wrong)
    if link.role != "management":
        check_mtu(ctx, path, interface)
    numbers = set()
    for index, text in enumerate(interface.addresses):
        number = check_interface_address(ctx, f"{path}.addresses[{index}]", text, link)
        if number in numbers:
            ctx.add(f"{path}.addresses[{index}]", text, "stands there twice; keep one")
        numbers.add(number)
    if interface.gateway:
        check_next_hop(ctx, f"{path}.gateway", interface.gateway, link)


def check_mtu(ctx: Context, path: str, interface: Interface) -> None:
    if interface.mtu > FRAME_MAX - ETHERNET_LEN:
        mend = f"is above what the datapath carries; use {FRAME_MAX - ETHERNET_LEN} or less"
        ctx.add(f"{path}.mtu", interface.mtu, mend)


def check_interface_address(ctx: Context, path: str, text: str, link: Link) -> int | None:
    address, slash, _ = text.partition("/")
    if not slash:
        ctx.add(path, text, f"has no length; write it with its subnet's, like {text}/24")
        return None
    number = ctx.address(path, address)
    if number is None:
        return None
    if number not in link.addresses:
        ctx.add(path, text, "is not an address with its length; use /0 to /32")
        return None
    if link.addresses[number].edge(number):
        ctx.add(path, text, "is the network's or broadcast address; use one between")
    return number


def check_next_hop(ctx: Context, path: str, text: str, link: Link) -> None:
    """A neighbour on that interface."""
    number = ctx.address(path, text)
    if number is None:
        return
    subnet = link.subnet_of(number)
    if number in link.addresses:
        ctx.add(path, text, "is our own address; name the router's")
    elif subnet is None and link.whole:
        ctx.add(path, text, f"is in no subnet of the {link.role}; use a neighbour's address")
    elif subnet is not None and subnet.edge(number):
        ctx.add(path, text, "is the network's or broadcast address; use a neighbour's")


def check_distinct(ctx: Context, gateway: Gateway) -> None:
    """Each interface is another device in another subnet: else replies leave by the wrong one."""
    names: dict[str, str] = {}
    spans = []
    for role, link in ctx.links.items():
        path = f"gateway.interfaces.{role}"
        if link.name in names:
            mend = f"is also the {names[link.name]}'s; use three interfaces"
            ctx.add(f"{path}.name", link.name, mend)
        names.setdefault(link.name, role)
        spans += [(prefix, role) for prefix in dict.fromkeys(link.addresses.values())]
    for later, earlier in dict.fromkeys(overlaps(spans)):
        if later != earlier:
            mend = f"overlaps a subnet of the {earlier}; give each interface its own"
            texts = ", ".join(getattr(gateway.interfaces, later).addresses)
            ctx.add(f"gateway.interfaces.{later}.addresses", texts, mend)


def check_tep(ctx: Context, gateway: Gateway) -> None:
    number = ctx.address("gateway.tep", gateway.tep)
    if number is not None and number not in ctx.links["downlink"].addresses:
        ours = ", ".join(a.partition("/")[0] for a in gateway.interfaces.downlink.addresses)
        mend = f"use one of {ours}" if ours else "give the downlink that address"
        ctx.add("gateway.tep", gateway.tep, f"is not an address of the downlink; {mend}")


def check_errors(ctx: Context, rates: ErrorRates) -> None:
    if rates.per_second and rates.per_source > rates.per_second:
        mend = f"is more than for all sources; use per_second's {rates.per_second} or less"
        ctx.add("gateway.errors.per_source", rates.per_source, mend)


def check_dhcp_requests(ctx: Context, rates: DhcpRates) -> None:
    if rates.per_port > rates.per_second:
        mend = f"is more than for all ports; use per_second's {rates.per_second} or less"
        ctx.add("gateway.dhcp_requests.per_port", rates.per_port, mend)


def check_ha(ctx: Context, gateway: Gateway, ha: Ha) -> None:
    if ha.peer == gateway.id:
        ctx.add("ha.peer", ha.peer, "is this gateway itself; name the other one")
    if ctx.address("ha.peer_tep", ha.peer_tep) is not None and ha.peer_tep == gateway.tep:
        ctx.add("ha.peer_tep", ha.peer_tep, "is our own TEP; name the peer's")
