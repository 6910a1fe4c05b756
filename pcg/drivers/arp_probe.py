"""Is an address free on its link? RFC 5227 section 2.1: ask before using it.

Shorter than the RFC's probing of up to seven seconds: in a VPC a neighbour answers within a
millisecond or does not exist, and the gateway waits meanwhile.
"""

import socket
import struct
import time

PROBES = 3
SPACING_S = 0.05
ETH_P_ARP = 0x0806
BROADCAST = b"\xff" * 6
REQUEST = 1
ARP = struct.Struct("!HHBBH6s4s6s4s")  # RFC 826, Ethernet and IPv4


def holder(interface: str, address_be: bytes) -> bytes | None:
    """MAC of whoever answers for the address on this link, None when nobody does.

    Takes PROBES * SPACING_S seconds when it is free. Raises OSError: no permission, link down.
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)) as sock:
        sock.bind((interface, ETH_P_ARP))
        own = sock.getsockname()[4]
        arp = ARP.pack(1, 0x0800, 6, 4, REQUEST, own, bytes(4), bytes(6), address_be)
        frame = BROADCAST + own + struct.pack("!H", ETH_P_ARP) + arp
        for _ in range(PROBES):
            sock.send(frame)
            found = _listen(sock, own, address_be, time.monotonic() + SPACING_S)
            if found:
                return found
    return None


def _listen(sock: socket.socket, own: bytes, address_be: bytes, until: float) -> bytes | None:
    while (left := until - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            frame, (_, _, kind, *_) = sock.recvfrom(128)
        except TimeoutError:
            return None
        if kind == socket.PACKET_OUTGOING or len(frame) < 14 + ARP.size:
            continue
        *_, sender_mac, sender_be, _, _ = ARP.unpack_from(frame, 14)
        if sender_be == address_be and sender_mac != own:
            return sender_mac
    return None
