"""A thread that carries DHCP between the datapath and the engines, one per VRF, on loopback.

    datapath --Punts--> request() --UDP--> engine of the port's VRF
    datapath <--Punts-- frame() <-- Grants.give() <--UDP-- engine

It works in batches: whatever has arrived is taken in, decided (pcg.proto.relay) and sent on before
anything is waited for. Nothing is logged per message; what ends here is counted.
"""

import contextlib
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import zmq

from pcg.drivers.kea_process import BUFFER, LOOPBACK, SO_RCVBUFFORCE
from pcg.gateway.grants import Grants
from pcg.model.errors import BackendError
from pcg.proto import relay
from pcg.proto.relay import RefusedError
from pcg.wire import dhcp
from pcg.wire.dhcp import TYPE_NAMES

log = logging.getLogger(__name__)

GIADDR = socket.inet_aton(LOOPBACK)
REPLY_MAX = 65535  # bytes
SO_SNDBUFFORCE = 32  # asm-generic/socket.h
AT_ONCE = 256  # replies of one turn, so that requests get theirs
WAIT_MS = 500  # to look at expiry, and at the end
AGAIN_MS = 2  # to offer the datapath what it did not take
PATIENCE_S, WAITING_MAX = 1.0, 4096  # so long, and so many replies, wait for that

Server = tuple[str, int]  # address, UDP port


class Punts(Protocol):
    """What we need of pcg.datapath.punts.Punts."""

    socket: zmq.Socket

    def receive(self) -> list: ...
    def send(self, answers: list) -> int: ...


class Waiting(NamedTuple):
    """A reply on its way to the datapath."""

    since: float  # monotonic
    type: str
    client: relay.Client
    answer: Any  # pcg.datapath.parcels.Answer


class Relay:
    def __init__(self, punts: Punts, grants: Grants, answer: type, port: int = 0) -> None:
        """port   UDP, on loopback, where engines send their replies; 0: any
        answer  pcg.datapath.parcels.Answer
        Raises  BackendError
        """
        self.punts, self.grants, self._answer = punts, grants, answer
        self.messages: Counter[tuple[str, str]] = Counter()  # (type, "in" | "out") that went on
        self._waiting: list[Waiting] = []  # for the datapath to take them
        self._servers: Mapping[str, Server] = {}
        self._vrfs: Mapping[Server, str] = {}
        self._socket = _socket(port)
        self.port = self._socket.getsockname()[1]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def serve(self, servers: Mapping[str, Server]) -> None:
        """Where the engine of each VRF listens, from now on."""
        if servers != self._servers:
            self._vrfs = {server: vrf for vrf, server in servers.items()}
            self._servers = dict(servers)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(timeout=4 * WAIT_MS / 1000)
        self._socket.close()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self.punts.socket, zmq.POLLIN)
        poller.register(self._socket, zmq.POLLIN)
        look_at = 0.0
        while not self._end.is_set():
            self._try(lambda: poller.poll(AGAIN_MS if self._waiting else WAIT_MS))
            self._try(self.turn)
            if (now := time.monotonic()) >= look_at:
                look_at = now + WAIT_MS / 1000
                self._try(self.grants.expire)

    def _try(self, work: Callable[[], object]) -> None:
        """A mistake of ours, which one message trips up, must not end service for all."""
        try:
            work()
        except Exception:
            self._trip()
            self._end.wait(AGAIN_MS / 1000)  # what trips up each time must not take a core

    def _trip(self) -> None:
        """Counted each time, told whole the first time: a log is no place for a flood."""
        if ("", "INTERNAL") not in self.grants.refused:
            log.exception("the DHCP relay lost a batch of messages by a mistake of its own")
        self.grants.refuse("INTERNAL")

    def turn(self) -> None:
        """Take in what has arrived, send on what may go on."""
        self._requests(self.punts.receive())
        self._replies(list(self._arrived()))

    # ---- to the engines ----

    def _requests(self, punts: Iterable) -> None:
        ended = []
        for punt in punts:
            client = self.grants.roster.by_mac.get((punt.vni, punt.mac))
            if client is None:
                self.grants.refuse("CLIENT_UNKNOWN")
                continue
            try:
                request = self._request(client, punt.frame)
            except RefusedError as e:
                self.grants.refuse(e.reason, client)
                continue
            message = request.message
            self.messages[TYPE_NAMES[message.type], "in"] += 1
            if message.type == dhcp.RELEASE:
                ended.append((client, message.ciaddr))
            elif message.type == dhcp.DECLINE:
                ended.append((client, message.options.get(dhcp.ASKED, b"")))
        if ended:
            self.grants.end(ended)

    def _request(self, client: relay.Client, frame: bytes) -> relay.Request:
        """Sent on. Raises RefusedError."""
        request = relay.request(client, frame, GIADDR, time.monotonic())
        server = self._servers.get(client.site.vrf)
        try:
            if server is None or self._socket.sendto(request.data, server) < len(request.data):
                raise RefusedError("NO_ENGINE", client)
        except OSError:  # its buffer is full, or it went away this moment
            raise RefusedError("NO_ENGINE", client) from None
        return request

    # ---- to the clients ----

    def _arrived(self) -> Iterable[relay.Reply]:
        clients = self.grants.roster.by_circuit
        for _ in range(AT_ONCE):
            try:
                data, server = self._socket.recvfrom(REPLY_MAX)
            except BlockingIOError:
                return
            except OSError:
                continue  # an engine is not there: its VRF's requests find that out
            vrf = self._vrfs.get(server)
            try:
                if vrf is None:
                    raise RefusedError("STRANGER")
                reply = relay.reply(data, clients)
                if reply.client.site.vrf != vrf:
                    raise RefusedError("REPLY_BROKEN", reply.client)
            except RefusedError as e:
                self.grants.refuse(e.reason, e.client)
                continue
            yield reply

    def _replies(self, said: list[relay.Reply]) -> None:
        now = time.monotonic()
        for reply in self.grants.give(said) if said else ():
            client = reply.client
            try:
                frame = relay.frame(reply)
            except RefusedError as e:
                self.grants.refuse(e.reason, client)
                continue
            answer = self._answer(client.site.vni, client.mac, frame)
            self._waiting.append(Waiting(now, TYPE_NAMES[reply.message.type], client, answer))
        if self._waiting:
            self._send(now)

    def _send(self, now: float) -> None:
        """What the datapath does not take at once waits a moment, since a reply that is lost costs
        its client seconds; but not for long, as by then that has asked again.
        """
        waiting = self._waiting
        try:
            sent = self.punts.send([one.answer for one in waiting])
        except BackendError:
            sent = 0
        for one in waiting[:sent]:
            self.messages[one.type, "out"] += 1
        del waiting[:sent]
        late = sum(now - one.since > PATIENCE_S for one in waiting)  # the oldest stand first
        lost = max(late, len(waiting) - WAITING_MAX)
        for one in waiting[:lost]:
            self.grants.refuse("NOT_SENT", one.client)
        del waiting[:lost]


def _socket(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.bind((LOOPBACK, port))
    except OSError as e:
        made.close()
        mend = "correct `dhcp.relay_port` in the gateway's settings"
        raise BackendError(f"DHCP relay port {port}", e.strerror or str(e), mend) from None
    made.setblocking(False)
    ways = (SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)
    for forced, asked in ways:
        with contextlib.suppress(OSError):
            made.setsockopt(socket.SOL_SOCKET, asked, BUFFER)
            made.setsockopt(socket.SOL_SOCKET, forced, BUFFER)  # beyond rmem_max: root only
    return made
