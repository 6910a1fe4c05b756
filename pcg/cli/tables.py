"""Rows on a terminal, or as JSON for programs."""

import json
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

COUNTS = ("packets", "bytes", "sessions", "value")  # numbers that grow, not names
WIDE = 4000  # columns when a file or a pipe reads along: nothing is cut or folded


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


class Terminal(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # ours to end by (errors.py)


def console() -> Console:
    return Terminal(width=None if sys.stdout.isatty() else WIDE, highlight=False, markup=False)


def print_rows(rows: Sequence[dict], columns: Sequence[Column], title: str, as_json: bool) -> None:
    """JSON has every key of a row, the table those that have a column."""
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        kinds = {type(row.get(column.key)) for row in rows} - {type(None)}
        numbers = kinds == {int}
        table.add_column(column.title, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(text(row.get(c.key), c.key.endswith(COUNTS)) for c in columns))
    out = console()
    if rows:
        out.print(table)
    else:
        out.print(f"no {title}")
