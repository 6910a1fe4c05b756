"""The ledger on a narrow terminal: a block for each row, as ten columns do not fit side by side."""

import textwrap
from collections.abc import Iterable, Iterator

from pcg.cli.drop_rows import Row
from pcg.cli.recent import packets

ENOUGH = 150  # columns that a table of it can be read in
LABEL = "  {:<8}"


def counted(row: Row) -> Iterator[str]:
    """A line of the ledger, shown as drops.for_people does."""
    rate = f", {row['rate']} a second" if row["rate"] not in ("", "0.0") else ""
    yield f"{row['reason']}: {packets(row['packets'])}{rate}, {row['where']}"
    yield _label("counter", row["source"])
    if row["last"]:
        yield _label("seen", f"{row['first']} to {row['last']}")
    yield from _whose(row, row["example"])


def dropped(row: Row) -> Iterator[str]:
    """A flow, shown as drops.show_recent does."""
    yield f"{row['reason']}: {packets(row['packets'])}, the last {row['last']}, {row['where']}"
    yield _label("since", row["first"])
    yield from _whose(row, row["flow"])


def _whose(row: Row, packet: str) -> Iterator[str]:
    for label, value in (("segment", row["segment"]), ("rule", row["rule"]), ("packet", packet)):
        if value:
            yield _label(label, value)


def _label(label: str, text: str) -> str:
    return LABEL.format(label) + text


def lines(blocks: Iterable[tuple[Row, Iterable[str]]], columns: int) -> Iterator[str]:
    """All rows; what a reason means and asks for stands below the first of its rows."""
    told = set()
    indent = " " * len(_label("", ""))
    for row, block in blocks:
        texts = list(block)
        if (kind := (row["reason"], row["means"])) not in told:
            told.add(kind)
            texts += [_label("means", row["means"]), _label("do", row["advice"])]
        for text in texts:
            yield from textwrap.wrap(text, columns, subsequent_indent=indent)
        yield ""
