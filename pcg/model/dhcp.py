"""DHCP scopes, as desired state has them."""

from typing import Annotated

import msgspec

from pcg.model.kinds import Address, Hex, Id, Mac, Mtu, Prefix, Value


class AddressRange(Value):
    first: Address
    last: Address


class StaticBinding(Value):
    """Exactly one of mac and client_id says whose the address is."""

    address: Address
    mac: Mac = ""
    client_id: Hex = ""  # option 61 as it is sent, its type byte included: "0106171e000109"
    hostname: str = ""


class DhcpRoute(Value):
    """Option 121, RFC 3442."""

    prefix: Prefix
    next_hop: Address


class DhcpOption(Value):
    """An option by its number, and exactly one of the others: its value as its type has it."""

    code: Annotated[int, msgspec.Meta(ge=1, le=254)]
    value: Hex = ""  # bytes, "c0a80001"
    text: str = ""
    addresses: tuple[Address, ...] = ()
    uint8: Annotated[int, msgspec.Meta(ge=0, le=0xFF)] | None = None  # also for true and false
    uint16: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)] | None = None
    uint32: Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)] | None = None


class DhcpScope(Value):
    """What segments that name it hand out. Subnet mask (1), broadcast address (28) and server (54)
    are the segment's own. `gateway` absent, or of another segment's subnet: the segment's gateway.
    """

    id: Id
    vrf: Id
    pools: tuple[AddressRange, ...] = ()
    exclusions: tuple[AddressRange, ...] = ()  # never handed out of the pools
    lease_s: Annotated[int, msgspec.Meta(ge=60, le=0xFFFFFFFF)] = 86400
    gateway: Address = ""
    dns: tuple[Address, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()  # option 119, RFC 3397
    ntp: tuple[Address, ...] = ()  # option 42
    routes: tuple[DhcpRoute, ...] = ()  # the default route is added: RFC 3442 ignores option 3
    mtu: Mtu | None = None  # absent: the segment's
    tftp_server: str = ""  # option 66: a name or an address
    bootfile: str = ""  # option 67
    options: tuple[DhcpOption, ...] = ()
    bindings: tuple[StaticBinding, ...] = ()
