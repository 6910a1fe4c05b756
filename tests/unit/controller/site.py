"""A controller with its folders and keys, and gateways that talk to it, over loopback sockets."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import zmq

from pcg.controller.server import Controller
from pcg.gateway.link import ControllerClient
from pcg.model.settings import ControllerLink, ControllerSettings, GatewaySettings, Keys
from pcg.model.validate import validate
from pcg.proto.link_table import Changed, Synced
from pcg.wire import curve
from tests.waiting import wait_until

BEAT_S = 0.05


def document(gateway: str = "gw-a", n_ports: int = 0, zone: str = "") -> dict:
    """A valid desired state as its file says it."""
    names = ("uplink", "downlink", "management")
    interfaces = {
        name: {"name": name, "addresses": [f"10.99.{i}.10/24"]} for i, name in enumerate(names)
    }
    segment = {"id": "web", "vrf": "v", "vni": 5000, "subnet": "10.0.0.0/8"}
    segment |= {"gateway": "10.255.0.1", "gateway_mac": "02:00:00:00:00:01"}
    return {
        "gateway": {"id": gateway, "zone": zone, "tep": "10.99.1.10", "interfaces": interfaces},
        "vrfs": [{"id": "v"}],
        "teps": [{"address": "10.99.1.20"}],
        "segments": [segment],
        "ports": [_port(n) for n in range(1, n_ports + 1)],
    }


def _port(n: int) -> dict:
    low = f"{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"
    address = f"10.{1 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"
    mac, tep = f"02:01:00:{low}", "10.99.1.20"
    return {"id": f"vm-{n}", "segment": "web", "mac": mac, "addresses": [address], "tep": tep}


class Gateway:
    """The loop that a gateway has around its ControllerClient, as far as the link needs one."""

    def __init__(self, settings: GatewaySettings, held=None) -> None:
        self.client = ControllerClient(settings, validate, held=held)
        self.poller = zmq.Poller()
        self.client.register(self.poller)
        self.events = []

    def step(self) -> None:
        self.poller.poll(10)
        self.events += self.client.step(time.monotonic())

    def until(self, cond, what: str, deadline_s: float = 20.0):
        def look():
            self.step()
            return cond()

        return wait_until(look, what, deadline_s)

    def until_ports(self, n: int):
        """The first event by which the gateway has n ports."""

        def seen():
            return [e for e in self.states() if len(e.desired.ports) == n]

        return self.until(seen, f"{n} ports")[0]

    def states(self) -> list[Synced | Changed]:
        return [e for e in self.events if isinstance(e, Synced | Changed)]

    def texts(self) -> str:
        return "\n".join(x.text for e in self.events for x in getattr(e, "errors", ()))


class Site:
    def __init__(self, folder: Path, beat_s: float = BEAT_S) -> None:
        self.folder, self.beat_s = folder, beat_s
        for name in ("keys", "allow", "desired", "realised"):
            (folder / name).mkdir()
        curve.make_keys(folder / "keys", "controller")
        self.endpoints = ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
        self.controller, self.thread, self.process = None, None, None
        self.gateways: list[Gateway] = []

    # -- files ---------------------------------------------------------------------------------

    def key(self, name: str, allow_as: str | None = None) -> str:
        """Make a key pair; allowed under a name, or not at all."""
        public, secret = curve.make_keys(self.folder / "keys", name)
        if allow_as:
            self.allow(public, allow_as)
        return str(secret)

    def allow(self, public: Path, name: str) -> None:
        (self.folder / "allow" / f"{name}.key").write_bytes(public.read_bytes())

    def write(self, doc: dict | str, gateway: str = "gw-a") -> None:
        """As DESIGN tells operators to: aside, then renamed."""
        aside = self.folder / "desired" / f".{gateway}"
        aside.write_text(doc if isinstance(doc, str) else json.dumps(doc))
        os.replace(aside, self.file(gateway))

    def file(self, gateway: str = "gw-a") -> Path:
        return self.folder / "desired" / f"{gateway}.yaml"

    # -- the controller ------------------------------------------------------------------------

    def settings(self) -> ControllerSettings:
        return ControllerSettings(
            desired=str(self.folder / "desired"),
            keys=Keys(secret=str(self.folder / "keys" / "controller.key_secret")),
            allow=str(self.folder / "allow"),
            sync=self.endpoints[0],
            publish=self.endpoints[1],
            realised=str(self.folder / "realised"),
            heartbeat_s=self.beat_s,
        )

    def start(self) -> None:
        self.controller = Controller(self.settings())
        self.endpoints = self.controller.endpoints  # the same ones after a restart
        self.thread = threading.Thread(target=self.controller.run)
        self.thread.start()

    def stop(self) -> None:
        if self.controller:
            self.controller.stop()
            self.thread.join()
            self.controller = None

    def spawn(self) -> None:
        """As a process of its own, to be killed."""
        if "*" in self.endpoints[0]:
            self.start()
            self.stop()
        path = self.folder / "controller.yaml"
        builtins = {k: getattr(self.settings(), k) for k in ("desired", "allow", "sync", "publish")}
        builtins |= {"keys": {"secret": "keys/controller.key_secret"}, "heartbeat_s": self.beat_s}
        path.write_text(json.dumps(builtins))
        run = "from pcg.cli.main import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", run, "controller", "--settings", str(path)],
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    # -- gateways ------------------------------------------------------------------------------

    def gateway_settings(self, id_: str, secret: str, **other: str) -> GatewaySettings:
        link = {
            "sync": self.endpoints[0],
            "publish": self.endpoints[1],
            "public_key": str(self.folder / "keys" / "controller.key"),
            "hold_s": 10 * self.beat_s,
        }
        return GatewaySettings(
            id=id_, controller=ControllerLink(**(link | other)), keys=Keys(secret=secret)
        )

    def gateway(self, id_: str, secret: str, held=None, **other: str) -> Gateway:
        made = Gateway(self.gateway_settings(id_, secret, **other), held)
        self.gateways.append(made)
        return made

    def close(self) -> None:
        for gateway in self.gateways:
            gateway.client.close()
        self.stop()
        self.kill()
