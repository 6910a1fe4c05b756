"""Who may ask for an address: the ports of segments with a DHCP scope, as the relay looks them up.

A message is known by its segment's VNI and its sender's MAC, a reply by the circuit id that we put
into the request (RFC 3046 section 3.1), which names segment and port.
"""

from typing import NamedTuple

from pcg.model.addresses import Prefix, prefix_number
from pcg.model.desired import Desired, Port, Segment
from pcg.model.dhcp import DhcpScope
from pcg.reconcile.addresses import address, mac
from pcg.reconcile.ports import difference
from pcg.wire import dhcp

REMOTE_MAX = 100  # bytes of a remote id; a segment's and a port's id have 95 at most


class Site(NamedTuple):
    """A segment, as its clients see it."""

    segment: str
    vrf: str
    vni: int
    gateway: bytes
    gateway_mac: bytes
    subnet: Prefix
    mtu: int
    lease_s: int
    server: bytes  # option 54: to its clients, the gateway is the server


class Asked(NamedTuple):
    """What a reply does not bring back of its request."""

    xid: int
    ciaddr: bytes
    flags: int


class Client:
    """A port that may ask. What is desired of it never changes; what it said last does."""

    __slots__ = (
        *("addresses", "asked", "circuit", "declined_at"),
        *("hostname", "mac", "option", "port", "site"),
    )

    def __init__(self, port: Port, site: Site) -> None:
        self.port, self.site, self.mac = port, site, mac(port.mac)
        self.addresses = frozenset(map(address, port.addresses))  # none: dynamic
        self.circuit = f"{site.segment}/{port.id}".encode()
        remote = (port.instance or port.id).encode()[:REMOTE_MAX]
        self.option = dhcp.sub_options(
            (dhcp.CIRCUIT, self.circuit),
            (dhcp.REMOTE, remote),
            (dhcp.LINK, site.gateway),
            (dhcp.OVERRIDE, site.gateway),
        )
        self.asked: Asked | None = None  # of its last INFORM
        self.hostname = ""
        self.declined_at = float("-inf")  # monotonic

    @property
    def dynamic(self) -> bool:
        return not self.addresses


class Roster:
    """Written by the control loop, read by the relay: a look-up sees the old or the new."""

    def __init__(self) -> None:
        self.by_mac: dict[tuple[int, bytes], Client] = {}
        self.by_circuit: dict[bytes, Client] = {}
        self.by_port: dict[str, Client] = {}
        self.sites: dict[str, Site] = {}
        self._segments: tuple[Segment, ...] = ()
        self._ports: tuple[Port, ...] = ()
        self._scopes: tuple[DhcpScope, ...] = ()

    def update(self, desired: Desired) -> set[str]:
        """Follow the desired state; returns the ids of ports that came, went or changed."""
        gone, come = difference(self._ports, desired.ports)
        if desired.segments is not self._segments or desired.dhcp is not self._scopes:
            lasting = {scope.id: scope.lease_s for scope in desired.dhcp}
            sites = {s.id: site(s, lasting[s.dhcp]) for s in desired.segments if s.dhcp}
            moved = {
                n for n in sites.keys() | self.sites.keys() if sites.get(n) != self.sites.get(n)
            }
            gone = _with(gone, self._ports, moved)
            come = _with(come, desired.ports, moved)
            self.sites = sites
        clients = {p.id: Client(p, self.sites[p.segment]) for p in come if p.segment in self.sites}
        left = [self.by_port[p.id] for p in gone if p.id in self.by_port]
        # First what is new, so that a port that only moved is known at every moment.
        for client in clients.values():
            self.by_mac[client.site.vni, client.mac] = client
            self.by_circuit[client.circuit] = self.by_port[client.port.id] = client
        for client in left:
            for table, key in (
                (self.by_mac, (client.site.vni, client.mac)),
                (self.by_circuit, client.circuit),
                (self.by_port, client.port.id),
            ):
                if table.get(key) is client:
                    del table[key]
        self._segments, self._ports = desired.segments, desired.ports
        self._scopes = desired.dhcp
        return {c.port.id for c in left} | clients.keys()


def _with(some: list[Port], ports: tuple[Port, ...], segments: set[str]) -> list[Port]:
    """`some` and all others of `ports` that are on one of these segments."""
    known = set(map(id, some))
    return some + [p for p in ports if p.segment in segments and id(p) not in known]


def site(s: Segment, lease_s: int) -> Site:
    gateway = address(s.gateway)
    return Site(
        segment=s.id,
        vrf=s.vrf,
        vni=s.vni,
        gateway=gateway,
        gateway_mac=mac(s.gateway_mac),
        subnet=prefix_number(s.subnet),
        mtu=s.mtu,
        lease_s=lease_s,
        server=dhcp.option(dhcp.SERVER, gateway),
    )
