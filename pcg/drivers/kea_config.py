"""Kea's whole configuration of one VRF: what it serves, in the frame of where it stands. Pure.

A digest of it all is in its user-context, so a running Kea tells which one it has.
"""

import hashlib
import json
import sysconfig
from pathlib import Path
from typing import Any, NamedTuple

from pcg.reconcile.compile_dhcp import Server

HOOKS = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}/kea/hooks"  # as Debian has them
# In an overlay nobody but the port itself can answer for its address, so a conflict is a client's
# mistake; long enough that it does not get the same address at once, short against a pool used up.
DECLINED_S = 900
LFC_S = 3600  # the lease file is a log: its old lines are thrown away that often
LOG_BYTES = 1 << 20  # then it becomes kea.log.1
THREADS = 2  # twice what one serves, measured: docs/dhcp.md
QUEUE = 8192  # requests that wait for a thread, two seconds' worth; what comes then is lost
# With a peer: who gives back an address may ask the other gateway for it, which knows it as bound.
KEPT = "pkt4.msgtype == 7 or pkt4.msgtype == 4"  # RELEASE, DECLINE


class Place(NamedTuple):
    """Where one VRF's server lives. Kea writes in `own` alone. No VRF's id begins with "_"."""

    folder: Path
    vrf: str

    @property
    def own(self) -> Path:
        return self.folder / self.vrf

    @property
    def config(self) -> Path:
        return self.folder / "_config" / f"{self.vrf}.json"

    @property
    def output(self) -> Path:
        return self.folder / "_config" / f"{self.vrf}.out"

    @property
    def socket(self) -> Path:
        return self.own / "control"

    @property
    def leases(self) -> Path:
        return self.own / "leases.csv"


def document(place: Place, server: Server) -> dict[str, Any]:
    """What config-set and Kea's -c take."""
    dhcp4: dict[str, Any] = {
        "interfaces-config": {
            "interfaces": ["lo/127.0.0.1"],
            "dhcp-socket-type": "udp",
            "re-detect": False,
            "service-sockets-require-all": True,
        },
        "control-socket": {"socket-type": "unix", "socket-name": str(place.socket)},
        "lease-database": {
            "type": "memfile",
            "persist": True,
            "name": str(place.leases),
            "lfc-interval": LFC_S,
        },
        "hooks-libraries": [{"library": f"{HOOKS}/libdhcp_lease_cmds.so"}],
        "multi-threading": {
            "enable-multi-threading": True,
            "thread-pool-size": THREADS,
            "packet-queue-size": QUEUE,
        },
        "sanity-checks": {"lease-checks": "fix"},
        "authoritative": True,  # RFC 2131 section 4.3.2: a wrong address is refused aloud
        # The port is whom we serve, and its MAC is checked. Client identifiers are not: machines
        # made of one image share them, and would share one address.
        "match-client-id": False,
        "host-reservation-identifiers": ["hw-address", "client-id"],
        "decline-probation-period": DECLINED_S,
        "dhcp-ddns": {"enable-updates": False},
        "subnet4": server.subnets,
        "loggers": [
            {
                "name": "kea-dhcp4",
                "severity": "WARN",  # at INFO it takes a file lock for each packet
                "output_options": [
                    {"output": str(place.own / "kea.log"), "maxsize": LOG_BYTES, "maxver": 1}
                ],
            }
        ],
    }
    if server.holds:
        dhcp4["client-classes"] = [{"name": "DROP", "test": KEPT}]
    text = json.dumps(dhcp4, sort_keys=True)
    dhcp4["user-context"] = {"digest": hashlib.sha256(text.encode()).hexdigest()[:32]}
    return {"Dhcp4": dhcp4}


def digest(document: dict[str, Any]) -> str:
    """Of a document of ours, or of what config-get told; "": it is not ours."""
    return document.get("Dhcp4", {}).get("user-context", {}).get("digest", "")
