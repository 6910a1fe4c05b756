"""One lab: fabric, hosts and programs together, and what may happen to them.

`up` gives a cloud in which nothing of PCG runs yet; `start_programs` makes it forward. The lab
keeps the desired state it last published, and a lock in its folder while its owner lives, so that
a later one knows a lab in use from the remains of a crash.
"""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

import msgspec
import yaml

from pcg.lab import fabric, flows
from pcg.lab.ask import Ask, unsettled
from pcg.lab.dhcp_clients import PROGRAMS, DhcpClient
from pcg.lab.host import Host
from pcg.lab.layout import CONFIGS, PREFIX, RUNS, Layout
from pcg.lab.programs import PLACES, Programs, until
from pcg.lab.services import Services
from pcg.lab.sweep import sweep
from pcg.model.desired import Desired

KEPT = "kept"  # file in the lab's folder: left up on purpose


class LabInUseError(Exception):
    """Somebody else's lab of the same name."""


def example() -> Desired:
    """The desired state that the lab starts from."""
    text = (CONFIGS / "desired" / "gw-a.yaml").read_text()
    return msgspec.convert(yaml.safe_load(text), Desired)


class Lab:
    def __init__(self, prefix: str = PREFIX, effect_limit_s: float = 1.0, driver: str = "") -> None:
        self.layout = Layout(prefix, example())
        self.desired = self.layout.desired
        self.hosts = {s.name: Host(self.layout, s) for s in self.layout.sites()}
        self.programs = Programs(self.layout, driver)
        self.services = Services(self.layout)
        self.clients = {
            port.id: DhcpClient(
                program, self.layout.workload_ns(port.id), self.layout.run / f"dhcp-{port.id}"
            )
            for program, port in zip(PROGRAMS, self.layout.leasing(), strict=True)
        }
        self.leases: dict[tuple[str, str], str] = {}  # that the hosts know: see flows.leased
        self.ask = Ask(self.programs)
        self.effect_limit_s = effect_limit_s  # how soon a change at the controller must show
        self._lock: TextIO | None = None
        self.mine = False  # we raised it, so we may take it down

    # ---- life ----

    def up(self) -> None:
        """Fabric, hosts, their flows. What a crash left behind is swept first."""
        self._take()
        self.mine = True  # what is there from here on is ours, or nobody's any more
        sweep(self.layout.prefix)
        self.layout.run.mkdir(parents=True, exist_ok=True)
        self._take()  # the folder is new, and so is its lock
        fabric.build(self.layout)
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(self._host_up, self.hosts.values()))
        self.programs.prepare()
        self.services.start()

    def _host_up(self, host: Host) -> None:
        host.start()
        host.workload()
        self._program(host, self.desired)

    def _program(self, host: Host, desired: Desired) -> None:
        host.program(flows.leased(desired, self.leases))

    def boot_clients(self) -> None:
        """The workloads without addresses: their DHCP clients ask."""
        for client in self.clients.values():
            client.start()

    def learn_leases(self) -> list[dict]:
        """The hosts' flows for what is leased, as a controller tells its agents; the leases."""
        rows = self.ask.show("leases")
        self.leases = {(row["segment"], row["mac"]): row["address"] for row in rows}
        for host in self.hosts.values():
            self._program(host, self.desired)
        return rows

    def _take(self) -> None:
        folder = self.layout.run
        if (folder / KEPT).exists():
            end = how_to_end(self.layout.prefix)
            raise LabInUseError(f"the lab {self.layout.prefix} was left up; take it down: {end}")
        if folder.is_dir():
            self._lock = lock(self.layout.prefix)
            if not self._lock:
                raise LabInUseError(f"the lab {self.layout.prefix} is in use; wait for its end")

    def start_programs(self) -> None:
        """Controller, datapath, gateway; back when the gateway says that it is what was asked."""
        for program in PLACES:
            self.programs.start(program)
        self.wait_settled()

    def wait_settled(self, source: str = "controller", not_epoch: int | None = None) -> None:
        """Until the gateway is what it was asked to be, by a controller's life that is not
        `not_epoch`; a program that ended meanwhile is reported at once, with what it said."""
        missing = ""

        def ready() -> bool:
            nonlocal missing
            for name in self.programs.dead():
                raise RuntimeError(f"{name} ended:\n{self.programs.log(name)}")
            realised = self.ask.realised()
            missing = unsettled(realised, source)
            if not missing and realised["epoch"] == not_epoch:
                missing = "the new controller has not been heard"
            return not missing

        try:
            until("the gateway realising its desired state", ready)
        except TimeoutError as late:
            raise RuntimeError(f"{late}: {missing}; logs in {self.layout.run}") from None

    def restart(self, program: str) -> None:
        """SIGKILL, and start again."""
        self.programs.kill(program)
        self.programs.start(program)

    def keep(self) -> None:
        """Leave it up when its owner ends."""
        (self.layout.run / KEPT).touch()

    def down(self) -> None:
        """What we raised; somebody else's lab of the same name stays."""
        if not self.mine:
            return
        self.programs.stop()
        self.services.stop()
        sweep(self.layout.prefix)

    # ---- changes ----

    def publish(self, change: Callable[[Desired], Desired]) -> float:
        """Change the desired state at the controller; the moment (monotonic s) it was there.

        The file is replaced by a rename, so that the controller never reads half of it.
        """
        self.desired = change(self.desired)
        path = self.desired_file()
        text = yaml.safe_dump(msgspec.to_builtins(self.desired), sort_keys=False)
        aside = path.with_suffix(".new")
        aside.write_text(text)
        os.replace(aside, path)
        return time.monotonic()

    def desired_file(self) -> Path:
        return self.layout.run / "desired" / f"{self.desired.gateway.id}.yaml"

    def move(self, port_id: str, to: str) -> float:
        """A workload's port goes to another host, MAC and address with it; then all are told.

        As a live migration does it: the new host is ready, then the device arrives, then the other
        hosts and the controller learn of it. Returns the moment the controller was told.
        """
        port = next(p for p in self.desired.ports if p.id == port_id)
        source = next(h for h in self.hosts.values() if h.site.tep == port.tep)
        target = self.hosts[to]

        def moved(desired: Desired) -> Desired:
            ports = tuple(
                msgspec.structs.replace(p, tep=target.site.tep) if p.id == port_id else p
                for p in desired.ports
            )
            return msgspec.structs.replace(desired, ports=ports)

        self._program(target, moved(self.desired))
        source.detach(target)
        target.attach()
        for host in self.hosts.values():
            if host is not target:
                self._program(host, moved(self.desired))
        return self.publish(moved)


@contextlib.contextmanager
def raised(prefix: str = PREFIX, effect_limit_s: float = 1.0):
    """A lab with PCG running in it, taken down at the end whatever happens."""
    lab = Lab(prefix, effect_limit_s)
    try:
        lab.up()
        lab.start_programs()
        lab.boot_clients()
        yield lab
    finally:
        lab.down()


def how_to_end(prefix: str) -> str:
    """What to type to take down a lab that was left up; the verb takes them all."""
    if prefix == PREFIX:
        return "make lab-down"
    return f"{sys.executable} -m pcg.lab down --prefix {prefix}"


def lock(prefix: str) -> TextIO | None:
    """The lock of a lab whose folder is there; None when its owner lives and holds it."""
    held = (RUNS / prefix.strip("-") / "lock").open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        return None
    return held


def labs() -> list[str]:
    """Prefixes of the labs that are there."""
    return sorted(f"{p.name}-" for p in RUNS.iterdir()) if RUNS.is_dir() else []
