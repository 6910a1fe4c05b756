"""Leases as Kea has them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pcg.drivers.kea_control import Control
from pcg.reconcile.compile_dhcp import Served

PAGE = 1000  # leases of one answer: 70 to 120 ms of Kea's time
PAGE_S = 10.0
STATES = ("leased", "declined", "expired")


class Lease(NamedTuple):
    vrf: str
    segment: str  # "": of a VNI that has no scope any more
    address: str
    mac: str  # "": declined
    hostname: str
    expires: float  # unix seconds, as the client was told
    state: str  # of STATES


class Held(NamedTuple):
    """A lease with what is needed to free or to move it."""

    vni: int
    lease: Lease
    ends: float  # unix seconds, in Kea's book
    lasts_s: int


def read(control: Control, vrf: str, served: Mapping[int, Served]) -> Iterator[Held]:
    """All of them, a page at a time: Kea serves between two pages."""
    after = "start"
    while True:
        arguments = {"from": after, "limit": PAGE}
        page = control.ask("lease4-get-page", arguments, PAGE_S).get("leases", [])
        for item in page:
            ends = float(item["cltt"] + item["valid-lft"])
            yield Held(item["subnet-id"], lease(item, vrf, served), ends, item["valid-lft"])
        if len(page) < PAGE:
            return
        after = page[-1]["ip-address"]


def lease(item: Mapping[str, Any], vrf: str, served: Mapping[int, Served]) -> Lease:
    """From Kea's JSON."""
    home = served.get(item["subnet-id"])
    lasts_s = min(item["valid-lft"], home.lease_s) if home else item["valid-lft"]
    return Lease(
        vrf=vrf,
        segment=home.segment if home else "",
        address=item["ip-address"],
        mac=item.get("hw-address", ""),
        hostname=item.get("hostname", "").removesuffix("."),
        expires=float(item["cltt"] + lasts_s),
        state=STATES[item["state"]],
    )


def release(control: Control, address: str) -> None:
    """Forget it. That there is none is no error."""
    control.ask("lease4-del", {"ip-address": address})


def move(control: Control, held: Held, by_s: float) -> None:
    """Let it end later."""
    lease = held.lease
    arguments = {
        "ip-address": lease.address,
        "hw-address": lease.mac,
        "subnet-id": held.vni,
        "valid-lft": held.lasts_s,
        "expire": round(held.ends + by_s),
        "hostname": lease.hostname,
        "state": STATES.index(lease.state),
    }
    control.ask("lease4-update", arguments)


def gone(held: Iterable[Held], ports: frozenset[tuple[int, str]], now: float) -> list[str]:
    """Addresses kept for ports that are no more, and that their clients may not use any longer."""
    return [
        h.lease.address for h in held if (h.vni, h.lease.mac) not in ports and h.lease.expires < now
    ]
