"""Next hops of TEPs and of the uplink: what the kernel knows, kept fresh, and told when it moves.

The kernel does ARP; the datapath, which sends past it, needs the answers. One netlink socket
brings the neighbour table once and every change of it from then on. An entry that we use and that
the kernel has not confirmed lately is verified before it is believed dead, and asked for when it
is missing: the kernel itself would do so only for packets of its own.
"""

import errno
import logging
import socket
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pcg.drivers import rtnl
from pcg.model.errors import BackendError
from pcg.reconcile.addresses import mac_text, text
from pcg.reconcile.compile import Hop

log = logging.getLogger(__name__)

# linux/neighbour.h
INCOMPLETE, REACHABLE, STALE, DELAY, PROBE = 0x01, 0x02, 0x04, 0x08, 0x10
FAILED, NOARP, PERMANENT = 0x20, 0x40, 0x80
USABLE = REACHABLE | STALE | DELAY | PROBE | NOARP | PERMANENT
BUSY_OR_FRESH = REACHABLE | DELAY | PROBE | INCOMPLETE | NOARP | PERMANENT
BUFFER = 1 << 22

Key = tuple[int, bytes]  # interface, address


class Seen(NamedTuple):
    """What one reading of the socket brought."""

    neighbours: bool = False  # the MAC of a next hop we use changed, came or went
    kernel: bool = False  # a link, address, route or rule changed: read them again
    links: bool = False  # a link did


class Neighbours:
    """Belongs to the thread that reads it: its socket is of that thread's network namespace."""

    def __init__(self) -> None:
        try:
            self._socket = self._open()
        except OSError as e:
            raise BackendError("netlink", f"no events from the kernel: {e.strerror}") from None
        self._macs: dict[Key, bytes] = {}  # last known; stays while the kernel looks again
        self._states: dict[Key, int] = {}
        self._silent: set[Key] = set()  # nobody answered, and none has since
        self._used: dict[Key, None] = {}

    @staticmethod
    def _open() -> socket.socket:
        sock = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.bind((0, rtnl.GROUPS))
        sock.send(rtnl.neighbour_dump())
        return sock

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def use(self, hops: Iterable[Key]) -> None:
        """The next hops we need from now on; refresh() sees to them."""
        self._used = dict.fromkeys(hops)

    def mac(self, key: Key) -> bytes:
        """Six bytes, zeros when it is not known."""
        return self._macs.get(key, bytes(6))

    def silent(self, key: Key) -> bool:
        """All were asked for it as often as the kernel asks, and nobody answers. Not so while the
        kernel asks for the first time: then it is only not known yet."""
        return key in self._silent

    def suggest(self, key: Key, mac: bytes) -> None:
        """What the datapath goes by since before we started: right until the kernel knows better.

        Not to know a neighbour yet is no reason to stop forwarding to it. Zeros: nobody answered
        for it, which another question under way does not change.
        """
        if any(mac):
            if key not in self._states:
                self._macs.setdefault(key, mac)
        elif key not in self._macs and not self._states.get(key, 0) & USABLE:
            self._silent.add(key)

    def read(self) -> Seen:
        """Take in every event that has arrived. Never blocks."""
        neighbours = kernel = links = False
        while True:
            try:
                data = self._socket.recv(rtnl.RECEIVE)
            except BlockingIOError:
                return Seen(neighbours, kernel, links)
            except OSError as e:
                if e.errno != errno.ENOBUFS:
                    raise BackendError("netlink", f"events: {e.strerror}") from None
                # The kernel dropped events on us: whatever they said, look at all of it.
                self._socket.send(rtnl.neighbour_dump())
                kernel = links = True
                continue
            for kind, _, body in rtnl.messages(data):
                if kind in (rtnl.NEWNEIGH, rtnl.DELNEIGH):
                    neighbours |= self._learn(rtnl.neighbour(kind, body))
                elif kind not in (rtnl.DONE, rtnl.ERROR):
                    kernel = True
                    links |= kind in (rtnl.NEWLINK, rtnl.DELLINK)

    def _learn(self, entry: rtnl.Neighbour | None) -> bool:
        """True when that changes a next hop that we use."""
        if entry is None:
            return False
        key = (entry.index, entry.address_be)
        before = self._macs.get(key), key in self._silent
        self._states[key] = entry.state
        if entry.state & USABLE and len(entry.mac) == 6:
            self._macs[key] = entry.mac
            self._silent.discard(key)
        elif entry.state & FAILED:
            # A known MAC may only have changed: asking all will tell whether anybody answers.
            if self._macs.pop(key, None) is None:
                self._silent.add(key)
        if not entry.state:
            del self._states[key]  # collected as unused: the MAC is good until we hear otherwise
        after = self._macs.get(key), key in self._silent
        if key not in self._used or after == before:
            return False
        where = f"is at {mac_text(after[0])}" if after[0] else "is looked for"
        said = "does not answer" if after[1] else where
        log.info("next hop %s %s", text(key[1]), said)
        return True

    def refresh(self) -> None:
        """Ask for what we use and the kernel does not know, verify what it is not sure of."""
        for key in self._used:
            state = self._states.get(key, 0)
            if state & BUSY_OR_FRESH:
                continue
            verify = state & STALE
            request = rtnl.resolve(*key, PROBE if verify else 0, 0 if verify else rtnl.NTF_USE)
            try:
                self._socket.send(request)
            except OSError as e:
                log.warning("next hop %s: %s", text(key[1]), e.strerror)
                return


def known(neighbours: Neighbours, ways: Mapping[bytes, tuple[Key, int]]) -> Mapping[bytes, Hop]:
    """ways: of each address its next hop and MTU. Without those that are being asked for."""
    hops = {
        be: Hop(neighbours.mac(key), mtu, neighbours.silent(key)) for be, (key, mtu) in ways.items()
    }
    return {be: hop for be, hop in hops.items() if any(hop.mac) or hop.silent}


class Ways:
    """Which next hop leads to each TEP, and the MTU on the way; asked of the kernel's routes."""

    def __init__(self) -> None:
        self._found: dict[bytes, rtnl.Way] = {}

    def look_up(self, teps: Iterable[bytes], source_be: bytes, index: int) -> None:
        """Ask for all of them again: routes and learned path MTUs may have changed."""
        try:
            self._found = rtnl.ways(teps, source_be, index)
        except OSError as e:
            raise BackendError("netlink", f"route lookup: {e.strerror or e}") from None

    @property
    def keys(self) -> dict[bytes, Key]:
        """The next hop towards each TEP."""
        return {tep: (way.index, way.gateway_be) for tep, way in self._found.items()}

    def known(self, neighbours: Neighbours, link_mtu: int) -> Mapping[bytes, Hop]:
        """By TEP; those whose next hop is being asked for are left out."""
        keys = self.keys
        mtus = {tep: min(way.mtu or link_mtu, link_mtu) for tep, way in self._found.items()}
        return known(neighbours, {tep: (keys[tep], mtu) for tep, mtu in mtus.items()})
