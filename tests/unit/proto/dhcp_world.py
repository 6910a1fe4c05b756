"""One segment with two ports; messages of its clients and of its engine as scapy writes them."""

from scapy.layers.dhcp import BOOTP, DHCP

from pcg.model.addresses import address_number, make_prefix
from pcg.model.desired import Port
from pcg.proto.roster import Client, Site
from pcg.wire import dhcp, udp

MAC, OTHER_MAC = bytes.fromhex("060000000001"), bytes.fromhex("060000000002")
GATEWAY, GATEWAY_MAC = bytes([192, 168, 1, 1]), bytes.fromhex("02000000000a")
LEASED = bytes([192, 168, 1, 100])
GIADDR = bytes([127, 0, 0, 1])
SUBNET = make_prefix(address_number("192.168.1.0"), 24)
SERVER = b"\x36\4" + GATEWAY
SITE = Site("web", "t1", 101, GATEWAY, GATEWAY_MAC, SUBNET, 8943, 86400, SERVER)
ZERO, ONES = bytes(4), b"\xff" * 4
XID = 0x1234


def client(
    name: str = "vm-1", mac: bytes = MAC, addresses: tuple = (), site=SITE, **more
) -> Client:
    tep = "10.0.2.21"
    port = Port(
        id=name, segment=site.segment, mac=mac.hex(":"), addresses=addresses, tep=tep, **more
    )
    return Client(port, site)


def dotted(be: bytes) -> str:
    return ".".join(map(str, be))


def message(kind, *options, op=1, mac=MAC, xid=XID, tail=b"", **header) -> bytes:
    """`options` as scapy names them; `tail`: raw ones after these."""
    dots = {k: dotted(v) if k.endswith("addr") else v for k, v in header.items()}
    whole = BOOTP(op=op, chaddr=mac + bytes(10), xid=xid, **dots)
    return bytes(whole / DHCP(options=[("message-type", kind), *options])) + tail + b"\xff"


def frame(payload, src=ZERO, dst=ONES, mac=MAC, sport=68, dport=67) -> bytes:
    return udp.build(udp.Datagram(b"\xff" * 6, mac, src, dst, sport, dport, payload))


def replied(kind, *options, to: Client, yiaddr=LEASED, **header) -> bytes:
    """What an engine says to a message that came with the client's option 82."""
    tail = to.option
    header = {"giaddr": GIADDR, "hops": 1, "mac": to.mac} | header
    ours = ("server_id", "127.0.0.1")
    return message(kind, *options, ours, op=2, yiaddr=yiaddr, tail=tail, **header)


def seen(ethernet: bytes) -> tuple[udp.Datagram, dhcp.Message]:
    datagram = udp.parse(ethernet)
    return datagram, dhcp.parse(datagram.payload)
