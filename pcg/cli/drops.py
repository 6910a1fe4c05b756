"""`pcgctl drops`: one ledger of every way a frame ended, from NIC to firewall rule."""

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import click

from pcg.cli import drop_blocks, drop_rows, names, recent
from pcg.cli.drop_rows import Row
from pcg.cli.kinds import Seconds
from pcg.cli.look import Look
from pcg.cli.tables import Column, console, print_rows
from pcg.model.errors import BackendError
from pcg.wire.messages import Shortage

COUNTS = tuple(
    Column(*pair)
    for pair in (
        ("Counted by", "source"),
        ("Where", "where"),
        ("Reason", "reason"),
        ("Packets", "packets"),
        ("A second", "rate"),
        ("First", "first"),
        ("Last", "last"),
        ("Segment", "segment"),
        ("Rule", "rule"),
        ("Example", "example"),
    )
)
FLOWS = tuple(
    Column(*pair)
    for pair in (
        ("Last", "last"),
        ("Packets", "packets"),
        ("Reason", "reason"),
        ("Rule", "rule"),
        ("Flow", "flow"),
        ("By", "where"),
        ("Segment", "segment"),
        ("First", "first"),
    )
)
Block = Callable[[Row], Iterable[str]]
SHOWN = 50  # flows, for people
WORDS = (Column("Reason", "reason"), Column("What it means", "means"), Column("Do", "advice"))


def gather(look: Look, every: bool, earlier: drop_rows.Earlier | None) -> list[Row]:
    """All rows; who does not answer is said on stderr, and raised when nobody does."""
    rows, silent, known = [], [], names.Names({})
    try:
        told = look.ask_gateway("drops")
        known = names.known(look)
        if told["error"]:
            click.echo(f"of interfaces and nftables nothing is known: {told['error']}", err=True)
        rows += drop_rows.kernel(told, every)
    except BackendError as error:
        silent.append(error)
    try:
        path = [*drop_rows.datapath(look, known, earlier)]
        if not any(row["source"] == "port" for row in rows):
            path += drop_rows.ports(look, earlier)
        rows = path + rows
    except BackendError as error:
        silent.append(error)
    if len(silent) == 2:
        raise silent[1]
    for error in silent:
        click.echo(f"incomplete: {error}", err=True)
    return rows


def earlier(look: Look, over_s: float) -> drop_rows.Earlier | None:
    """A first reading, and that time has passed since; None: no rates are to be had."""
    if not over_s:
        return None
    try:
        first = drop_rows.Earlier(look)
    except BackendError:  # gather() will say it
        return None
    time.sleep(over_s)
    return first


def moment(wall_s: float | None) -> str:
    """
    >>> moment(None)
    ''
    """
    if wall_s is None:
        return ""
    return datetime.fromtimestamp(wall_s).astimezone().isoformat(" ", "seconds")[:19]


def example(row: Row) -> str:
    """One packet in words: who sent it, to whom."""
    found = row["example"]
    if not found:
        return ""
    tep = recent.tunnel(found)
    if not found["source"]:
        return f"{found['length']} bytes{tep}"

    def side(which: str) -> str:
        name = found[f"{which}_name"]
        if not name and which == "source" and found["protocol"] == "arp":
            name = found["source_mac"]
        return f"{found[which]} ({name})" if name else found[which]

    return f"{found['protocol']} {side('source')} -> {side('destination')}{tep}"


def for_people(row: Row) -> Row:
    shown = {"first": moment(row["first"]), "last": moment(row["last"]), "example": example(row)}
    rate = "" if row["rate"] is None else f"{row['rate']:,.1f}"
    return row | shown | {"rate": rate}


def show(rows: list[Row], table: Sequence[Column], nothing: str, block: Block) -> None:
    """A table and the words of its reasons, or below each other where that is too wide."""
    columns = console().width
    if rows and columns < drop_blocks.ENOUGH:
        click.echo("\n".join(drop_blocks.lines(((row, block(row)) for row in rows), columns)))
        return
    print_rows(rows, table, nothing, as_json=False)
    if rows:
        reasons = {(row["reason"], row["means"]): row for row in rows}
        print_rows(list(reasons.values()), WORDS, "reasons", as_json=False)


def show_shortage(look: Look, since_s: float | None) -> None:
    """Who gets no more of what all share: the latest."""
    with contextlib.suppress(BackendError):  # gather() has said it
        told = look.ask_gateway("shortages")
        if told and (since_s is None or time.time() - told[-1]["at"] <= since_s):
            latest = Shortage(**told[-1])
            more = f"; {len(told)} in `pcgctl show shortages`" if told[1:] else ""
            click.echo(f"since {moment(latest.at)}: {latest.text}{more}")


def show_recent(look: Look, since_s: float | None, as_json: bool) -> None:
    """Flows dropped lately, the latest first."""
    known = names.if_known(look)
    rows = [recent.row(look, known, flow) for flow in look.client.recent()]
    rows = [row for row in rows if since_s is None or row["ago_s"] <= since_s]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    shown = [
        row
        | {"flow": recent.ends(row), "last": f"{recent.span(row['ago_s'])} ago"}
        | {"first": moment(row["first"])}
        for row in rows[:SHOWN]
    ]
    show(shown, FLOWS, "flows that were dropped lately", drop_blocks.dropped)
    if len(rows) > SHOWN:
        click.echo(f"and {len(rows) - SHOWN} more: --since says fewer, --json all")
    if missing := recent.unlisted(look.client.ledger()):
        click.echo(recent.unlisted_text(missing))


@click.command()
@click.option(
    "--over",
    "over_s",
    type=Seconds(),
    default=1.0,
    show_default=True,
    help="Seconds between two readings, for the rates; 0: no rates of the datapath.",
)
@click.option("--since", "since_s", type=Seconds(), help="Only what was seen in the last seconds.")
@click.option("--recent", "flows", is_flag=True, help="Flows that the datapath dropped lately.")
@click.option("--all", "every", is_flag=True, help="Also counters at nought, and frames steered.")
@click.option("--json", "as_json", is_flag=True, help="For programs; with the example's bytes.")
@click.pass_obj
def drops(
    look: Look, over_s: float, since_s: float | None, flows: bool, every: bool, as_json: bool
) -> None:
    """Every way a frame ended, from NIC to firewall rule: who counted it, and what to do.

    Who counts: datapath, port, interface, driver, cloud, nftables, kernel, relay.
    """
    if flows:
        show_recent(look, since_s, as_json)
        return
    rows = gather(look, every, earlier(look, over_s))
    rows = [row for row in rows if row["packets"] or every]
    if since_s is not None:
        rows = [row for row in rows if row["last"] and time.time() - row["last"] <= since_s]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    show([for_people(row) for row in rows], COUNTS, "drops", drop_blocks.counted)
    show_shortage(look, since_s)
