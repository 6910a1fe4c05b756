"""Rows on a terminal, or as JSON for programs."""

import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

COUNTS = ("packets", "bytes", "sessions", "value")  # numbers that grow, not names
WIDE = 4000  # columns when a file or a pipe reads along: nothing is cut or folded
LATER_INDENTED = {"subsequent_indent": "  "}
INDENTED = {"initial_indent": "  ", **LATER_INDENTED}


class Column(NamedTuple):
    title: str
    key: str


def text(value: Any, counts: bool = False) -> str:
    """
    >>> text(True), text(None), text(1234567), text(1234567, counts=True), text(["a", "b"])
    ('yes', '', '1234567', '1,234,567', 'a, b')
    """
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    if isinstance(value, list | tuple):
        return ", ".join(map(text, value))
    return f"{value:,}" if counts and isinstance(value, int) else str(value)


def packed(words: Iterable[str], columns: int) -> Iterator[str]:
    """One row as lines: as many of its words side by side as fit, none cut that could be whole.

    >>> list(packed(["VNI 9096", "Name web", "MAC 02:50:56:56:44:88"], 22))
    ['VNI 9096; Name web', '  MAC', '  02:50:56:56:44:88']
    """
    line = ""
    for word in words:
        if line and len(line) + len("; ") + len(word) <= columns:
            line += f"; {word}"
            continue
        if line:
            yield line
        *full, line = textwrap.wrap(word, columns, **(INDENTED if line else LATER_INDENTED))
        yield from full
    if line:
        yield line


class Terminal(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # ours to end by (errors.py)


def console() -> Console:
    return Terminal(width=None if sys.stdout.isatty() else WIDE, highlight=False, markup=False)


def folded(line: str, indent: int) -> str:
    """A line between words, where a terminal would break it anywhere; what follows stands below
    the text that begins after a label of `indent` columns."""
    options = {"break_long_words": False, "break_on_hyphens": False}
    width, below = console().width, " " * indent
    return "\n".join(textwrap.wrap(line, width, subsequent_indent=below, **options))


def print_rows(rows: Sequence[dict], columns: Sequence[Column], title: str, as_json: bool) -> None:
    """JSON has every key of a row, the table those that have a column.

    Where not even single words fit side by side, each row has lines of its own.
    """
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        kinds = {type(row.get(column.key)) for row in rows} - {type(None)}
        numbers = kinds == {int}
        table.add_column(column.title, justify="right" if numbers else "left", overflow="fold")
    shown = [[text(row.get(c.key), c.key.endswith(COUNTS)) for c in columns] for row in rows]
    for row in shown:
        table.add_row(*row)
    out = console()
    if not rows:
        out.print(f"no {title}")
    elif Measurement.get(out, out.options.update(width=WIDE), table).minimum <= out.width:
        out.print(table)
    else:
        for row in shown:
            words = (f"{c.title} {value}" for c, value in zip(columns, row, strict=True) if value)
            print("\n".join(packed(words, out.width)))
