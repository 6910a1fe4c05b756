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
    "Told=told",
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


LEARNT = (
    "the underlay or a route here says that {told} bytes pass, and larger packets are kept from "
    "it: correct the MTU on the way, the route's, or the downlink's in the desired state"
)


def conclusion(underlay: str, tunnel: str, told: int | None = None) -> str:
    """What the underlay loses, the tunnel loses too: that is said once, and of the underlay. What
    it lost and spoke of, or a route forbids (`told`), is another trouble than what vanished.

    >>> conclusion("passes", "passes"), conclusion("loses", "loses") == UNDERLAY["loses"]
    ('', True)
    >>> conclusion("passes", "loses", told=1500)[:53]
    'the underlay or a route here says that 1500 bytes pas'
    """
    if "loses" in (underlay, tunnel):
        if told:
            return LEARNT.format(told=told)
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


def learnt(look: Look, whole: int) -> dict[str, int]:
    """Of ways that are narrower: what the datapath was told of its packets, and our kernel of its
    own, which the gateway goes by, too. Asked anew, as the probes may have made a router speak."""
    look.forget()
    ways = [*look.table("path_mtu"), *(t for t in look.table("teps") if t["mtu"])]
    found: dict[str, int] = {}
    for way in ways:
        found[way["address"]] = min(way["mtu"], found.get(way["address"], whole))
    return {address: mtu for address, mtu in found.items() if mtu < whole}


def probed(look: Look) -> list[dict[str, Any]]:
    """A row for each tunnel endpoint, at the downlink's MTU.

    Not at the path MTU that the underlay told of it: a look that asks no more than that would find
    nothing wrong any longer, once its own large packets had made a router speak.
    """
    local = next(iter(look.table("local")), None)
    teps = look.table("teps")
    if not teps or not local:
        return []
    source, mtus = local["tep"], dict.fromkeys((t["address"] for t in teps), local["downlink_mtu"])
    try:
        outer, inner = underlays(source, mtus), tunnels(look, source, mtus)
    except OSError as error:
        mend = "run it as root on the gateway itself, where its tunnel endpoint's address is"
        raise BackendError(f"ping from {source}", str(error), mend) from None
    told = learnt(look, local["downlink_mtu"])
    rows = [
        {"address": a, "told": told.get(a), **outer[a], **inner.get(a, NOBODY)}
        for a in sorted(mtus, key=address_key)
    ]
    keys = ("underlay", "tunnel", "told")
    return [{**row, "conclude": conclusion(*(row[key] for key in keys))} for row in rows]


@click.group()
def test() -> None:
    """Try out what can only be known by trying."""


@test.command()
@as_json
@click.pass_context
def mtu(ctx: click.Context, as_json: bool) -> None:
    """Ping every tunnel endpoint, on the underlay and through its tunnel, at its configured MTU,
    and name those that lose large packets.

    Sizes are those of the packets on the underlay. Through a tunnel a workload behind it is pinged,
    and answers; while that lasts the datapath captures, which makes it slower. Needs root, in the
    gateway's network. Exit code 1: some endpoint loses large packets.
    """
    rows = probed(ctx.obj)
    print_rows(rows, COLUMNS, "tunnel endpoints", as_json)
    if any("loses" in (row["underlay"], row["tunnel"]) for row in rows):
        ctx.exit(1)
