"""Leases that workloads have, as the relay sees them given: who may use which address until when.

The engine decides and keeps them over restarts. This book is what the rest of the gateway goes by:
a *dynamic* port (none of its addresses desired) may send from what is leased to it and from
nothing else. It also holds the engine to its word: an address is one port's at a time, whatever
became of the engine's own files. Pure; `now` is monotonic seconds, `wall` seconds since 1970.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pcg.proto.relay import Reply
from pcg.proto.roster import Client, Roster, Site
from pcg.reconcile.addresses import mac_text, text
from pcg.reconcile.compile_dhcp import INFINITE_S
from pcg.wire import dhcp

Key = tuple[str, bytes]  # VRF, address
INF = float("inf")


class Given(NamedTuple):
    """What a lease says."""

    address: bytes
    lease_s: float
    client_id: bytes = b""
    hostname: str = ""
    sure: bool = True


def given(reply: Reply) -> Given:
    """What an ACK says."""
    options = reply.message.options
    hostname = dhcp.host_name(options.get(dhcp.HOSTNAME, b"")) or reply.client.hostname
    client_id = dhcp.client_id(options.get(dhcp.CLIENT_ID, b""))
    return Given(reply.message.yiaddr, reply.lease_s, client_id, hostname)


@dataclass(slots=True)
class Lease:
    site: Site
    port: str
    address: bytes
    mac: bytes
    instance: str
    client_id: bytes = b""  # for people
    hostname: str = ""
    until: float = INF  # monotonic
    expires: float = INF  # wall clock, for people
    sure: bool = False  # the engine said so; else only the datapath's record did

    @property
    def key(self) -> Key:
        return self.site.vrf, self.address

    def view(self) -> dict[str, Any]:
        """For people and the controller: msgpack-able."""
        return {
            "vrf": self.site.vrf,
            "segment": self.site.segment,
            "address": text(self.address),
            "mac": mac_text(self.mac),
            "client_id": self.client_id.hex(),
            "hostname": self.hostname,
            "port": self.port,
            "instance": self.instance,
            "expires": None if self.expires == INF else round(self.expires, 3),
        }


class LeaseBook:
    """One lease a port: the engine knows clients by MAC alone, and ports by that too."""

    def __init__(self) -> None:
        self.leases: dict[Key, Lease] = {}
        self.by_port: dict[str, Lease] = {}
        self.changed: dict[Key, None] = {}  # since the last report; in order
        self.moved = False  # a lease came or ended since somebody looked
        # (port, address) that something happens to, while an engine is read; else None
        self.meanwhile: set[tuple[str, bytes]] | None = None
        self._left: dict[tuple[int, bytes], Lease] = {}  # of ports that are gone; by VNI, MAC
        self._ends: list[tuple[float, Key]] = []  # heap; an entry may be early, never late
        self._due: dict[Key, float] = {}  # the time of an address' entry; other entries are void

    def wrong_address(self, client: Client, address: bytes) -> str:
        """Why the port may not have the address that the engine says; "" when it may."""
        if client.addresses:
            return "" if address in client.addresses else "ADDRESS_NOT_ITS_OWN"
        site, number = client.site, int.from_bytes(address, "big")
        if number not in site.subnet or site.subnet.edge(number) or address == site.gateway:
            return "ADDRESS_NOT_ITS_OWN"
        lease = self.leases.get((site.vrf, address))
        return "" if lease is None or lease.port == client.port.id else "ADDRESS_TAKEN"

    # ---- what happens to it ----

    def put(self, client: Client, given: Given, now: float, wall: float) -> Lease | None:
        """A lease given or prolonged; returns the port's former one, at another address."""
        port, site = client.port, client.site
        lease = former = self.by_port.get(port.id)
        if lease is None or lease.address != given.address:
            if former:
                self.end(former.key)
            lease = Lease(site, port.id, given.address, client.mac, port.instance)
            self.leases[lease.key] = self.by_port[port.id] = lease
            self.moved = True
        forever = given.lease_s >= INFINITE_S
        until, expires = (INF, INF) if forever else (now + given.lease_s, wall + given.lease_s)
        self._await(lease.key, until)
        lease.until, lease.expires = until, expires
        lease.sure = lease.sure or given.sure
        lease.client_id = given.client_id or lease.client_id
        lease.hostname = given.hostname or lease.hostname
        self._left.pop((site.vni, client.mac), None)
        self.changed[lease.key] = None
        self.happened(port.id, lease.address)
        return former if former is not lease else None

    def end(self, key: Key) -> Lease | None:
        """Released, declined or taken back."""
        lease = self.leases.pop(key, None)
        if lease is not None:
            del self.by_port[lease.port]
            self.changed[key] = None
            self.happened(lease.port, lease.address)
            self.moved = True
        return lease

    def happened(self, port: str, address: bytes) -> None:
        """To a lease, be it one that this book does not have."""
        if self.meanwhile is not None:
            self.meanwhile.add((port, address))

    def _await(self, key: Key, until: float) -> None:
        """One entry an address, however often it is released and given: the earliest, which is put
        right in its time."""
        if until < self._due.get(key, INF):
            self._due[key] = until
            heapq.heappush(self._ends, (until, key))

    def expire(self, now: float) -> list[Lease]:
        """Those that have ended by now, taken out."""
        ended = []
        while self._ends and self._ends[0][0] <= now:
            at, key = heapq.heappop(self._ends)
            if self._due.get(key) != at:
                continue
            del self._due[key]
            lease = self.leases.get(key)
            if lease is None:
                continue
            if lease.until <= now:
                ended.append(self.end(key))
            else:
                self._await(key, lease.until)
        return ended

    def follow(self, ports: Iterable[str], roster: Roster, now: float) -> list[Lease]:
        """Ports came, went or changed: leases of those that are no longer what they were, ended."""
        ended = []
        for port in ports:
            lease, client = self.by_port.get(port), roster.by_port.get(port)
            if lease is None:
                continue
            if client is None or client.mac != lease.mac or not _home(client, lease):
                ended.append(self.end(lease.key))
            else:
                lease.site, lease.instance = client.site, client.port.instance
        if ended:
            self._left = {key: lease for key, lease in self._left.items() if lease.until > now}
            self._left |= {(one.site.vni, one.mac): one for one in ended if one.sure}
        return ended

    def left(self, client: Client, now: float) -> Given | None:
        """What it had when its port was taken away, if that lasts still."""
        lease = self._left.get((client.site.vni, client.mac))
        if lease is None or lease.until <= now or lease.site.vrf != client.site.vrf:
            return None
        return Given(lease.address, lease.until - now, lease.client_id, lease.hostname)

    def unsure(self, vrf: str) -> list[Key]:
        """Leases that the engine of that VRF has not confirmed."""
        return [key for key, lease in self.leases.items() if key[0] == vrf and not lease.sure]


def _home(client: Client, lease: Lease) -> bool:
    """Whether the lease is still one of its segment, and of a port that may have it."""
    old, new = lease.site, client.site
    if (old.segment, old.vrf, old.vni) != (new.segment, new.vrf, new.vni):
        return False
    if client.addresses:
        return lease.address in client.addresses
    return int.from_bytes(lease.address, "big") in new.subnet and lease.address != new.gateway
