"""The servers that the scenario talks to: internet host, published workloads, gateway's own SSH.

    python -m pcg.lab.services http PORT BLOB [ADDRESS...]
                                                 HTTP on TCP, "who am I" on UDP, same
                                                 port, what was asked echoed
    python -m pcg.lab.services banner PORT       greets on TCP, as sshd does

GET /whoami     address and port that the request came from
GET /blob       the file
GET /stream     numbered blocks without an end (as good as), at a modest rate
PUT /upload     SHA-256 of what was sent
"""

import hashlib
import os
import random
import signal
import socket
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pcg.lab.layout import HTTP, INTERNET, INTERNET_OTHER, ROOT, SSH, Layout
from pcg.lab.programs import spawn, until

BLOB_MIB = 200
BLOCK = 65536
STREAM_BLOCKS = 16384  # 1 GiB: an end that nobody reaches, should a client be forgotten
STREAM_RATE = 8 << 20  # bytes/s, paced by the kernel: a burst would be lost in the hosts' queues
SO_MAX_PACING_RATE = 47  # asm-generic/socket.h; Python has no name for it
_NOISE = random.Random(6081).randbytes(BLOCK)


def block(number: int) -> bytes:
    """The stream's n-th block: its number, then noise; a lost or swapped piece shows."""
    return number.to_bytes(8) + _NOISE[8:]


class Services:
    """The servers of one lab."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.blob = layout.run / "blob"
        self.processes: list = []

    def start(self) -> None:
        """Servers on the internet host and on the workloads. The blob is written once, random."""
        with self.blob.open("wb") as out:
            for _ in range(BLOB_MIB):
                out.write(os.urandom(1 << 20))
        spaces = [self.layout.ns("inet")]
        spaces += [self.layout.workload_ns(p) for p in ("web1", "app1", "legacy1", "t2-web1")]
        addresses = {self.layout.ns("inet"): (INTERNET, INTERNET_OTHER)}
        logs = [
            self._spawn(space, "http", str(HTTP), str(self.blob), *addresses.get(space, ("",)))
            for space in spaces
        ]
        logs.append(self._spawn(self.layout.ns("pcg"), "banner", str(SSH)))
        for log in logs:
            until(f"the server of {log.stem}", lambda log=log: "ready" in log.read_text())

    def _spawn(self, space: str, *args: str) -> Path:
        argv = ["ip", "netns", "exec", space, sys.executable, "-m", "pcg.lab.services", *args]
        log = self.layout.run / f"server-{space}.log"
        self.processes.append(spawn(argv, log, cwd=ROOT))
        return log

    def digest(self) -> str:
        with self.blob.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()

    def stop(self) -> None:
        for process in self.processes:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(5)
        self.processes.clear()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    blob: Path

    def do_GET(self) -> None:
        match self.path:
            case "/whoami":
                self._answer(whoami(self.client_address))
            case "/blob":
                self._head(self.blob.stat().st_size)
                with self.blob.open("rb") as source:
                    self.connection.sendfile(source)
            case "/stream":
                self._head(STREAM_BLOCKS * BLOCK)
                self.connection.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, STREAM_RATE)
                for number in range(STREAM_BLOCKS):
                    self.wfile.write(block(number))
            case _:
                self._answer(b"a page\n")

    def do_PUT(self) -> None:
        left, digest = int(self.headers["Content-Length"]), hashlib.sha256()
        while left:
            piece = self.rfile.read(min(left, 1 << 20))
            if not piece:
                return
            digest.update(piece)
            left -= len(piece)
        self._answer(digest.hexdigest().encode())

    def _head(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _answer(self, body: bytes) -> None:
        self._head(len(body))
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


class WhoAmI(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(whoami(self.client_address).strip() + b" " + data, self.client_address)


class Banner(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"SSH-2.0-lab\r\n")


class QuietHTTPServer(ThreadingHTTPServer):
    """A client that goes away in the middle is part of the scenario, not worth a traceback."""

    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class BannerServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


def whoami(peer: tuple[str, int]) -> bytes:
    return f"{peer[0]} {peer[1]}\n".encode()


def parse_whoami(answer: bytes | str) -> tuple[str, int]:
    text = answer.decode() if isinstance(answer, bytes) else answer
    address, port, *_ = text.split()
    return address, int(port)


def serve_http(port: int, blob: Path, addresses: list[str]) -> socketserver.BaseServer:
    """Datagrams are answered from the address they came to, hence a socket for each, and in
    processes of their own: a busy HTTP server must not delay them."""
    Handler.blob = blob
    for address in addresses:
        asked = socketserver.UDPServer((address, port), WhoAmI)
        if os.fork() == 0:
            asked.serve_forever()
    return QuietHTTPServer(("", port), Handler)


def main(argv: list[str]) -> None:
    kind, port = argv[0], int(argv[1])
    if kind == "banner":
        server: socketserver.BaseServer = BannerServer(("", port), Banner)
    else:
        server = serve_http(port, Path(argv[2]), argv[3:])
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
