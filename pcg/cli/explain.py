"""`pcgctl explain`: one packet, built from arguments, through the live configuration. Nothing is
sent, made or counted: it says what would happen, by which rule, and how the packet would leave.
"""

import json
from typing import Any

import click

from pcg.cli import story
from pcg.cli.kinds import PROTOCOLS, Address, Flags, Mac
from pcg.cli.look import Look
from pcg.cli.names import place
from pcg.cli.rulings import rulings


def _placed(look: Look, wanted: dict[str, Any]) -> dict[str, Any]:
    """With addresses for names; a workload's own tells the VRF too, unless a network is named."""
    ends = {end: place(look, wanted[end], wanted["vrf"]) for end in ("source", "destination")}
    named = wanted["vrf"] or wanted["segment"] or wanted["vni"]
    vrf = wanted["vrf"] if named else ends["source"].vrf
    return wanted | {end: found.address for end, found in ends.items()} | {"vrf": vrf}


@click.command()
@click.option(
    "--from",
    "entry",
    type=Address("", "uplink"),
    default="",
    metavar="uplink|TEP",
    help="Where it comes from; else the uplink, or the TEP of the port that has the source.",
)
@click.option("--src", "source", default="", help="Source: its address, or a workload's name.")
@click.option("--dst", "destination", default="", help="Destination: likewise.")
@click.option("--dhcp", "mac", type=Mac(), help="A DHCP request of the port with this MAC.")
@click.option("--protocol", type=click.Choice([p for p in PROTOCOLS if p != "any"]), default="tcp")
@click.option("--sport", type=click.IntRange(0, 65535), default=40000, show_default=True)
@click.option("--dport", type=click.IntRange(0, 65535), default=80, show_default=True)
@click.option("--flags", type=Flags(), default="S", show_default=True, help="Of TCP: SA, F, R...")
@click.option("--length", type=click.IntRange(0, 9000), default=0, help="Of the IP packet.")
@click.option("--ttl", type=click.IntRange(0, 255), default=64, show_default=True)
@click.option("--tos", type=click.IntRange(0, 255), default=0, help="Of IP: DSCP and ECN.")
@click.option("--df/--no-df", default=True, show_default=True, help="May it not be cut?")
@click.option("--vni", type=click.IntRange(1, 0xFFFFFF), help="It arrives with; else its port's.")
@click.option("--segment", default="", help="The same, by name.")
@click.option("--vrf", default="", help="Of the source, where several VRFs have its address.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def explain(look: Look, as_json: bool, mac: str | None, **wanted) -> None:
    """Say what would happen to one packet."""
    from pcg.cli import packets

    if mac:
        role, frame = packets.dhcp(look, mac, wanted["entry"], wanted["segment"])
    elif wanted["source"] and wanted["destination"]:
        role, frame = packets.build(look, packets.Wanted(**_placed(look, wanted)))
    else:
        raise click.UsageError("say --src and --dst, or --dhcp MAC")
    events, out = look.client.explain(role, frame)
    if as_json:
        story_of = {"role": role, "frame": frame.hex(), "events": events}
        story_of["rules"] = rulings(look, events)
        click.echo(json.dumps({**story_of, "sent": out.hex() if out else None}))
        return
    click.echo(f"by the {role}: {packets.describe(frame)}")
    if not events:
        click.echo("the datapath says nothing about it")
        return
    click.echo("\n".join(story.lines(look, events)))
    for what, text in rulings(look, events):
        click.echo(f"  {what:<8} {text}")
    if out:
        click.echo(f"as it would leave: {packets.describe(out)}")
