"""`pcgctl dhcp`: what an operator does about single leases."""

import json
import os
import tempfile
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import click

from pcg.cli.kinds import Address, Mac
from pcg.cli.look import Look
from pcg.cli.show_gateway import lease_rows
from pcg.model.errors import BackendError


@click.group()
def dhcp() -> None:
    """Leases of workloads: take one back, or make one last. All: `pcgctl show leases`."""


def lease_of(look: Look, address: str, vrf: str) -> dict[str, Any]:
    """The one lease of that address. Raises BackendError."""
    found = [
        row for row in lease_rows(look) if row["address"] == address and vrf in ("", row["vrf"])
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(sorted(row["vrf"] for row in found))
        raise BackendError(f"lease {address}", "is there more than once", f"--vrf: {names}")
    why, mend = "there is none", "all that there are: `pcgctl show leases`"
    raise BackendError(f"lease {address}", why, mend)


def owner(lease: dict[str, Any]) -> str:
    return f"{lease['port']} ({lease['instance']})" if lease["instance"] else lease["port"]


in_vrf = click.option("--vrf", default="", help="Where the address is in more than one.")


@dhcp.command()
@click.argument("address", type=Address())
@in_vrf
@click.pass_obj
def release(look: Look, address: str, vrf: str) -> None:
    """Take a lease back: the workload may not send from the address any more, and asks anew when
    its own time to renew has come. Another one may get it from then on."""
    lease = lease_of(look, address, vrf)
    look.tell_gateway("dhcp_release", vrf=lease["vrf"], address=address)
    click.echo(f"{address} is taken from {owner(lease)} on segment {lease['segment']}")


@dhcp.command()
@click.argument("address", type=Address())
@in_vrf
@click.option("--mac", type=Mac(), help="For this MAC; without: for who leases it now.")
@click.option("--file", "path", type=click.Path(dir_okay=False), help="Desired state to write to.")
@click.pass_obj
def reserve(look: Look, address: str, vrf: str, mac: str | None, path: str | None) -> None:
    """Have a workload keep an address for good: the one it leases, or, with --mac, any.

    A reservation is desired state: a binding of the segment's scope. Without --file it is printed,
    with --file (that which the controller serves) written there, either if the whole is right then.
    """
    from pcg.cli.binding import with_binding
    from pcg.model.load import read_file

    binding = {"mac": mac, "address": address}
    if not mac:
        lease = lease_of(look, address, vrf)
        vrf, binding["mac"] = lease["vrf"], lease["mac"]
        binding |= {"hostname": lease["hostname"]} if lease["hostname"] else {}
    scope = scope_of(look, address, vrf)
    line = ", ".join(f"{key}: {json.dumps(value)}" for key, value in binding.items())
    if path is None:
        judge(look, scope, binding)
        click.echo(f"to dhcp[{scope}].bindings of the desired state:\n  - {{{line}}}")
        return
    text = read_file(path).decode("utf-8", "replace")
    replace(Path(path), with_binding(text, scope, f"{{{line}}}", path))
    click.echo(f"{path}: {binding['mac']} keeps {address}, by dhcp[{scope}].bindings")


def scope_of(look: Look, address: str, vrf: str) -> str:
    """Of the segment in whose subnet the address is. Raises BackendError."""
    segments = (look.ask_gateway("desired") or {}).get("segments", ())
    found = [
        s
        for s in segments
        if vrf in ("", s["vrf"]) and IPv4Address(address) in IPv4Network(s["subnet"])
    ]
    if len(found) > 1:
        names = ", ".join(sorted(s["vrf"] for s in found))
        raise BackendError(f"address {address}", "is in several VRFs", f"--vrf: {names}")
    if not found or not found[0].get("dhcp"):
        raise BackendError(f"address {address}", "is in no segment with a DHCP scope")
    return found[0]["dhcp"]


def judge(look: Look, scope: str, binding: dict[str, str]) -> None:
    """Whether the desired state would be right with it. Raises ConfigError, BackendError."""
    from pcg.model.load import parse_desired

    desired = look.ask_gateway("desired")
    scopes = [
        s | {"bindings": [*s.get("bindings", ()), binding]} if s["id"] == scope else s
        for s in desired["dhcp"]
    ]
    parse_desired(json.dumps(desired | {"dhcp": scopes}), "this binding, in the desired state,")


def replace(path: Path, text: str) -> None:
    """The whole file or nothing of it, with the rights it had."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as new:
        new.write(text)
        new.flush()
        os.fsync(new.fileno())
    os.chmod(new.name, path.stat().st_mode & 0o7777)
    os.replace(new.name, path)
