"""Serves the metrics over HTTP, on the management interface's address and nowhere else.

Threads of its own: a scrape that is slow, or never ends, costs the control loop nothing. The
address is the desired state's; it may come later than we do, or change.
"""

import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

PATH = "/metrics"
AT_ONCE = 4  # scrapes; more are refused until one has ended
PATIENCE_S = 5.0  # for a client to say what it wants, and to take it
AGAIN_S = 10.0  # before an address that could not be had is tried again
POLL_S = 0.1
IP_FREEBIND = 15  # linux/in.h: the address need not be there yet


class Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE_S

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.send_error(404, f"metrics are at {PATH}")
            return
        encode, kind = choose_encoder(self.headers.get("Accept", ""))
        with self.server.scraping:
            body = encode(self.server.registry)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form: str, *args: object) -> None:
        log.debug(form, *args)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, port: int, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.scraping = threading.Lock()  # one after the other: the datapath's client is one
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), Handler)

    def stop(self) -> None:
        """Within POLL_S; scrapes under way are left to end by themselves."""
        self.shutdown()
        self.server_close()

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

    def process_request(self, request: socket.socket, client_address: tuple) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket.socket, client_address: tuple) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, _request: socket.socket, client_address: tuple) -> None:
        log.debug("metrics: %s went away", client_address[0], exc_info=True)


class Exposition:
    """Follows the management address. Owned by the control loop, which it never keeps waiting."""

    def __init__(self, collector: Collector, port: int) -> None:
        """`port` 0: nothing is served."""
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        self._port = port
        self._server: Server | None = None
        self._address, self._again_at = "", 0.0

    def follow(self, address: str, now: float) -> None:
        """Serve there from now on; "": nowhere. `now`: monotonic seconds."""
        if not self._port or address == self._address or now < self._again_at:
            return
        self.close()
        if not address:
            return
        try:
            self._server = Server(address, self._port, self._registry)
        except OSError as error:
            self._again_at = now + AGAIN_S
            log.warning("metrics: %s port %d: %s", address, self._port, error.strerror)
            return
        self._address = address
        self._thread("metrics", lambda server=self._server: server.serve_forever(POLL_S))
        log.info("metrics: http://%s:%d%s", address, self._port, PATH)

    def close(self) -> None:
        server, self._server, self._address = self._server, None, ""
        if server is not None:
            server.stop()

    @staticmethod
    def _thread(name: str, target) -> None:
        threading.Thread(target=target, name=name, daemon=True).start()
