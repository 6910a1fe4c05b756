"""Clients of the scenario: curl, ping, a stream that must not break, a beat that shows a change.

All of them are bounded: they end by themselves, or when their `with` does.
"""

import hashlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from pcg.lab import ns, services

TRANSFER_S = 60
IN_FLIGHT_S = 0.2  # when a ping is stopped: what it sent so recently may still be under way


def curl(space: str, url: str, *options: str) -> str:
    """The body. CommandError on anything but success."""
    return ns.run("curl", "-sS", "--fail", "--max-time", "5", *options, url, ns=space)


@dataclass(frozen=True)
class Transfer:
    digest: str
    size: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.size >> 20} MiB in {self.seconds:.1f} s"


def download(space: str, url: str) -> Transfer:
    """Fetch and hash on the fly."""
    argv = ["ip", "netns", "exec", space, "curl", "-sS", "--fail", "-m", str(TRANSFER_S), url]
    digest, size, begin = hashlib.sha256(), 0, time.monotonic()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while piece := process.stdout.read(1 << 18):
            digest.update(piece)
            size += len(piece)
        error = process.stderr.read().decode().strip()
    if process.returncode:
        raise ns.CommandError(f"download of {url} after {size} bytes: {error}")
    return Transfer(digest.hexdigest(), size, time.monotonic() - begin)


def upload(space: str, url: str, file: Path) -> Transfer:
    """Send; the digest is what the server says that it got."""
    begin = time.monotonic()
    limit = ("--max-time", str(TRANSFER_S), "-H", "Expect:")
    got = ns.run("curl", "-sS", "--fail", *limit, "-T", str(file), url, ns=space, timeout_s=90)
    return Transfer(got.strip(), file.stat().st_size, time.monotonic() - begin)


def ping_once(space: str, to: str, *options: str, count: int = 3) -> str:
    """The replies as ping prints them. CommandError when not all of them came."""
    out = ns.run("ping", "-n", "-i", "0.05", "-W", "2", "-c", str(count), *options, to, ns=space)
    if out.count("bytes from") < count:
        raise ns.CommandError(f"ping {to}: {out.strip()}")
    return out


class Ping:
    """ping every 10 ms (16 where the kernel ticks 250 times a second) while the `with` lasts;
    then `sent` and `lost`."""

    def __init__(self, space: str, to: str, interval_s: float = 0.01) -> None:
        self.argv = ["ip", "netns", "exec", space, "ping", "-n", "-i", str(interval_s), to]
        self.in_flight = int(IN_FLIGHT_S / interval_s)
        self.sent = 0
        self.lost: list[int] = []

    def __enter__(self) -> "Ping":
        self.out = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(self.argv, stdout=self.out, stderr=subprocess.STDOUT)
        return self

    def answered(self) -> int:
        """Replies so far. The file's position stays ping's own."""
        return os.pread(self.out.fileno(), 1 << 24, 0).count(b" ttl=")

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(5)
        self.out.seek(0)
        text = self.out.read()
        self.out.close()
        came = {int(seq) for seq in re.findall(r"icmp_seq=(\d+) ttl", text)}
        total = re.search(r"(\d+) packets transmitted", text)
        self.sent = max(int(total[1]) if total else 0, max(came, default=0))
        until = self.sent if not came else max(*came, self.sent - self.in_flight)
        self.lost = [seq for seq in range(1, until + 1) if seq not in came]


class Stream:
    """A rate-limited curl of numbered blocks; every byte is compared as it arrives."""

    def __init__(self, space: str, url: str, rate: str = "10M") -> None:
        limit = ["--limit-rate", rate, "--max-time", str(TRANSFER_S)]
        self.argv = ["ip", "netns", "exec", space, "curl", "-sSN", "--fail", *limit, url]
        self.received = 0
        self.broken = ""  # why the stream is no longer good
        self._leaving = False

    def __enter__(self) -> "Stream":
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.argv, stdout=pipe, stderr=pipe)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        self.goes_on(1 << 20)
        return self

    def _read(self) -> None:
        number = 0
        while piece := self.process.stdout.read(services.BLOCK):
            if len(piece) == services.BLOCK and piece != services.block(number):
                self.broken = f"block {number} is not what was sent"
                return
            number += 1
            self.received += len(piece)
        if not self._leaving:
            self.broken = (
                f"ended after {self.received} bytes: {self.process.stderr.read().decode()}"
            )

    def goes_on(self, more: int = 2 << 20, limit_s: float = 20.0) -> bool:
        """Whether `more` bytes come. The server paces below our limit, so no buffer holds them."""
        goal, end = self.received + more, time.monotonic() + limit_s
        while self.received < goal and not self.broken and time.monotonic() < end:
            time.sleep(0.01)
        if self.received < goal and not self.broken:
            self.broken = f"stands still at {self.received} bytes"
        return not self.broken

    def __exit__(self, *_: object) -> None:
        self._leaving = True
        self.process.kill()
        self.process.wait(5)
        self.thread.join(5)
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()


@dataclass(frozen=True)
class Answer:
    sent_at: float  # monotonic seconds
    got_at: float
    address: str  # where our datagram came from, as the other side saw it
    port: int


class Beat:
    """A datagram every 10 ms; each answer says when it was asked and as whom we were seen.

    `fresh`: each from a socket of its own, hence a new session; else all belong to one session.
    """

    def __init__(self, space: str, to: str, fresh: bool, every_s: float = 0.01) -> None:
        self.to, self.fresh, self.every_s = (to, services.HTTP), fresh, every_s
        self.answers: list[Answer] = []
        self._stop = threading.Event()
        self.space = space

    def __enter__(self) -> "Beat":
        self.thread = threading.Thread(target=self._beat, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.thread.join(5)

    def _beat(self) -> None:
        with ns.inside(self.space):
            one = self._socket()
            while not self._stop.is_set():
                asked = self._socket() if self.fresh else one
                self._ask(asked)
                if self.fresh:
                    asked.close()
            one.close()

    def _socket(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.connect(self.to)
        return made

    def _ask(self, asked: socket.socket) -> None:
        """Send one, take what comes until the next is due. Answers carry what was sent."""
        due = time.monotonic() + self.every_s
        try:
            asked.send(f"{time.monotonic()}".encode())
            while (left := due - time.monotonic()) > 0:
                asked.settimeout(left)
                address, port, sent = asked.recv(200).decode().split()
                self.answers.append(Answer(float(sent), time.monotonic(), address, int(port)))
        except OSError:  # nothing came in time, or an ICMP error: the next one tells
            time.sleep(max(0.0, due - time.monotonic()))

    def first(self, after: float, address: str = "") -> Answer | None:
        """The first answer to what was sent after that moment (seen as that address)."""
        found = (a for a in list(self.answers) if a.sent_at >= after)
        return next((a for a in found if not address or a.address == address), None)

    def silent_for(self, seconds: float) -> bool:
        last = self.answers[-1].got_at if self.answers else 0.0
        return time.monotonic() - last > seconds


def who_am_i(space: str, to: str, source_port: int = 0) -> tuple[str, int]:
    """As whom the other side sees a datagram of ours; asked again when one is lost."""
    with ns.inside(space), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.bind(("", source_port))
        asked.settimeout(1.0)
        for _ in range(3):
            asked.sendto(b"-", (to, services.HTTP))
            try:
                return services.parse_whoami(asked.recv(200))
            except TimeoutError:
                continue
    raise ns.CommandError(f"no answer from {to}:{services.HTTP}")
