"""`pcgctl test`: what can only be known by trying it."""

from typing import Any

import click

from pcg.cli.look import Look, address_key
from pcg.cli.probe import Prober, Search
from pcg.cli.show import as_json, columns
from pcg.cli.tables import print_rows
from pcg.model.errors import BackendError

COLUMNS = columns("address", "MTU=mtu", "verdict", "Largest that passes=largest", "conclude")
CONCLUDE = {
    "passes": "",
    "loses": "packets between these sizes vanish: correct the underlay's MTU on the way, "
    "or let ICMP type 3 code 4 through",
    "silent": "no answer to ping of any size, so nothing is known: let ICMP echo from us to it "
    "through its security group",
}


def row(address: str, search: Search) -> dict[str, Any]:
    return {
        "address": address,
        "mtu": search.mtu,
        "verdict": search.verdict,
        "largest": search.passed,
        "conclude": CONCLUDE[search.verdict],
    }


def probed(look: Look) -> list[dict[str, Any]]:
    """A row for each tunnel endpoint, at the MTU at which packets are sent to it now."""
    local = next(iter(look.table("local")), None)
    told = {p["address"]: p["mtu"] for p in look.table("path_mtu")}
    teps = look.table("teps")
    if not teps or not local:
        return []
    whole = local["downlink_mtu"]
    mtus = {t["address"]: min(t["mtu"] or whole, told.get(t["address"], whole)) for t in teps}
    try:
        with Prober(local["tep"]) as prober:
            searches = prober.run(mtus)
    except OSError as error:
        mend = "run it as root on the gateway itself, where its tunnel endpoint's address is"
        raise BackendError(f"ping from {local['tep']}", str(error), mend) from None
    return [row(a, searches[a]) for a in sorted(searches, key=address_key)]


@click.group()
def test() -> None:
    """Try out what can only be known by trying."""


@test.command()
@as_json
@click.pass_context
def mtu(ctx: click.Context, as_json: bool) -> None:
    """Ping every tunnel endpoint on the underlay, at its MTU, and name those that lose it.

    Needs root, in the gateway's network. Exit code 1: some endpoint loses large packets.
    """
    rows = probed(ctx.obj)
    print_rows(rows, COLUMNS, "tunnel endpoints", as_json)
    if any(r["verdict"] == "loses" for r in rows):
        ctx.exit(1)
