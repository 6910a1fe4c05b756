"""The controller link with 100 k ports: how long until a gateway holds them, and one change.

    python -m bench.link [ports]

Real sockets and CURVE on loopback, the controller as a process of its own. The file is JSON,
which is YAML too and is read six times as fast.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from pcg.model.load import load_desired
from pcg.model.validate import validate
from pcg.wire.changes import apply, diff
from pcg.wire.snapshot import Snapshot, open_blob
from tests.unit.controller.site import Site, document


def timed(what: str, call):
    start = time.perf_counter()
    value = call()
    print(f"{what:44} {(time.perf_counter() - start) * 1e3:9.1f} ms")
    return value


def pure(site: Site) -> None:
    desired = timed("read and validate the file", lambda: load_desired(site.file()))
    whole = timed("make the snapshot", lambda: Snapshot.of(desired))
    print(f"{'':44} {len(whole.blob) / 1e6:9.1f} MB, {whole.n_chunks} chunks")
    timed("open the snapshot", lambda: open_blob(whole.blob))
    timed("validate", lambda: validate(desired))
    site.write(document(n_ports=len(desired.ports) - 1))
    new = load_desired(site.file())
    changes = timed("diff by one port", lambda: diff(desired, new))
    timed("apply it", lambda: apply(desired, changes))


def over_sockets(site: Site, n: int) -> None:
    site.spawn()
    secret = site.key("gw-a", "gw-a")
    first = site.gateway("gw-a", secret)
    timed("controller starts -> gateway holds all", lambda: first.until_ports(n - 1))
    site.gateways.remove(first)
    first.client.close()
    gateway = site.gateway("gw-a", secret)
    timed("gateway starts -> holds all", lambda: gateway.until_ports(n - 1))
    timed("file written -> gateway holds one more", lambda: one_more(site, gateway, n))


def one_more(site: Site, gateway, n: int) -> None:
    site.write(TEXT[n])
    gateway.until_ports(n)


TEXT: dict[int, str] = {}


def run(n: int) -> None:
    print(f"-- {n} ports")
    TEXT[n] = json.dumps(document(n_ports=n))
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), beat_s=1.0)
        try:
            site.write(TEXT[n])
            pure(site)
            over_sockets(site, n)
        finally:
            site.close()
    print(f"{'peak memory of the process':44} {resource.getrusage(0).ru_maxrss / 1024:9.0f} MiB")


if __name__ == "__main__":
    for n in [int(x) for x in sys.argv[1:]] or [10, 1000, 100_000]:
        run(n)
