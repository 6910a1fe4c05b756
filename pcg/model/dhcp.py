"""DHCP scopes, as desired state has them."""

from typing import Annotated

import msgspec

from pcg.model.kinds import Address, Hex, Id, Mac, Mtu, Prefix, Value


class AddressRange(Value):
    first: Address
    last: Address


class StaticBinding(Value):
    mac: Mac
    address: Address
    hostname: str = ""


class DhcpRoute(Value):
    """Option 121, RFC 3442."""

    prefix: Prefix
    next_hop: Address


class DhcpOption(Value):
    code: Annotated[int, msgspec.Meta(ge=1, le=254)]
    value: Hex  # bytes, "c0a80001"


class DhcpScope(Value):
    id: Id
    vrf: Id
    pools: tuple[AddressRange, ...] = ()
    lease_s: Annotated[int, msgspec.Meta(ge=60, le=0xFFFFFFFF)] = 86400
    gateway: Address = ""
    dns: tuple[Address, ...] = ()
    domain: str = ""
    routes: tuple[DhcpRoute, ...] = ()
    mtu: Mtu | None = None
    options: tuple[DhcpOption, ...] = ()
    bindings: tuple[StaticBinding, ...] = ()
