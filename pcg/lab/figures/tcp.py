"""TCP through a gateway: iperf3 between a workload behind Open vSwitch and the internet host."""

import contextlib
import json
import statistics
import subprocess
import time
from dataclasses import dataclass, replace

from pcg.lab import ns
from pcg.lab.clients import ping_once
from pcg.lab.figures import cpu
from pcg.lab.figures.gateways import Gateway
from pcg.lab.lab import Lab
from pcg.lab.layout import INTERNET, INTERNET_MTU, UNDERLAY_MTU

MTUS = (INTERNET_MTU, UNDERLAY_MTU)
WAYS = {"upload": (), "download": ("-R",)}
LISTENING_S = 5.0
CONNECT_MS = "3000"


@dataclass(frozen=True)
class Tcp:
    """One transfer; CPU time of the gateway's process, in core-seconds per Gbit."""

    gateway: str
    mtu: int
    way: str
    gbit_s: float
    core_s_per_gbit: float
    user: float  # of it
    system: float
    cores: float
    rounds: int = 1

    @property
    def key(self) -> tuple[str, int, str]:
        return self.gateway, self.mtu, self.way


def turn(lab: Lab, gateway: Gateway, seconds: int) -> list[Tcp]:
    """Both ways at both MTUs of the internet's hop. The gateway runs."""
    found = []
    for mtu in MTUS:
        for part, device in (("hop", "igw0"), ("igw", "inet0")):
            ns.ip(f"link set {device} mtu {mtu}", lab.layout.ns(part))
        for part in ("inet", "h1-nsx-root"):  # path MTUs that were learned
            ns.run("ip", "route", "flush", "cache", ns=lab.layout.ns(part))
        ping_once(lab.layout.workload_ns("web1"), INTERNET)
        found += [_transfer(lab, gateway, mtu, way, seconds) for way in WAYS]
    return found


def _transfer(lab: Lab, gateway: Gateway, mtu: int, way: str, seconds: int) -> Tcp:
    argv = ("iperf3", "-J", "-c", INTERNET, "-t", str(seconds), "--connect-timeout", CONNECT_MS)
    with _server(lab):
        before = cpu.used(gateway.pid())
        out = ns.run(*argv, *WAYS[way], ns=lab.layout.workload_ns("web1"), timeout_s=seconds + 20)
        used = cpu.used(gateway.pid()) - before
    got = json.loads(out)["end"]["sum_received"]
    gbit = got["bytes"] * 8 / 1e9
    return Tcp(
        gateway=gateway.name,
        mtu=mtu,
        way=way,
        gbit_s=got["bits_per_second"] / 1e9,
        core_s_per_gbit=used.total_s / gbit,
        user=used.user_s / gbit,
        system=used.system_s / gbit,
        cores=used.total_s / got["seconds"],
    )


@contextlib.contextmanager
def _server(lab: Lab):
    """One that listens, and is gone at the end whatever happened."""
    argv = ["ip", "netns", "exec", lab.layout.ns("inet"), "iperf3", "-s", "-1", "--forceflush"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            _listens(process)
            yield
        finally:
            process.kill()


def _listens(process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + LISTENING_S
    for line in process.stdout:
        if "listening" in line:
            return
        if time.monotonic() > end:
            break
    raise RuntimeError("iperf3 does not listen on the internet host")


def medians(runs: list[Tcp]) -> list[Tcp]:
    """One for each gateway, MTU and way, in the order met; each field is its own median.

    >>> slow, fast = (Tcp("PCG", 1500, "upload", g, 0.5, 0.1, 0.4, 0.7) for g in (1.0, 2.0))
    >>> [(t.gbit_s, t.rounds) for t in medians([slow, fast])]
    [(1.5, 2)]
    """
    groups: dict[tuple[str, int, str], list[Tcp]] = {}
    for run in runs:
        groups.setdefault(run.key, []).append(run)
    return [_median(group) for group in groups.values()]


def _median(group: list[Tcp]) -> Tcp:
    fields = ("gbit_s", "core_s_per_gbit", "user", "system", "cores")
    middle = {f: statistics.median(getattr(t, f) for t in group) for f in fields}
    return replace(group[0], **middle, rounds=len(group))
