"""DHCP as a relay on loopback sees it: what tests say to a real Kea, and read of its answers."""

import contextlib
import os
import shutil
import signal
import socket
import struct
import tempfile
from pathlib import Path
from typing import NamedTuple

from pcg.drivers.kea import Fleet
from pcg.drivers.kea_config import Place  # noqa: F401
from pcg.model import desired as d
from pcg.model.dhcp import AddressRange, DhcpScope
from pcg.model.settings import Dhcp
from tests.netns.spaces import Space
from tests.unit.reconcile.examples import DESIRED, segment
from tests.waiting import wait_until

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
COOKIE = bytes.fromhex("63825363")
WANTED = bytes((1, 3, 6, 15, 26, 28, 42, 51, 54, 58, 59, 66, 67, 119, 121))
HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
LOOPBACK = "127.0.0.1"


class Answer(NamedTuple):
    kind: int
    address: str
    options: dict[int, bytes]
    server: str = ""  # siaddr
    file: bytes = b""


def option(code: int, data: bytes) -> bytes:
    return bytes((code, len(data))) + data


def mac(number: int) -> str:
    return f"06:00:00:00:{number >> 8:02x}:{number & 255:02x}"


class Relay:
    """One socket, one question at a time."""

    def __init__(self, space: Space) -> None:
        with space.inside():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((LOOPBACK, 0))
        self.port = self.socket.getsockname()[1]
        self.xid = 0

    def ask(self, server, kind: int, who: int, link: str, wait_s: float = 3.0, **more):
        """The answer; None: there was none in time."""
        self.xid += 1
        self.socket.settimeout(wait_s)
        self.socket.sendto(message(self.xid, kind, mac(who), link, **more), server)
        with contextlib.suppress(TimeoutError):
            while True:
                data = self.socket.recv(4096)
                if int.from_bytes(data[4:8], "big") == self.xid:
                    return parse(data)
        return None

    def lease(self, server, who: int, link: str, wait_s: float = 3.0, **more) -> Answer | None:
        """DISCOVER to ACK."""
        offer = self.ask(server, DISCOVER, who, link, wait_s, **more)
        if offer is None:
            return None
        more |= {"requested": offer.address, "by": offer.options[54]}
        return self.ask(server, REQUEST, who, link, wait_s, **more)


def message(xid, kind, mac, link, ciaddr="", requested="", by=b"", client_id="", wanted=WANTED):
    zero, ours = bytes(4), socket.inet_aton(LOOPBACK)
    chaddr = bytes.fromhex(mac.replace(":", "")) + bytes(10)
    current = socket.inet_aton(ciaddr) if ciaddr else zero
    head = (1, 1, 6, 1, xid, 0, 0, current, zero, zero, ours, chaddr, b"", b"")
    said = COOKIE + option(53, bytes((kind,))) + option(55, wanted)
    if requested:
        said += option(50, socket.inet_aton(requested))
    if by:
        said += option(54, by)
    if client_id:
        said += option(61, bytes.fromhex(client_id))
    agent = option(1, b"segment/port") + option(5, socket.inet_aton(link))
    return HEADER.pack(*head) + said + option(82, agent) + b"\xff"


def parse(data: bytes) -> Answer:
    fields = HEADER.unpack_from(data)
    options: dict[int, bytes] = {}
    at = HEADER.size + len(COOKIE)
    while at < len(data) and data[at] != 255:
        code, size = data[at], data[at + 1]
        options[code] = options.get(code, b"") + data[at + 2 : at + 2 + size]  # RFC 3396
        at += 2 + size
    address, server = socket.inet_ntoa(fields[8]), socket.inet_ntoa(fields[9])
    return Answer(options[53][0], address, options, server, fields[13].rstrip(b"\0"))


def scope(name: str = "lan", vrf: str = "t1", first="192.168.1.100", last="192.168.1.199", **more):
    return DhcpScope(id=name, vrf=vrf, pools=(AddressRange(first=first, last=last),), **more)


def desired(*scopes: DhcpScope, ports=(), ha=None) -> d.Desired:
    """`web` of t1 and `t2-web` of t2, both 192.168.1.0/24, with the scopes `lan` and `lan2`."""
    names = {s.id for s in scopes}
    made = (
        segment("web", "t1", 9001, "192.168.1.0/24", dhcp="lan" if "lan" in names else None),
        segment("t2-web", "t2", 9002, "192.168.1.0/24", dhcp="lan2" if "lan2" in names else None),
    )
    more = {"segments": made, "dhcp": scopes, "ports": ports, "ha": ha}
    return d.msgspec.structs.replace(DESIRED, **more)


LINK = "192.168.1.1"


class Site:
    """A folder where Keas live, and the gateways that look after them."""

    def __init__(self, **settings) -> None:
        self.space = Space()
        self.relay = Relay(self.space)
        self.folder = Path(tempfile.mkdtemp(prefix="pcg-dhcp-"))
        self.folder.chmod(0o755)  # Kea goes through it as another user
        self.settings = Dhcp(**settings)
        self.fleets: list[Fleet] = []
        self.begin()

    def begin(self) -> Fleet:
        """A gateway starts."""
        self.fleet = Fleet(self.settings, str(self.folder), self.relay.port)
        self.fleets.append(self.fleet)
        return self.fleet

    def follow(self, state: d.Desired) -> None:
        with self.space.inside():
            self.fleet.follow(state)

    def settle(self, state: d.Desired) -> None:
        self.follow(state)
        wait_until(self.tried, "the fleet has tried", 60)

    def tried(self) -> bool:
        """Also what takes so long that it is an error meanwhile."""
        return not self.fleet.busy() and not any(e.why.endswith("yet") for e in self.fleet.errors())

    def serve(self, state: d.Desired) -> None:
        self.settle(state)
        assert [str(e) for e in self.fleet.errors()] == []

    def server(self, vrf: str = "t1") -> tuple[str, int]:
        return wait_until(lambda: self.fleet.servers().get(vrf), f"a server of {vrf}", 60)

    def pid(self, vrf: str = "t1") -> int:
        running = wait_until(lambda: self.fleet.keepers[vrf].running, f"a Kea of {vrf}", 60)
        return running.pid

    def kill(self, vrf: str = "t1") -> int:
        """Its Kea is gone when we are back."""
        pid = self.pid(vrf)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pid not in keas(self.folder), "it is gone")
        return pid

    def well(self) -> None:
        wait_until(lambda: self.fleet.servers() and not self.fleet.errors(), "all is well", 60)

    def lease(self, who: int, vrf: str = "t1", **more) -> Answer | None:
        return self.relay.lease(self.server(vrf), who, LINK, **more)

    def again(self, who: int, vrf: str = "t1") -> Answer:
        """The same, however long it takes the server to be there again."""
        return wait_until(lambda: self.lease(who, vrf, wait_s=0.5), f"a lease for {who}", 60)

    def close(self) -> None:
        for fleet in self.fleets:
            fleet.close()
        self.relay.socket.close()
        for process in keas(self.folder):
            os.kill(process, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, 0)
        self.space.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def keas(folder: Path) -> list[int]:
    """Processes that name the folder in their words."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes()
                if f"{folder}/_config/".encode() in words and b"kea-dhcp4" in words:
                    found.append(int(entry.name))
    return found
