"""Kea by itself, asked on loopback by its own load generator: what no way through a gateway beats.

perfdhcp is a relay to Kea (it sets giaddr), so a datapath refuses it, rightly; it can only stand
beside. Leases go to a file, as in a gateway.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.dhcp_place import prefer
from bench.rows import Row
from pcg.lab import ns
from pcg.lab.programs import spawn, until

SYSTEM = "Kea alone, perfdhcp"
CLIENTS, SECONDS, PORT = 10_000, 5, 1067
RATES = (1000, 1500, 2000, 3000, 4000, 6000)  # exchanges a second


def config(folder: str) -> dict:
    """One subnet with some options; a reply goes to where its relay says."""
    leases = {"type": "memfile", "persist": True, "name": f"{folder}/leases", "lfc-interval": 0}
    options = [
        {"name": "routers", "data": "10.128.0.1"},
        {"name": "domain-name-servers", "data": "10.99.0.2"},
        {"name": "interface-mtu", "data": "8943"},
    ]
    subnet = {
        "subnet": "10.128.0.0/16",
        "pools": [{"pool": "10.128.1.0-10.128.200.255"}],
        "relay": {"ip-addresses": ["127.0.0.1"]},
        "option-data": options,
    }
    logger = {"name": "kea-dhcp4", "severity": "WARN", "output_options": [{"output": "stdout"}]}
    return {
        "Dhcp4": {
            "interfaces-config": {"interfaces": ["lo"], "dhcp-socket-type": "udp"},
            "lease-database": leases,
            "valid-lifetime": 3600,
            "subnet4": [subnet],
            "loggers": [logger],
        }
    }


def measure() -> Iterator[Row]:
    space = f"pcgb-kea{os.getpid()}"
    ns.make(space)
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield _measured(space, Path(folder))
    finally:
        ns.run("ip", "netns", "del", space)


def _measured(space: str, folder: Path) -> Row:
    (folder / "conf").write_text(json.dumps(config(str(folder))))
    places = [f"KEA_PIDFILE_DIR={folder}", f"KEA_LOCKFILE_DIR={folder}"]
    kea = ["env", *places, "kea-dhcp4", "-c", str(folder / "conf"), "-p", str(PORT)]
    process = spawn(["ip", "netns", "exec", space, *kea], folder / "log")
    try:
        prefer([process.pid])
        until("Kea listening", lambda: f":{PORT} " in ns.run("ss", "-Hlun", ns=space))
        runs = [perfdhcp(space, rate) for rate in RATES]
    finally:
        process.terminate()
        process.wait(10)
    most = max(runs, key=lambda run: run["per_s"])
    note = f"of {most['asked']:,} asked for, {most['lost']:.0%} of the messages lost; "
    note += f"{CLIENTS:,} clients, on loopback, no gateway"
    return Row(
        "dhcp exchanges",
        system=SYSTEM,
        driver="",
        packet_size="",
        sessions=CLIENTS,
        value=most["per_s"],
        unit="exchanges/s",
        note=note,
        more={"runs": runs},
    )


def perfdhcp(space: str, rate: int) -> dict:
    """What it says of one rate; it ends with 3 when something was lost."""
    ask = ["-r", str(rate), "-R", str(CLIENTS), "-p", str(SECONDS)]
    argv = ["perfdhcp", "-4", *ask, "-N", str(PORT), "-L", "67", "127.0.0.1"]
    return read(ns.run(*argv, ns=space, check=False, timeout_s=SECONDS + 30), rate)


def read(said: str, rate: int) -> dict:
    """Exchanges per second, and the part of them that was lost in either half.

    >>> said = "Rate: 998.5 4-way exchanges/second\\ndrops: 2\\n" + "drops: 3\\nsent packets: 1000"
    >>> read(said, 1000)
    {'asked': 1000, 'per_s': 998.5, 'lost': 0.005}
    """
    per_s = re.search(r"Rate: ([\d.]+)", said)
    sent = [int(n) for n in re.findall(r"sent packets: (\d+)", said)]
    if not per_s or not sent:
        raise RuntimeError(f"perfdhcp: {said.strip()[-300:]}")
    lost = sum(map(int, re.findall(r"drops: (\d+)", said)))
    return {"asked": rate, "per_s": float(per_s[1]), "lost": lost / max(1, sent[0])}
