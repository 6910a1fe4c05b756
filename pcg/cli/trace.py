"""`pcgctl trace`: the next packets that match, stage by stage, and why each one left."""

import json
import time
from collections.abc import Iterator
from ipaddress import IPv4Address

import click

from pcg.cli import story
from pcg.cli.kinds import PROTOCOLS, Address, Seconds
from pcg.cli.look import Look
from pcg.datapath.pack import TraceFilter

ANY = "0.0.0.0"
LOOK_S = 0.05  # between two reads of the trace


def follow(look: Look, count: int, timeout_s: float) -> Iterator[list[story.Event]]:
    """Packets as they leave, each whole: until `count` of them, or until time is up."""
    deadline, seen, packets = time.monotonic() + timeout_s, 0, story.Packets()
    while True:
        events = look.client.trace_read()
        for packet in packets.feed(events):
            seen += 1
            yield packet
        if seen >= count:
            return
        if time.monotonic() > deadline:
            yield from packets.rest()
            return
        if not events:
            time.sleep(LOOK_S)


@click.command()
@click.option("--count", type=click.IntRange(1), default=1, show_default=True)
@click.option("--address", type=Address(), default=ANY, help="Inner source or destination.")
@click.option("--peer", type=Address(), default=ANY, help="The other of the two.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of either end.")
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), default="any")
@click.option("--vni", type=click.IntRange(0, 0xFFFFFF), default=0)
@click.option("--drops", is_flag=True, help="Only packets that are dropped.")
@click.option("--timeout", "timeout_s", type=Seconds(), default=10.0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="For programs: one packet a line.")
@click.pass_obj
def trace(
    look: Look,
    count: int,
    address: str,
    peer: str,
    port: int,
    protocol: str,
    vni: int,
    drops: bool,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Trace the next packets that match."""
    ends = IPv4Address(address).packed, IPv4Address(peer).packed
    wanted = TraceFilter(*ends, vni, port, PROTOCOLS[protocol], int(drops))
    look.client.trace_start(wanted, count)
    seen = 0
    for events in follow(look, count, timeout_s):
        seen += 1
        click.echo(json.dumps(events) if as_json else "\n".join(story.lines(look, events)))
    if seen < count:
        click.echo(f"{seen} of {count} packets within {timeout_s:g} s", err=True)
    return 0 if seen else 1
