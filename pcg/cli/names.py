"""What people call things: workloads and public addresses by the names of the desired state."""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pcg.cli.look import Look
from pcg.model.errors import BackendError


class Place(NamedTuple):
    """An end of a flow; `vrf` "": an address alone, which several VRFs may have."""

    address: str
    vrf: str = ""
    public: bool = False


class Names:
    """Workloads by VRF and address, and by MAC, and where those of a name are."""

    def __init__(
        self, desired: Mapping[str, Any], leases: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        """As the gateway tells them; empty when it does not answer."""
        ports = desired.get("ports", ())
        vrfs = {s["id"]: s["vrf"] for s in desired.get("segments", ())}
        by_id = {port["id"]: port for port in ports}
        self._ports = {
            (lease["vrf"], lease["address"]): by_id[lease["port"]]
            for lease in leases
            if lease["port"] in by_id
        } | {(vrfs.get(p["segment"]), address): p for p in ports for address in p["addresses"]}
        self._macs = {(p["segment"], str(p.get("mac", "")).lower()): p for p in ports}
        self._publics = {
            p["id"]: Place(p["address"], p["vrf"], True)
            for p in desired.get("public_addresses", ())
        }

    def workload(self, vrf: str, address: str) -> str:
        """Its instance, or its port where no instance is known; "" when it is none of ours."""
        return _name(self._ports.get((vrf, address)))

    def client(self, segment: str, mac: str) -> str:
        """The same of one that has no address yet."""
        return _name(self._macs.get((segment, mac)))

    def segment(self, vrf: str, address: str) -> str:
        port = self._ports.get((vrf, address))
        return port["segment"] if port else ""

    def places(self, name: str) -> list[Place]:
        """All of that name: a port's, an instance's or a public address's."""
        public = self._publics.get(name)
        return ([public] if public else []) + [
            Place(address, vrf or "")
            for (vrf, address), port in sorted(self._ports.items())
            if name in (port["id"], port.get("instance"))
        ]


def _name(port: Mapping[str, Any] | None) -> str:
    return (port.get("instance") or port["id"]) if port else ""


def known(look: Look) -> Names:
    """As the gateway has them. BackendError: it does not answer."""
    desired = look.ask_gateway("desired") or {}
    return Names(desired, look.ask_gateway("leases") or ())


def if_known(look: Look) -> Names:
    """None at all when it does not answer: everything has an address too."""
    try:
        return known(look)
    except BackendError:
        return Names({})


def place(look: Look, word: str, vrf: str = "") -> Place:
    """An address as it is; a name as the gateway knows it. Raises BackendError.

    vrf   of it, where several have one of that name
    """
    if vrf:
        look.vrf_index(vrf)  # or it is no name of a VRF
    try:
        return Place(str(ipaddress.IPv4Address(word)))
    except ValueError:
        pass
    try:
        found = [p for p in known(look).places(word) if vrf in ("", p.vrf)]
    except BackendError as error:
        why = f"is no IPv4 address, and names are the gateway's to know: {error}"
        raise BackendError(word, why) from None
    if len(found) == 1:
        return found[0]
    if found:
        there = ", ".join(f"{p.address} of {p.vrf}" for p in found)
        raise BackendError(word, "has several addresses", f"say one of them: {there}")
    why = "is no IPv4 address, nor the name of a workload with an address, nor of a public address"
    raise BackendError(word, why, "see `pcgctl show workloads`")
