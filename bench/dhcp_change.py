"""A change of one scope among a thousand: how long until a client's offer says so.

Measured from the moment the controller's file is replaced to the first OFFER with the new DNS
server, as it comes out of the tunnel. Clients of the segment ask in turn, each seldom enough not
to be limited. A change soon behind another one waits for it (Kea serves nobody while it reads its
configuration, so it is let rest): between two is a pause.
"""

import itertools
import socket
import struct
import time
from collections.abc import Iterator

from msgspec.structs import replace

from bench import dhcp_place, frames, world
from bench.dhcp_place import Place
from bench.rows import Row, percentile
from pcg.lab import ns

SCOPES, CLIENTS, CHANGED, TIMES = 1000, 10_000, 500, 5
EVERY_S, PAUSE_S, PATIENCE_S = 0.02, 15.0, 60.0
COOKIE = bytes.fromhex("63825363")
DNS_OPTION, END = 6, 255
OPTIONS_AT = frames.ETHER + frames.IPV4 + frames.UDP_HEAD + 240  # in the inner frame
OUTER = frames.ETHER + frames.IPV4 + frames.UDP_HEAD + 16


def discover(place: Place, i: int, xid: int) -> bytes:
    """Of client i, as a frame on the wire."""
    mac = bytes.fromhex(dhcp_place.mac(i).replace(":", ""))
    bootp = struct.pack("!BBBBI", 1, 1, 6, 0, xid) + bytes(20) + mac + bytes(202) + COOKIE
    bootp += bytes((53, 1, 1, 55, 1, DNS_OPTION, END))
    packet = frames.udp(bytes(4), b"\xff" * 4, 68, 67, bootp.ljust(300, b"\0"))
    inner = b"\xff" * 6 + mac + b"\x08\x00" + packet
    header = frames.geneve(dhcp_place.FIRST_VNI + i // (CLIENTS // SCOPES))
    tep = bytes(map(int, dhcp_place.tep(i).split(".")))
    outer = frames.udp(tep, place.tep, 0xC000, frames.GENEVE_PORT, header + inner)
    return frames.ethernet(place.mac("down0"), world.MAC, outer)


def dns(frame: bytes) -> bytes:
    """The DNS servers of an answer; empty when it has none, or is none."""
    inner = frame[OUTER:]
    at = OPTIONS_AT
    if inner[at - 4 : at] != COOKIE:
        return b""
    while at + 2 <= len(inner) and inner[at] != END:
        if inner[at] == DNS_OPTION:
            return inner[at + 2 : at + 2 + inner[at + 1]]
        at += 2 + inner[at + 1] if inner[at] else 1
    return b""


class Asker:
    """Asks until an answer says what is waited for."""

    def __init__(self, place: Place) -> None:
        per = CLIENTS // SCOPES
        clients = range(CHANGED * per, (CHANGED + 1) * per)
        self.frames = itertools.cycle([discover(place, i, i) for i in clients])
        with ns.inside(place.layout.ns("wire")):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self.socket.bind(("d1", 0x0800))

    def until(self, wanted: bytes) -> float:
        """The moment it came."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.socket.send(next(self.frames))
            due = time.monotonic() + EVERY_S
            while (left := due - time.monotonic()) > 0:
                self.socket.settimeout(left)
                try:
                    if dns(self.socket.recv(2048)) == wanted:
                        return time.monotonic()
                except TimeoutError:
                    break
        raise RuntimeError(f"no offer with DNS server {wanted.hex('.')} within {PATIENCE_S:.0f} s")


def measure() -> Iterator[Row]:
    with Place.raised(CLIENTS, SCOPES) as place:
        asker = Asker(place)
        asker.until(bytes((10, 99, 0, 2)))
        took = []
        for turn in range(TIMES):
            time.sleep(PAUSE_S)
            address = bytes((10, 99, 1, turn + 1))
            wanted = changed(place, ".".join(map(str, address)))
            begun = place.publish(wanted)
            took.append(1e3 * (asker.until(address) - begun))
    note = f"of {TIMES}; each: {', '.join(f'{t:.0f}' for t in took)}; from the file to an OFFER, "
    note += f"1,000 scopes, {CLIENTS:,} ports"
    given = {"driver": "af_packet", "packet_size": "", "sessions": SCOPES}
    value = percentile(took, 50)
    yield Row("dhcp change", value=value, unit="ms, median", note=note, **given)


def changed(place: Place, address: str):
    """The desired state with another DNS server in one scope."""
    scopes = list(place.layout.desired.dhcp)
    scopes[CHANGED] = replace(scopes[CHANGED], dns=(address,))
    return replace(place.layout.desired, dhcp=tuple(scopes))
