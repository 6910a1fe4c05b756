"""DHCP's part of what the datapath holds: leases of dynamic ports as port records.

Three threads meet here, each call takes the one lock: the control loop (what is desired), the
relay (what is given, ended) and the watch of the engines (what they remember). A lease is in the
datapath before its client hears of it, so that its first packet passes the source check.
"""

import threading
import time
from collections import ChainMap, Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from pcg.gateway.leases import Given, Lease, LeaseBook
from pcg.model.desired import Desired
from pcg.model.errors import BackendError
from pcg.proto.relay import NONE, Reply
from pcg.proto.roster import Client, Roster
from pcg.reconcile import records as r
from pcg.reconcile.addresses import address
from pcg.reconcile.compiler import Tables
from pcg.reconcile.ports import Home, Key
from pcg.wire import dhcp


class Ports(Protocol):
    """What we need of pcg.drivers.datapath.Datapath."""

    def write_ports(self, write: Mapping[Key, r.Ports], remove: Iterable[Key]) -> None: ...


class Dhcp:
    def __init__(
        self,
        ports: Ports,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.lock = threading.RLock()
        self.roster, self.book = Roster(), LeaseBook()
        self.refused: Counter[tuple[str, str]] = Counter()  # (segment, reason) -> messages
        self._ports, self._clock, self._wall = ports, clock, wall
        self._records: dict[Key, r.Ports] = {}
        self._touched: set[Key] = set()
        self._homes: Mapping[str, Home] = {}
        self._vrfs: dict[int, str] = {}  # number -> id
        self._static: Mapping[Key, r.Ports] = {}
        self._adopted = False

    # ---- the control loop ----

    def follow(self, desired: Desired, tables: Tables, held: Mapping[Key, r.Ports]) -> Tables:
        """`tables` with the leases of dynamic ports among them; the caller holds the lock.

        held  what the datapath holds: the first time, leases are recognised in it, so that a
              gateway that was started anew takes no workload's address from it
        """
        changed = self.roster.update(desired)
        self._static = tables.ports
        if self._homes is not tables.homes:
            self._move(tables.homes)
            changed |= set(self.book.ports())
        for lease in self.book.follow(changed, self.roster):
            self._forget(lease)
        if not self._adopted:
            changed |= self._adopt(held)
        for port in changed:
            for lease in self.book.of_port(port):
                self._note(lease)
        for key in tables.touched & self._records.keys():
            if key in self._static:  # it became a port's own
                self._forget(self.book.end((self._vrfs[key[0]], key[1])))
        self._touched, mine = set(), self._touched
        if not self._records and not mine:
            return tables
        both = ChainMap(tables.ports, self._records)
        return tables._replace(ports=both, touched=tables.touched | mine)

    def _move(self, homes: Mapping[str, Home]) -> None:
        """Segments changed: every record is made anew."""
        self._homes = homes
        self._vrfs = {homes[s.segment].vrf: s.vrf for s in self.roster.sites.values()}
        self._touched |= self._records.keys()
        self._records.clear()

    def _adopt(self, held: Mapping[Key, r.Ports]) -> set[str]:
        """The ports whose leases were found."""
        self._adopted, found = True, set()
        for key, record in held.items():
            client = self.roster.by_mac.get((record.vni, record.mac))
            if client is None or not client.dynamic or key in self._static:
                continue
            if not self.book.wrong_address(client, record.address_be):
                given = Given(record.address_be, float("inf"), sure=False)
                # Which identifier it was leased to is not known; each address stands for itself.
                self._put(client, given._replace(client_id=b"?" + record.address_be))
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
        """Those that may go out to their clients; an ACK with what it gives in force."""
        passed: list[Reply] = []
        new: dict[Key, Reply] = {}
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
                    new[self._key(client, message.yiaddr)] = reply
                else:
                    self._put(client, _given(reply))
                    passed.append(reply)
            passed += self._program(new)
        return passed

    def _key(self, client: Client, be: bytes) -> Key:
        home = self._homes.get(client.site.segment)
        return home.vrf if home else -1, be

    def _wrong(self, client: Client, be: bytes, new: Mapping[Key, Reply]) -> str:
        if client.dynamic:
            key = self._key(client, be)
            other = new.get(key)
            if key in self._static or (other and other.client.port.id != client.port.id):
                return "ADDRESS_TAKEN"
        return self.book.wrong_address(client, be)

    def _program(self, new: Mapping[Key, Reply]) -> list[Reply]:
        if not new:
            return []
        write = {
            key: _record(reply.client, self._homes[reply.client.site.segment], key[1])
            for key, reply in new.items()
            if reply.client.site.segment in self._homes
        }
        try:
            self._ports.write_ports(write, ())
        except BackendError:
            write = {}
        for key, reply in new.items():
            if key in write:
                self._records[key] = write[key]
                self._put(reply.client, _given(reply))
            else:
                self.refuse("NOT_PROGRAMMED", reply.client)
        return [reply for key, reply in new.items() if key in write]

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
                if lease is not None and lease.port == client.port.id:
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

    def remember(self, vrf: str, leases: Iterable[Any]) -> None:
        """What an engine remembers (pcg.drivers.kea.Lease); what it does not know is taken back."""
        with self.lock:
            doubtful = set(self.book.unsure(vrf))
            wall, new = self._wall(), []
            for lease in leases:
                site = self.roster.sites.get(lease.segment)
                mac = bytes.fromhex(lease.mac.replace(":", ""))
                client = self.roster.by_mac.get((site.vni, mac)) if site else None
                be = address(lease.address)
                if client is None or self._wrong(client, be, {}) or lease.expires <= wall:
                    continue
                doubtful.discard((vrf, be))
                client_id = bytes.fromhex(lease.client_id.replace(":", ""))
                given = Given(be, lease.expires - wall, client_id, lease.hostname)
                self.book.put(client, given, self._clock(), wall)
                new.append(self.book.leases[vrf, be])
            for lease in new:
                self._note(lease)
            self._take_back([self.book.end(key) for key in doubtful])

    def forget(self, vrf: str, be: bytes) -> Lease | None:
        """An operator released it."""
        with self.lock:
            lease = self.book.end((vrf, be))
            self._take_back([lease] if lease else [])
            return lease

    def view(self) -> list[dict[str, Any]]:
        with self.lock:
            return [lease.view() for lease in self.book.leases.values()]


def _record(client: Client, home: Home, be: bytes) -> r.Ports:
    return r.Ports(home.vrf, be, home.vni, address(client.port.tep), client.mac)


def _given(reply: Reply) -> Given:
    options = reply.message.options
    lease_s = int.from_bytes(options.get(dhcp.LEASE_S, b""), "big")
    name = options.get(dhcp.HOSTNAME) or reply.client.hostname
    text = name.decode("ascii", "replace")
    hostname = text if text.isprintable() else ""
    return Given(reply.message.yiaddr, lease_s, options.get(dhcp.CLIENT_ID, b""), hostname)
