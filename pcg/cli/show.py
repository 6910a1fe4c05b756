"""`pcgctl show`: one command a table. What stands in a row: show_rows.py."""

import json
from collections.abc import Callable
from typing import NamedTuple

import click

from pcg.cli import show_firewall, show_gateway, show_rows
from pcg.cli.kinds import Address
from pcg.cli.look import Look
from pcg.cli.performance import performance
from pcg.cli.show_rows import Rows
from pcg.cli.tables import Column, print_rows


class Report(NamedTuple):
    rows: Callable[[Look], Rows]
    help: str
    columns: tuple[Column, ...]


def columns(*pairs: str) -> tuple[Column, ...]:
    """From "Title=key" texts; the key alone when the title is the same word."""
    return tuple(Column(*p.split("=")) if "=" in p else Column(p.capitalize(), p) for p in pairs)


CARRIED = ("In packets=in_packets", "In bytes=in_bytes")
CARRIED += ("Out packets=out_packets", "Out bytes=out_bytes")

REPORTS = {
    "ports": Report(
        show_rows.ports,
        "Addresses of workloads, and the tunnel endpoint behind which each is.",
        columns("VRF=vrf", "address", "segment", "VNI=vni", "MAC=mac", "TEP=tep"),
    ),
    "segments": Report(
        show_rows.segments,
        "Networks of the overlay, by VNI.",
        columns("VNI=vni", "name", "VRF=vrf", "kind", "subnet", "gateway", "MAC=gateway_mac")
        + columns("MTU=mtu", "routed", "DHCP=dhcp", *CARRIED),
    ),
    "teps": Report(
        show_rows.teps,
        "Tunnel endpoints that may speak to us; no MAC: not resolved, silent: nobody answers.",
        columns("address", "MAC of next hop=mac", "resolved", "silent", "Our option=option")
        + columns("MTU=mtu", "Path MTU told=path_mtu", "Seconds ago=told_s_ago", "ports"),
    ),
    "nexthops": Report(
        show_rows.nexthops,
        "Next hops on the uplink; no MAC: not resolved, silent: nobody answers.",
        columns("address", "MAC=mac", "resolved", "silent"),
    ),
    "routes": Report(
        show_rows.routes,
        "Routes of the tier-0.",
        columns("VRF=vrf", "prefix", "Goes to=kind", "Next hop=next_hop", "segment"),
    ),
    "nat": Report(
        show_rows.nat,
        "NAT rules in the order of evaluation.",
        columns("name", "VRF=vrf", "action", "source", "destination", "protocol")
        + columns("Source ports=source_ports", "Ports=destination_ports", "Becomes=translated")
        + columns(*CARRIED, "sessions", "overflow"),
    ),
    "usage": Report(
        show_rows.usage,
        "Sessions and outside ports that each workload's address holds; what it was refused last.",
        columns("VRF=vrf", "address", "sessions", "Outside ports=ports", "refused", "reason")
        + columns("NAT rule=nat_rule", "Public=public"),
    ),
    "shortages": Report(
        show_gateway.shortages,
        "Workloads that began to get no more sessions, the latest first.",
        columns("Since=when", "workload", "VRF=vrf", "address", "refused", "reason")
        + columns("NAT rule=rule", "Public=public_address"),
    ),
    "firewall": Report(
        show_firewall.firewall,
        "Firewall rules in the order of evaluation, then the defaults; how often each decided.",
        columns("name", "VRF=vrf", "action", "direction", "source", "destination", "services")
        + columns("State=state", "log", "hits", "sessions", *CARRIED),
    ),
    "totals": Report(
        show_rows.totals,
        "Frames in and out, tables and their sizes.",
        columns("name", "value"),
    ),
    "stages": Report(
        show_rows.stages,
        "Packets that entered each stage of the path.",
        columns("stage", "packets", "settles"),
    ),
    "nics": Report(
        show_rows.nics,
        "Interfaces the datapath has taken.",
        columns("name", "role", "driver", "up", "MTU=mtu", "MAC=mac", "In=rx_packets")
        + columns(
            "In bytes=rx_bytes",
            "Out=tx_packets",
            "Out bytes=tx_bytes",
            "Missed=rx_missed",
            "How=note",
        ),
    ),
    "leases": Report(
        show_gateway.leases,
        "Addresses that workloads have by DHCP, by segment.",
        columns("VRF=vrf", "segment", "address", "port", "instance", "Host name=hostname")
        + columns("MAC=mac", "Client id=client_id", "Until=ends"),
    ),
    "workloads": Report(
        show_gateway.workloads,
        "Workloads' ports as desired, and what the datapath has of them.",
        columns("id", "instance", "segment", "MAC=mac", "addresses", "TEP=tep")
        + columns("programmed", "sessions"),
    ),
}
SESSIONS = columns("VRF=vrf", "Proto=protocol", "From=from", "To=to", "Becomes from=as_from")
SESSIONS += columns("Becomes to=as_to", "kind", "NAT rule=nat_rule", "Public=public", "Age s=age_s")
SESSIONS += columns("Idle s=idle_s", "Timeout s=timeout_s", "Packets=fwd_packets")
SESSIONS += columns("Back=rev_packets", "Bytes=fwd_bytes", "Bytes back=rev_bytes")
DROPS = columns("reason", "packets", "What to conclude=conclude")

as_json = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def show() -> None:
    """Tables of the gateway; --json for programs."""


def _command(name: str, report: Report) -> click.Command:
    @click.command(name, help=report.help)
    @as_json
    @click.pass_obj
    def command(look: Look, as_json: bool) -> None:
        print_rows(report.rows(look), report.columns, name, as_json)

    return command


for _name, _report in REPORTS.items():
    show.add_command(_command(_name, _report))


@show.command()
@click.option(
    "--address",
    type=Address(""),
    default="",
    help="Only sessions with it as one of their addresses; an Elastic IP will do.",
)
@click.option("--vrf", default="", help="Only this VRF: name or number.")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True)
@as_json
@click.pass_obj
def sessions(look: Look, address: str, vrf: str, limit: int, as_json: bool) -> None:
    """Sessions, both directions of each."""
    rows = show_rows.sessions(look, limit, address, vrf)
    print_rows(rows, SESSIONS, "sessions", as_json)
    if len(rows) == limit and not as_json:
        click.echo(f"The first {limit}; more by --limit.", err=True)


@show.command()
@click.option("--all", "every", is_flag=True, help="Also reasons that no packet had.")
@as_json
@click.pass_obj
def drops(look: Look, every: bool, as_json: bool) -> None:
    """Why packets ended here, and what to conclude from it."""
    print_rows(show_rows.drops(look, every), DROPS, "drops", as_json)


show.add_command(performance)


@show.command()
@as_json
@click.pass_obj
def realised(look: Look, as_json: bool) -> None:
    """Which revision is in force, and what could not be applied, each with why."""
    answer = look.ask_gateway("realised")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        told = show_gateway.for_people(answer)
        rows = [{"what": what, "value": value} for what, value in show_gateway.flat(told)]
        print_rows(rows, columns("what", "value"), "realised", as_json)
