"""What a NAT does, as STUN finds out (RFC 5780): coturn's server on the internet host, its client
in a workload.

The server has two addresses and two ports: the client asks to be answered from the others, and
sends to the others to learn whether it is seen as the same.
"""

import contextlib
import re
import signal
from collections.abc import Iterator
from typing import NamedTuple

from pcg.lab import ns
from pcg.lab.layout import INTERNET, INTERNET_OTHER, Layout
from pcg.lab.programs import spawn, until

PORT, OTHER_PORT = 3478, 3479
WHERE = [
    f"{address}:{port}" for address in (INTERNET, INTERNET_OTHER) for port in (PORT, OTHER_PORT)
]


class Behaviour(NamedTuple):
    """In coturn's words."""

    mapping: str
    filtering: str
    hairpin: bool
    seen_as: str  # address


@contextlib.contextmanager
def server(layout: Layout) -> Iterator[None]:
    """A STUN server, no TURN, on the internet host."""
    log = layout.run / "stun.log"
    log.unlink(missing_ok=True)
    argv = ["ip", "netns", "exec", layout.ns("inet"), "turnserver", "-n", "--stun-only"]
    argv += ["--no-auth", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp", "--log-file", "stdout"]
    argv += ["-L", INTERNET, "-L", INTERNET_OTHER, "-p", str(PORT)]
    argv += ["--alt-listening-port", str(OTHER_PORT), "--pidfile", str(layout.run / "stun.pid")]
    argv += ["--userdb", str(layout.run / "stun.db")]
    process = spawn(argv, log)
    try:
        until("the STUN server", lambda: set(WHERE) <= listening(layout.ns("inet")))
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def listening(space: str) -> set[str]:
    """Where UDP sockets are bound: address:port."""
    return {line.split()[3] for line in ns.run("ss", "-Hlun", ns=space).splitlines()}


def discover(space: str, hairpin: bool = False) -> Behaviour:
    """Asks from a namespace. An answer that does not come is waited for 3 s."""
    tests = ("-m", "-f", *(("-H",) if hairpin else ()))
    words = ns.run("turnutils_natdiscovery", *tests, "-p", str(PORT), INTERNET, ns=space)
    return read(words)


def read(words: str) -> Behaviour:
    """What turnutils_natdiscovery printed. CommandError when it came to no end."""
    found = {kind: what for what, kind in re.findall(r"NAT with (.+) (\w+)!", words)}
    seen = set(re.findall(r"UDP reflexive addr: ([\d.]+):", words))
    if found.keys() != {"Mapping", "Filtering"} or len(seen) != 1:
        raise ns.CommandError(f"NAT behaviour discovery came to no end:\n{words}")
    hairpin = "Received a request (maybe a successful hairpinning)" in words
    return Behaviour(found["Mapping"], found["Filtering"], hairpin, seen.pop())
