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
from pcg.wire import dhcp

Key = tuple[str, bytes]  # VRF, address
FOREVER = 0xFFFFFFFF  # RFC 2131 section 3.3: a lease without end
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
    name = (options.get(dhcp.HOSTNAME) or reply.client.hostname).decode("ascii", "replace")
    hostname = name if name.isprintable() else ""
    return Given(reply.message.yiaddr, reply.lease_s, options.get(dhcp.CLIENT_ID, b""), hostname)


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
        self._ends: list[tuple[float, Key]] = []  # heap; older entries of a lease stay in it

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
        forever = given.lease_s >= FOREVER
        until, expires = (INF, INF) if forever else (now + given.lease_s, wall + given.lease_s)
        if until < lease.until:  # else the entry that is too early is put right in its time
            heapq.heappush(self._ends, (until, lease.key))
        lease.until, lease.expires = until, expires
        lease.sure = lease.sure or given.sure
        lease.client_id = given.client_id or lease.client_id
        lease.hostname = given.hostname or lease.hostname
        self.changed[lease.key] = None
        return former if former is not lease else None

    def end(self, key: Key) -> Lease | None:
        """Released, declined or taken back."""
        lease = self.leases.pop(key, None)
        if lease is not None:
            del self.by_port[lease.port]
            self.changed[key] = None
            self.moved = True
        return lease

    def expire(self, now: float) -> list[Lease]:
        """Those that have ended by now, taken out."""
        ended = []
        while self._ends and self._ends[0][0] <= now:
            _, key = heapq.heappop(self._ends)
            lease = self.leases.get(key)
            if lease is None:
                continue
            if lease.until <= now:
                ended.append(self.end(key))
            else:
                heapq.heappush(self._ends, (lease.until, key))
        return ended

    def follow(self, ports: Iterable[str], roster: Roster) -> list[Lease]:
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
        return ended

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
