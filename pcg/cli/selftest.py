"""`pcgctl test`: what can only be known by trying it."""

from collections.abc import Mapping
from typing import Any

import click

from pcg.cli.look import Look, address_key
from pcg.cli.probe import Search, UnderlayProber
from pcg.cli.show import as_json, columns
from pcg.cli.tables import print_rows
from pcg.cli.tunnel_probe import TunnelProber, doors
from pcg.model.errors import BackendError

COLUMNS = columns(
    "address",
    "MTU=mtu",
    "underlay",
    "Largest=underlay_largest",
    "tunnel",
    "Largest=tunnel_largest",
    "Of=tunnel_mtu",
    "Answered by=workload",
    "conclude",
)
UNDERLAY = {
    "passes": "",
    "loses": "the underlay loses packets between these sizes: correct its MTU on the way, or let "
    "ICMP type 3 code 4 through",
    "silent": "no answer to ping of any size on the underlay: let ICMP echo from us to it through "
    "its security group",
}
TUNNEL = {
    "passes": "",
    "loses": "packets between these sizes vanish in the tunnel: correct the MTU of the host's "
    "tunnel, its bridges or the workload's interface",
    "silent": "no workload behind it answers ping from us, so its tunnel is not known: let ICMP "
    "echo through the workload's firewall",
    "nobody": "no workload with an address is behind it, so its tunnel was not tried",
}
NOBODY = {"tunnel": "nobody", "tunnel_mtu": None, "tunnel_largest": None, "workload": ""}


def conclusion(underlay: str, tunnel: str) -> str:
    """What the underlay loses, the tunnel loses too: that is said once, and of the underlay.

    >>> conclusion("passes", "passes"), conclusion("loses", "loses") == UNDERLAY["loses"]
    ('', True)
    """
    if "loses" in (underlay, tunnel):
        return UNDERLAY["loses"] if underlay == "loses" else TUNNEL["loses"]
    return "; ".join(filter(None, (UNDERLAY[underlay], TUNNEL[tunnel])))


def underlays(source: str, mtus: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    searches = {address: Search(mtu) for address, mtu in mtus.items()}
    with UnderlayProber(source) as prober:
        prober.run(searches)
    return {
        a: {"mtu": s.mtu, "underlay": s.verdict, "underlay_largest": s.passed}
        for a, s in searches.items()
    }


def tunnels(look: Look, source: str, mtus: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Of those that somebody is behind."""
    with TunnelProber(look, source, doors(look, mtus)) as prober:
        searches = prober.searches()
        prober.run(searches)
        return {
            a: {
                "tunnel": s.verdict,
                "tunnel_mtu": s.mtu,
                "tunnel_largest": s.passed,
                "workload": prober.answered(a) if s.passed else "",
            }
            for a, s in searches.items()
        }


def probed(look: Look) -> list[dict[str, Any]]:
    """A row for each tunnel endpoint, at the MTU at which packets are sent to it now."""
    local = next(iter(look.table("local")), None)
    told = {p["address"]: p["mtu"] for p in look.table("path_mtu")}
    teps = look.table("teps")
    if not teps or not local:
        return []
    whole, source = local["downlink_mtu"], local["tep"]
    mtus = {t["address"]: min(t["mtu"] or whole, told.get(t["address"], whole)) for t in teps}
    try:
        outer, inner = underlays(source, mtus), tunnels(look, source, mtus)
    except OSError as error:
        mend = "run it as root on the gateway itself, where its tunnel endpoint's address is"
        raise BackendError(f"ping from {source}", str(error), mend) from None
    rows = [
        {"address": a, **outer[a], **inner.get(a, NOBODY)} for a in sorted(mtus, key=address_key)
    ]
    return [{**row, "conclude": conclusion(row["underlay"], row["tunnel"])} for row in rows]


@click.group()
def test() -> None:
    """Try out what can only be known by trying."""


@test.command()
@as_json
@click.pass_context
def mtu(ctx: click.Context, as_json: bool) -> None:
    """Ping every tunnel endpoint, on the underlay and through its tunnel, at its MTU, and name
    those that lose large packets.

    Sizes are those of the packets on the underlay. Through a tunnel a workload behind it is pinged,
    and answers; while that lasts the datapath captures, which makes it slower. Needs root, in the
    gateway's network. Exit code 1: some endpoint loses large packets.
    """
    rows = probed(ctx.obj)
    print_rows(rows, COLUMNS, "tunnel endpoints", as_json)
    if any("loses" in (row["underlay"], row["tunnel"]) for row in rows):
        ctx.exit(1)
