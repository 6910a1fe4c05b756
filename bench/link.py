"""The controller link with 100,000 ports: how long until a gateway holds them all, and one more.

Real sockets and CURVE, the controller a process of its own; of the gateway only its end of the
link, in this process. The desired state is JSON, which is YAML too and is read six times as fast.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import zmq

from bench import machine
from bench.control import START_S, timed
from bench.rows import Row
from pcg.gateway.link import ControllerClient
from pcg.model.settings import ControllerLink, GatewaySettings, Keys
from pcg.model.validate import validate
from pcg.proto.link_table import Changed, Synced
from pcg.wire import curve

PORTS = 100_000
GATEWAY, TEP = "gw-a", "10.99.1.20"
BEAT_S, HOLD_S = 1.0, 10.0
CHANGES = 3  # each reads the whole file anew


def document(n_ports: int) -> str:
    """A valid desired state with so many ports."""
    names = ("uplink", "downlink", "management")
    interfaces = {
        name: {"name": name, "addresses": [f"10.99.{i}.10/24"]} for i, name in enumerate(names)
    }
    segment = {"id": "web", "vrf": "v", "vni": 5000, "subnet": "10.0.0.0/8"}
    segment |= {"gateway": "10.255.0.1", "gateway_mac": "02:00:00:00:00:01"}
    whole = {
        "gateway": {"id": GATEWAY, "tep": "10.99.1.10", "interfaces": interfaces},
        "vrfs": [{"id": "v"}],
        "teps": [{"address": TEP}],
        "segments": [segment],
        "ports": [port(n) for n in range(1, n_ports + 1)],
    }
    return json.dumps(whole)


def port(n: int) -> dict:
    mac = f"02:01:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"
    address = f"10.{1 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"
    return {"id": f"vm-{n}", "segment": "web", "mac": mac, "addresses": [address], "tep": TEP}


class Site:
    """A controller's folder; `folder` is empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("keys", "allow", "desired"):
            (folder / name).mkdir()
        curve.make_keys(folder / "keys", "controller")
        public, self.secret = curve.make_keys(folder / "keys", GATEWAY)
        (folder / "allow" / f"{GATEWAY}.key").write_bytes(public.read_bytes())
        self.sync, self.publish = (f"ipc://{folder}/{name}.sock" for name in ("sync", "publish"))

    def write(self, text: str) -> None:
        """Aside, then renamed: a controller never reads half a file."""
        aside = self.folder / "desired" / f".{GATEWAY}"
        aside.write_text(text)
        os.replace(aside, self.folder / "desired" / f"{GATEWAY}.yaml")

    @contextlib.contextmanager
    def controller(self) -> Iterator[None]:
        settings = self.folder / "controller.yaml"
        own = {"desired": "desired", "allow": "allow", "realised": "realised"}
        own |= {"keys": {"secret": "keys/controller.key_secret"}, "heartbeat_s": BEAT_S}
        settings.write_text(json.dumps(own | {"sync": self.sync, "publish": self.publish}))
        argv = (sys.executable, "-m", "pcg", "controller", "--settings", str(settings))
        more = {"cwd": machine.ROOT, "preexec_fn": machine.end_with_us}
        with subprocess.Popen(argv, stderr=subprocess.DEVNULL, **more) as running:
            try:
                yield
            finally:
                running.terminate()

    @contextlib.contextmanager
    def gateway(self) -> Iterator["Gateway"]:
        public = str(self.folder / "keys" / "controller.key")
        link = ControllerLink(
            sync=self.sync, publish=self.publish, public_key=public, hold_s=HOLD_S
        )
        keys = Keys(secret=str(self.secret))
        made = Gateway(GatewaySettings(id=GATEWAY, controller=link, keys=keys))
        try:
            yield made
        finally:
            made.client.close()


class Gateway:
    def __init__(self, settings: GatewaySettings) -> None:
        self.client, self.poller = ControllerClient(settings, validate, held=None), zmq.Poller()
        self.client.register(self.poller)

    def until(self, n_ports: int) -> None:
        """Until it holds so many ports."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            self.poller.poll(10)
            for event in self.client.step(time.monotonic()):
                if isinstance(event, Synced | Changed) and len(event.desired.ports) == n_ports:
                    return
        raise RuntimeError(f"the gateway did not hold {n_ports:,} ports within {START_S:.0f} s")


def measure(n_ports: int = PORTS) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        site, took = Site(Path(folder)), []
        site.write(document(n_ports))
        with site.controller():
            with site.gateway() as first:
                both = timed(first.until, n_ports)
            with site.gateway() as second:
                again = timed(second.until, n_ports)
                for n in range(n_ports + 1, n_ports + 1 + CHANGES):
                    text = document(n)
                    took.append(timed(one_more, site, second, text, n))
    note = f"{both:.0f} ms when the controller starts with it"
    yield row("link all ports", again, f"ms, {n_ports:,} ports", note)
    note = f"the fastest of {CHANGES}; a controller reads the whole file anew"
    yield row("link one change", min(took), "ms", note)


def one_more(site: Site, gateway: Gateway, text: str, n_ports: int) -> None:
    site.write(text)
    gateway.until(n_ports)


def row(what: str, value: float, unit: str, note: str) -> Row:
    return Row(what, driver="", packet_size="", value=value, unit=unit, note=note)
