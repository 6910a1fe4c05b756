"""`pcgctl dhcp`: what an operator does about single leases."""

import os
import tempfile
from pathlib import Path
from typing import Any

import click

from pcg.cli.kinds import Address
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
@click.option("--file", "path", type=click.Path(dir_okay=False), help="Desired state to write to.")
@click.pass_obj
def reserve(look: Look, address: str, vrf: str, path: str | None) -> None:
    """Have a workload keep the address that it leases, for good.

    A reservation is desired state: a binding of the segment's scope. Without --file it is printed,
    with --file (that which the controller serves) it is written there, if the whole is right then.
    """
    from pcg.cli.binding import with_binding

    lease = lease_of(look, address, vrf)
    scope = scope_of(look, lease["segment"])
    binding = {"mac": lease["mac"], "address": address}
    if lease["hostname"]:
        binding["hostname"] = lease["hostname"]
    line = ", ".join(f'{key}: "{value}"' for key, value in binding.items())
    if path is None:
        click.echo(f"to dhcp[{scope}].bindings of the desired state:\n  - {{{line}}}")
        return
    replace(Path(path), with_binding(Path(path).read_text(), scope, f"{{{line}}}", path))
    click.echo(f"{path}: {owner(lease)} keeps {address}, by dhcp[{scope}].bindings")


def scope_of(look: Look, segment: str) -> str:
    desired = look.ask_gateway("desired") or {}
    scopes = {s["id"]: s.get("dhcp") for s in desired.get("segments", ())}
    if not scopes.get(segment):
        raise BackendError(f"segment {segment}", "has no DHCP scope any more")
    return scopes[segment]


def replace(path: Path, text: str) -> None:
    """The whole file or nothing of it, with the rights it had."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as new:
        new.write(text)
        new.flush()
        os.fsync(new.fileno())
    os.chmod(new.name, path.stat().st_mode & 0o7777)
    os.replace(new.name, path)
