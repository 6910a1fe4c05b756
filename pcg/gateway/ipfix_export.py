"""Sends IPFIX messages to a collector over UDP, without ever waiting for it."""

import errno
import os
import socket
from collections.abc import Iterable
from ipaddress import ip_address

from pcg.gateway.ipfix import Encoder, Record
from pcg.model.errors import BackendError

IP_MTU, IPV6_MTU = 14, 24  # linux/in.h, linux/in6.h: of the way to a connected peer
HEADERS = {4: 20 + 8, 6: 40 + 8}  # IP and UDP
SIZE_MIN, SIZE_MAX = 512, 8192  # RFC 7011 section 10.3.3: 512 serves every way
# Said of an earlier message, by the collector's host or on the way to it, when this one is sent:
# then it was not, and may be sent again.
GONE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)


class Exporter:
    def __init__(self, address: str, port: int, domain: int) -> None:
        self._peer, self._encoder = (address, port), Encoder(domain)
        self._version = ip_address(address).version
        self._socket: socket.socket | None = None
        self._waiting: list[Record] = []
        self.sent = self.unsent = 0  # records

    def put(self, records: Iterable[Record]) -> None:
        """For the next flush()."""
        self._waiting += records

    def flush(self, now: float, at_s: float) -> None:
        """Send what was put; what cannot be is lost, counted, and leaves a gap in the sequence.

        Raises BackendError: some was lost, or the collector refused what came before.
        """
        records, self._waiting = self._waiting, []
        try:
            size = self._size()
            error = self._refused()
        except OSError as e:
            self.close()
            self.unsent += len(records)
            raise self._error(e) from None
        stuck = False
        for message, n in self._encoder.messages(records, size, now, at_s):
            failed = self._send(message)
            if failed and failed.errno in GONE:
                error = failed
                self._encoder.templates_lost()  # the next message has them, if not this one
                failed = self._send(message)
            error, stuck = failed or error, stuck or bool(failed)
            self.sent += 0 if failed else n
            self.unsent += n if failed else 0
        if stuck:
            self.close()  # it keeps the address and way of its connect(), which may be gone
        if error:
            self._encoder.templates_lost()  # with a message, or to a collector that begins anew
            raise self._error(error)

    def _refused(self) -> OSError | None:
        """Of what went out before: whoever is there now may have begun since, and needs templates
        before anything else."""
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # and forgets it
        if number:
            self._encoder.templates_lost()
        return OSError(number, os.strerror(number)) if number else None

    def _send(self, message: bytes) -> OSError | None:
        try:
            self._socket.send(message)
        except OSError as error:
            return error
        return None

    def _size(self) -> int:
        """Of a message that needs no fragments, as far as the way is known. Opens the socket."""
        if self._socket is None:
            family = socket.AF_INET if self._version == 4 else socket.AF_INET6
            made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                made.connect(self._peer)
            except OSError:
                made.close()
                raise
            self._socket = made
        level = (socket.IPPROTO_IP, IP_MTU), (socket.IPPROTO_IPV6, IPV6_MTU)
        mtu = self._socket.getsockopt(*level[self._version == 6])
        return max(SIZE_MIN, min(SIZE_MAX, mtu - HEADERS[self._version]))

    def _error(self, error: OSError) -> BackendError:
        thing = f"IPFIX collector {self._peer[0]} port {self._peer[1]}"
        why = os.strerror(error.errno) if error.errno else str(error)
        return BackendError(thing, why, "start it, or correct `nat_log.ipfix`")

    def close(self) -> None:
        """The next flush() connects again."""
        if self._socket:
            self._socket.close()
            self._socket = None
