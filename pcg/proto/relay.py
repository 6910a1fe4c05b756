"""DHCP relay agent, the decisions: which message goes on, as which bytes, to whom. No I/O.

    client --DISCOVER, REQUEST ...--> request()  one hop more, giaddr, option 82 --> engine
    client <---- OFFER, ACK, NAK ---- reply()    option 82 out, addressed <--------- engine

To the client we are the server: replies come from the segment's gateway address, which is also
the server identifier, so that its renewals are unicast to us and need no route to the engine.
Each refusal is a RefusedError with a reason of relay_words, counted by its owner.
"""

from collections.abc import Mapping
from typing import NamedTuple

from pcg.model.errors import PcgError
from pcg.proto.roster import Asked, Client
from pcg.wire import dhcp, udp

HOPS_MAX = 4  # RFC 1542 section 4.1.1: discard above; 16 at most, 4 is the default asked for
ENGINE_READS = 1500  # bytes: Kea cuts a longer message
DECLINE_S = 10.0  # a port declines no more often: each takes an address out of the pool for long
SERVER_PORT, CLIENT_PORT = 67, 68
NONE = bytes(4)


class RefusedError(PcgError):
    """A message that goes no further."""

    def __init__(self, reason: str, client: Client | None = None) -> None:
        self.reason, self.client = reason, client
        super().__init__(reason)


class Request(NamedTuple):
    """What goes to the engine."""

    client: Client
    message: dhcp.Message
    data: bytes


class Reply(NamedTuple):
    """What the engine said to a client."""

    client: Client
    message: dhcp.Message
    data: bytes
    lease_s: int  # 0: it says nothing of one


def request(client: Client, frame: bytes, giaddr: bytes, now: float) -> Request:
    """A client's frame, as the engine shall get it; `now` monotonic. Raises RefusedError."""
    try:
        datagram = udp.parse(frame)
        if datagram.dport != SERVER_PORT:
            raise RefusedError("FRAME", client)
        message = dhcp.parse(datagram.payload)
    except dhcp.DhcpError as e:
        raise RefusedError(e.reason, client) from None
    except udp.FrameError:
        raise RefusedError("FRAME", client) from None
    if why := _wrong(client, message):
        raise RefusedError(why, client)
    data = dhcp.to_server(datagram.payload, message, giaddr, client.option)
    if len(data) > ENGINE_READS:
        raise RefusedError("OVERSIZED", client)
    if message.type == dhcp.INFORM:
        # Kea would answer to ciaddr itself (RFC 2131 section 4.3.5), past us and into a network
        # that this host is no part of. So it does not get to know it.
        client.asked = Asked(message.xid, message.ciaddr, message.flags)
        data = dhcp.without_address(data)
    elif message.type == dhcp.DECLINE:
        if now < client.declined_at + DECLINE_S:
            raise RefusedError("DECLINE_RATE", client)
        client.declined_at = now
    elif message.type == dhcp.REQUEST_TYPE:
        client.hostname = dhcp.host_name(message.options.get(dhcp.HOSTNAME, b""))
    return Request(client, message, data)


def _wrong(client: Client, message: dhcp.Message) -> str:
    """Why it may not go on; "" when it may."""
    options = message.options
    if message.op != dhcp.REQUEST or message.type not in dhcp.CLIENT_TYPES:
        return "NOT_A_CLIENT"
    if message.mac != client.mac:
        return "CHADDR"
    if message.giaddr != NONE:
        return "RELAYED"
    if dhcp.RELAY in options:
        return "OPTION_82"
    if message.hops > HOPS_MAX:
        return "HOPS"
    if options.get(dhcp.SERVER, client.site.gateway) != client.site.gateway:
        return "OTHER_SERVER"
    return ""


def reply(data: bytes, clients: Mapping[bytes, Client]) -> Reply:
    """An engine's datagram and for whom it is; `clients` by circuit id. Raises RefusedError."""
    try:
        message = dhcp.parse(data)
        relayed = dhcp.read_sub_options(message.options.get(dhcp.RELAY, b""))
    except dhcp.DhcpError:
        raise RefusedError("REPLY_BROKEN") from None
    client = clients.get(relayed.get(dhcp.CIRCUIT, b""))
    if client is None or message.op != dhcp.REPLY or message.type not in dhcp.SERVER_TYPES:
        raise RefusedError("REPLY_BROKEN", client)
    if message.mac != client.mac:
        raise RefusedError("REPLY_BROKEN", client)
    lease_s = int.from_bytes(message.options.get(dhcp.LEASE_S, b""), "big")
    return Reply(client, message, data, min(lease_s, client.site.lease_s))


def frame(said: Reply) -> bytes:
    """The Ethernet frame for the client's port. Raises RefusedError."""
    client, message, data, lease_s = said
    ciaddr, flags = message.ciaddr, message.flags
    asked = client.asked
    if asked and asked.xid == message.xid and message.type == dhcp.ACK:
        ciaddr, flags, client.asked = asked.ciaddr, asked.flags, None
    site = client.site
    mac, to = towards(message.type, flags, ciaddr, message.yiaddr, client.mac)
    ours = {dhcp.SERVER: site.server}
    if lease_s:
        ours[dhcp.LEASE_S] = dhcp.option(dhcp.LEASE_S, lease_s.to_bytes(4, "big"))
    payload = dhcp.to_client(data, message, ciaddr, flags, ours)
    if len(payload) + 28 > site.mtu:
        raise RefusedError("REPLY_TOO_BIG", client)
    ends = mac, site.gateway_mac, site.gateway, to, SERVER_PORT, CLIENT_PORT
    return udp.build(udp.Datagram(*ends, payload))


def towards(kind: int, flags: int, ciaddr: bytes, yiaddr: bytes, mac: bytes) -> tuple[bytes, bytes]:
    """Where a reply goes: (MAC, address), as RFC 2131 section 4.1 has it for giaddr 0.

    >>> towards(dhcp.OFFER, 0, bytes(4), b"yyyy", b"client")
    (b'client', b'yyyy')
    """
    if kind != dhcp.NAK:
        if ciaddr != NONE:
            return mac, ciaddr
        if yiaddr != NONE and not flags & dhcp.BROADCAST:
            return mac, yiaddr
    return udp.BROADCAST_MAC, udp.BROADCAST
