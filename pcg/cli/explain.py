"""`pcgctl explain`: one packet, built from arguments, through the live configuration. Nothing is
sent, made or counted: it says what would happen, by which rule, and how the packet would leave.

A fragment is held until the others are here, so the whole is explained, too. An ICMP error quotes
the packet as it would leave: so that is asked about first.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click

from pcg.cli import story
from pcg.cli.inner import CUT, ERRORS
from pcg.cli.kinds import PROTOCOLS, Address, Flags, Mac
from pcg.cli.look import Look
from pcg.cli.names import place
from pcg.cli.rulings import rulings
from pcg.model.errors import BackendError

NEW = "new session"  # in the note on a packet that would begin one
UNBORN = (
    "that flow has no session now, and an error is taken by its session's ports: ask about one "
    "that has (`pcgctl show sessions`, --sport)"
)
DRAWN = "port drawn"  # of SNAT, in the note on what is written: nothing is drawn for a question


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
@click.option("--fragment", type=click.Choice(["first", "later"]), help="One of two pieces of it.")
@click.option("--error", type=click.Choice(list(ERRORS)), help="An ICMP error about it instead.")
@click.option(
    "--by", type=Address(""), default="", help="Who sends the error; else whom it was for."
)
@click.option("--mtu", type=click.IntRange(0, 65535), default=1280, help='That "too-big" tells.')
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def explain(look: Look, as_json: bool, mac: str | None, **wanted) -> None:
    """Say what would happen to one packet."""
    from pcg.cli import packets

    about = {name: wanted.pop(name) for name in ("fragment", "error", "by", "mtu")}
    _check(mac, wanted, about)
    if mac:
        told = [_told(look, *packets.dhcp(look, mac, wanted["entry"], wanted["segment"]))]
    elif about["fragment"]:
        told = _of_a_piece(look, _placed(look, wanted), about["fragment"])
    else:
        told = [_told(look, *packets.build(look, packets.Wanted(**_placed(look, wanted))))]
    if about["error"]:
        unborn = any(event["note"].startswith(NEW) for event in told[0]["events"])
        told = [_told(look, *_complaint(look, told[0], about)) | {"remark": UNBORN * unborn}]
    if as_json:
        click.echo(json.dumps(told[0] | ({"whole": told[1]} if told[1:] else {})))
        return
    for one, what in zip(told, ("", "put together: "), strict=False):
        click.echo("\n".join(_lines(look, one, what)))


def _check(mac: str | None, wanted: dict[str, Any], about: dict[str, Any]) -> None:
    if not mac and not (wanted["source"] and wanted["destination"]):
        raise click.UsageError("say --src and --dst, or --dhcp MAC")
    if about["by"] and not about["error"]:
        raise click.UsageError("--by is of an ICMP error: say --error")
    if bool(mac) + bool(about["fragment"]) + bool(about["error"]) > 1:
        raise click.UsageError("--dhcp, --fragment and --error exclude each other")


def _told(look: Look, role: str, frame: bytes) -> dict[str, Any]:
    """What is said of a frame, as programs get it."""
    events, out = look.client.explain(role, frame)
    said = {"role": role, "frame": frame.hex(), "events": events, "rules": rulings(look, events)}
    return said | {"sent": out.hex() if out else None}


def _of_a_piece(look: Look, placed: dict[str, Any], fragment: str) -> list[dict[str, Any]]:
    """Of it, and of the whole if that is waited for. Who sets DF sends no pieces."""
    from pcg.cli import packets

    whole = packets.Wanted(**placed | {"df": False, "length": placed["length"] or CUT})
    piece = _told(look, *packets.build(look, replace(whole, fragment=fragment)))
    held = piece["events"] and piece["events"][-1]["verdict"] == "held"
    return [piece, _told(look, *packets.build(look, whole))] if held else [piece]


def _complaint(look: Look, told: dict[str, Any], about: dict[str, Any]) -> tuple[str, bytes]:
    """Nobody beyond the gateway complains of what does not get there."""
    from pcg.cli import packets

    last = told["events"][-1] if told["events"] else {"verdict": "nothing"}
    answered = any(event["note"].startswith("answered") for event in told["events"])
    if last["verdict"] != "sent" or answered:
        why = "is answered here" if answered else f"is {last['verdict']} here"
        reason = last.get("reason") and f" ({last['reason']})"
        mend = "nobody else tells of it; ask without --error"
        raise BackendError("that packet", why + (reason or ""), mend)
    left = bytes.fromhex(told["sent"])
    return packets.complaint(look, last["nic_out"], left, about["error"], about["by"], about["mtu"])


def _lines(look: Look, told: dict[str, Any], what: str) -> Iterator[str]:
    from pcg.cli import packets

    yield f"{what}by the {told['role']}: {packets.describe(bytes.fromhex(told['frame']))}"
    if not told["events"]:
        yield "the datapath says nothing about it"
        return
    yield from story.lines(look, told["events"])
    for ruled, text in told["rules"]:
        yield f"  {ruled:<8} {text}"
    if told["sent"]:
        drawn = any(event["note"].startswith(DRAWN) for event in told["events"])
        how = " (its port will be another: it is drawn)" if drawn else ""
        yield f"as it would leave{how}: {packets.describe(bytes.fromhex(told['sent']))}"
    if told.get("remark"):
        yield told["remark"]
