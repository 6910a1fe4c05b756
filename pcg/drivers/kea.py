"""Backend dhcp: one Kea for each VRF that has scopes, since one Kea cannot hold a prefix twice.

The control loop only says what it wants and asks what became of it. Compiling, starting, waiting
for Kea: all that takes time happens in threads of this backend.
"""

import logging
import threading
import time
from pathlib import Path
from typing import Any

from pcg.drivers import kea_files, kea_leases
from pcg.drivers.kea_config import Place
from pcg.drivers.kea_control import Control
from pcg.drivers.kea_keeper import Keeper
from pcg.drivers.kea_leases import Lease
from pcg.drivers.kea_process import find
from pcg.drivers.patience import Patience
from pcg.model.desired import Desired
from pcg.model.errors import AbsentError, BackendError
from pcg.model.settings import Dhcp
from pcg.reconcile.compile_dhcp import compile_dhcp

log = logging.getLogger(__name__)

THING = "DHCP servers"
AGAIN_S = 1.0  # after a mistake of our own
SETTLE_S = 0.1  # changes come in groups: each new configuration stops Kea for a moment


class Fleet:
    """`relay_port`: UDP port on loopback where the Keas send their answers."""

    def __init__(self, settings: Dhcp, folder: str, relay_port: int) -> None:
        self.settings, self.folder, self.relay_port = settings, Path(folder), relay_port
        self.keepers: dict[str, Keeper] = {}
        self._wanted: Desired | None = None
        self._inputs: tuple = ()
        self._asked = Patience(BackendError(THING, "are not told what is asked for yet"))
        self._error: BackendError | None = None
        self._closing = False
        self._looked = False  # for Keas that nobody wants any more
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    # ---- the control loop's ----

    def follow(self, desired: Desired) -> None:
        """Make it so, soon. Costs nothing when nothing of it concerns DHCP."""
        inputs = (desired.gateway.id, desired.ha, desired.segments, desired.dhcp, desired.ports)
        if len(self._inputs) == len(inputs) and all(
            a is b for a, b in zip(inputs, self._inputs, strict=True)
        ):
            return
        self._inputs, self._wanted = inputs, desired
        self._asked.begin()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="kea", daemon=True)
            self._thread.start()
        self._wake.set()

    def busy(self) -> bool:
        """Whether something that was asked for was not tried yet, and will be soon."""
        asked = [self._asked, *(k.asked for k in list(self.keepers.values()))]
        return any(one.pending() for one in asked)

    def errors(self) -> list[BackendError]:
        """What takes too long is one."""
        found = [self._asked.error() or self._error]
        found += [k.asked.error() or k.error for k in list(self.keepers.values())]
        return [error for error in found if error is not None]

    def close(self) -> None:
        """The Keas go on."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        for keeper in self.keepers.values():
            keeper.close()

    # ---- the relay's ----

    def servers(self) -> dict[str, tuple[str, int]]:
        """VRF id -> where its Kea takes requests; without those that do not run at present."""
        found = {vrf: keeper.address() for vrf, keeper in list(self.keepers.items())}
        return {vrf: address for vrf, address in found.items() if address}

    def exhausted(self) -> dict[str, int]:
        """Segment id -> requests that its pools had no address left for, since we began."""
        keepers = list(self.keepers.values())
        return {name: n for k in keepers for name, n in dict(k.shortage.failed).items()}

    def leases(self, vrf: str) -> list[Lease]:
        """Raises BackendError."""
        keeper = self._keeper(vrf)
        served = keeper.server.served
        return [held.lease for held in kea_leases.read(keeper.control, vrf, served)]

    def release(self, vrf: str, address: str) -> None:
        """Forget the lease; there may be none. Raises BackendError."""
        kea_leases.release(self._keeper(vrf).control, address)

    def commit(self, vrf: str) -> None:
        """The leases that Kea answered for so far are on the disk. Raises BackendError."""
        kea_files.commit(Place(self.folder, vrf))

    def _keeper(self, vrf: str) -> Keeper:
        keeper = self.keepers.get(vrf)
        if keeper is None:
            raise AbsentError(f"DHCP server of VRF {vrf}", "there is none: no segment has a scope")
        return keeper

    # ---- its own thread ----

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(AGAIN_S if self._error else None)
            self._wake.clear()
            desired = self._wanted
            if not self._closing and desired is not None:
                self._error = self._tried(desired)
                if desired is self._wanted:
                    self._asked.done()
                time.sleep(SETTLE_S)

    def _tried(self, desired: Desired) -> BackendError | None:
        try:
            self._change(desired)
        except Exception as e:  # of ours; told as what it is, and tried again
            error = BackendError(THING, f"a mistake of the gateway's own: {e!r}")
            if str(error) != str(self._error):
                log.exception("%s", THING)
            return error
        return None

    def _change(self, desired: Desired) -> None:
        servers = compile_dhcp(desired)
        if not self._looked:
            self._looked = True
            self._end_strays(servers)
        for vrf in [v for v in self.keepers if v not in servers]:
            self.keepers.pop(vrf).retire()
        for vrf, server in servers.items():
            if vrf not in self.keepers:
                self.keepers[vrf] = Keeper(vrf, self.settings, self.folder, self.relay_port)
            self.keepers[vrf].follow(server)

    def _end_strays(self, servers: dict[str, Any]) -> None:
        """Keas of VRFs that went while no gateway ran."""
        try:
            folders = [p.name for p in self.folder.iterdir() if p.is_dir()]
        except OSError:
            return
        for vrf in set(folders) - servers.keys() - {"_config"}:
            place = Place(self.folder, vrf)
            if running := find(place, Control(place.socket, f"DHCP server of VRF {vrf}")):
                log.info("DHCP server of VRF %s is wanted no more; ending it", vrf)
                running.end()
