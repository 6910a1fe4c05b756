"""DHCP's part of what the datapath holds: leases of dynamic ports as port records.

Three threads meet here, each call takes the one lock: the control loop (what is desired), the
relay (what is given, ended) and the watch of the engines (what they remember). A lease is in the
datapath before its client hears of it, so that its first packet passes the source check.
"""

import time
from collections import ChainMap, Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Protocol

from pcg.gateway.lease_views import LeaseViews
from pcg.gateway.leases import INF, Given, Lease, LeaseBook, given
from pcg.model.desired import Desired
from pcg.model.errors import BackendError
from pcg.proto.relay import NONE, Reply
from pcg.proto.roster import Client, Roster
from pcg.reconcile import records as r
from pcg.reconcile.addresses import address, mac
from pcg.reconcile.compiler import Tables
from pcg.reconcile.ports import Home, Key
from pcg.wire import dhcp


class Ports(Protocol):
    """What we need of pcg.drivers.datapath.Datapath."""

    def write_ports(self, write: Mapping[Key, r.Ports], remove: Iterable[Key]) -> None: ...


class Remembered(Protocol):
    """What we need of pcg.drivers.kea_leases.Lease."""

    segment: str
    address: str
    mac: str
    hostname: str
    expires: float
    state: str


class Grants(LeaseViews):
    def __init__(
        self,
        ports: Ports,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(LeaseBook())
        self.roster = Roster()
        self.refused: Counter[tuple[str, str]] = Counter()  # (segment, reason) -> messages
        self._ports, self._clock, self._wall = ports, clock, wall
        # Brings what the engine of a VRF gave to the disk, or raises BackendError.
        self.store: Callable[[str], None] = lambda _vrf: None
        self._records: dict[Key, r.Ports] = {}
        self._touched: set[Key] = set()
        self._homes: Mapping[str, Home] = {}
        self._vrfs: dict[int, str] = {}  # number -> id
        self._static: Mapping[Key, r.Ports] = {}

    # ---- the control loop ----

    def follow(self, desired: Desired, tables: Tables, held: Mapping[Key, r.Ports]) -> Tables:
        """`tables` with the leases of dynamic ports among them; the caller holds the lock.

        held  what the datapath holds: the first time, leases are recognised in it, so that a
              gateway that was started anew takes no workload's address from it
        """
        changed = self.roster.update(desired)
        self._static = tables.ports
        if self._homes != tables.homes:
            self._move(tables.homes)
            changed |= self.book.by_port.keys()
        for lease in self.book.follow(changed, self.roster, self._clock()):
            self._forget(lease)
        self._bring_back(changed)
        if not self.ready:
            changed |= self._adopt(held)
        for port in changed & self.book.by_port.keys():
            self._note(self.book.by_port[port])
        for key in tables.touched & self._records.keys():
            if key in self._static:  # it became a port's own
                self._forget(self.book.end((self._vrfs[key[0]], key[1])))
        self._touched, mine = set(), self._touched
        if not self._records and not mine:
            return tables
        both = ChainMap(tables.ports, self._records)
        return tables._replace(ports=both, touched=tables.touched | mine)

    def _bring_back(self, ports: Set[str]) -> None:
        """A port may be put back while its lease lasts: its client has never heard of an end, nor
        has the engine, so it need not wait until the one asks the other again.
        """
        for port in ports - self.book.by_port.keys():
            client = self.roster.by_port.get(port)
            left = self.book.left(client, self._clock()) if client else None
            if left and not self._wrong(client, left.address, {}):
                self._put(client, left)

    def _move(self, homes: Mapping[str, Home]) -> None:
        """Segments changed: every record is made anew."""
        self._homes = homes
        self._vrfs = {homes[s.segment].vrf: s.vrf for s in self.roster.sites.values()}
        self._touched |= self._records.keys()
        self._records.clear()

    def _adopt(self, held: Mapping[Key, r.Ports]) -> set[str]:
        """The ports whose leases were found."""
        self.ready, found = True, set()
        for key, record in held.items():
            client = self.roster.by_mac.get((record.vni, record.mac))
            if client is None or not client.dynamic or key in self._static:
                continue
            if not self.book.wrong_address(client, record.address_be):
                self._put(client, Given(record.address_be, INF, sure=False))
                found.add(client.port.id)
        return found

    def _note(self, lease: Lease) -> None:
        """Have the record that the lease asks for, if any."""
        client, home = self.roster.by_port.get(lease.port), self._homes.get(lease.site.segment)
        if client is None or home is None or not client.dynamic:
            return
        record = _record(client, home, lease.address)
        self._records[record.vrf, record.address_be] = record
        self._touched.add((record.vrf, record.address_be))

    def _forget(self, lease: Lease | None) -> list[Key]:
        """The keys of its record, no longer wanted."""
        home = self._homes.get(lease.site.segment) if lease else None
        key = (home.vrf, lease.address) if home else None
        if key is None or self._records.pop(key, None) is None:
            return []
        self._touched.add(key)
        return [key]

    # ---- the relay ----

    def refuse(self, reason: str, client: Client | None = None) -> None:
        self.refused[client.site.segment if client else "", reason] += 1

    def give(self, said: Sequence[Reply]) -> list[Reply]:
        """Those that may go out to their clients; an ACK once what it gives is stored for good
        (RFC 2131 section 4.3.1) and in force.
        """
        said, passed = self._stored(said), []
        new: dict[Key, list[Reply]] = {}  # a client that asked twice is answered twice
        with self.lock:
            for reply in said:
                client, message = reply.client, reply.message
                if message.type == dhcp.NAK or message.yiaddr == NONE:
                    passed.append(reply)
                elif why := self._wrong(client, message.yiaddr, new):
                    self.refuse(why, client)
                elif message.type == dhcp.OFFER:
                    passed.append(reply)
                elif client.dynamic and self._key(client, message.yiaddr) not in self._records:
                    new.setdefault(self._key(client, message.yiaddr), []).append(reply)
                else:
                    self._put(client, given(reply))
                    passed.append(reply)
            passed += self._program(new)
        return passed

    def _stored(self, said: Sequence[Reply]) -> Sequence[Reply]:
        """Without the ACKs of engines whose leases could not be brought to the disk."""
        failed = set()
        for vrf in {one.client.site.vrf for one in said if one.message.type == dhcp.ACK}:
            try:
                self.store(vrf)
            except BackendError:
                failed.add(vrf)
        if not failed:
            return said
        kept = []
        for reply in said:
            if reply.message.type == dhcp.ACK and reply.client.site.vrf in failed:
                self.refuse("NOT_STORED", reply.client)
            else:
                kept.append(reply)
        return kept

    def _key(self, client: Client, be: bytes) -> Key:
        home = self._homes.get(client.site.segment)
        return home.vrf if home else -1, be

    def _wrong(self, client: Client, be: bytes, new: Mapping[Key, list[Reply]]) -> str:
        if client.dynamic:
            key = self._key(client, be)
            others = new.get(key)
            if key in self._static or (others and others[0].client.port.id != client.port.id):
                return "ADDRESS_TAKEN"
        return self.book.wrong_address(client, be)

    def _program(self, new: Mapping[Key, list[Reply]]) -> list[Reply]:
        if not new:
            return []
        write = {
            key: _record(first.client, self._homes[first.client.site.segment], key[1])
            for key, (first, *_) in new.items()
            if first.client.site.segment in self._homes
        }
        try:
            self._ports.write_ports(write, ())
        except BackendError:
            write = {}
        passed = []
        for key, replies in new.items():
            for reply in replies:
                if key in write:
                    self._records[key] = write[key]
                    self._put(reply.client, given(reply))
                    passed.append(reply)
                else:
                    self.refuse("NOT_PROGRAMMED", reply.client)
        return passed

    def _put(self, client: Client, given: Given) -> None:
        former = self.book.put(client, given, self._clock(), self._wall())
        if former:
            self._take_back([former])

    def end(self, ended: Iterable[tuple[Client, bytes]]) -> None:
        """Released or declined by the port that has it."""
        with self.lock:
            gone = []
            for client, be in ended:
                lease = self.book.leases.get((client.site.vrf, be))
                if lease is None:
                    self.book.happened(client.port.id, be)
                elif lease.port == client.port.id:
                    gone.append(self.book.end(lease.key))
            self._take_back(gone)

    def expire(self) -> None:
        with self.lock:
            self._take_back(self.book.expire(self._clock()))

    def _take_back(self, leases: Iterable[Lease]) -> None:
        keys = [key for lease in leases for key in self._forget(lease)]
        if not keys:
            return
        try:
            self._ports.write_ports({}, keys)
        except BackendError:
            return  # what the datapath holds is then read, and compared with what it should

    # ---- the engines, the operator ----

    def remember(self, vrf: str, read: Callable[[], Iterable[Remembered]]) -> None:
        """What an engine remembers; what only the datapath knew of, and it does not, is ended.

        What happens while it is read is newer than what it says.
        """
        with self.lock:
            self.book.meanwhile = set()
        try:
            leases = read()
            with self.lock:
                self._learn(vrf, leases, frozenset(self.book.meanwhile))
        finally:
            with self.lock:
                self.book.meanwhile = None

    def _learn(self, vrf: str, leases: Iterable[Remembered], newer: Set[tuple[str, bytes]]) -> None:
        doubtful = set(self.book.unsure(vrf))
        wall = self._wall()
        for lease in leases:
            client, be = self._client(lease), address(lease.address)
            if client is None or lease.expires <= wall or self._wrong(client, be, {}):
                continue
            doubtful.discard((vrf, be))
            held = self.book.by_port.get(client.port.id)
            if newer & {(client.port.id, be), (client.port.id, held and held.address)}:
                continue
            name = dhcp.host_name(lease.hostname.encode(errors="surrogatepass"))
            self._put(client, Given(be, lease.expires - wall, hostname=name))
            self._note(self.book.leases[vrf, be])
        self._take_back([self.book.end(key) for key in doubtful])

    def _client(self, lease: Remembered) -> Client | None:
        site = self.roster.sites.get(lease.segment)
        if site is None or lease.state != "leased":
            return None
        return self.roster.by_mac.get((site.vni, mac(lease.mac)))

    def forget(self, vrf: str, be: bytes) -> Lease | None:
        """An operator released it."""
        with self.lock:
            lease = self.book.end((vrf, be))
            self._take_back([lease] if lease else [])
            return lease


def _record(client: Client, home: Home, be: bytes) -> r.Ports:
    return r.Ports(home.vrf, be, home.vni, address(client.port.tep), client.mac)
