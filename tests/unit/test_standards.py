"""docs/standards.md: every row's tests exist, and quote the row's number."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
NUMBER = re.compile(r"(REQ-\d+[a-z]?|section [\d.]*\d)$")
# All that the three NAT RFCs number.
WHOLE = {4787: 14, 5382: 10, 5508: 11}


class Row(NamedTuple):
    number: str  # "RFC 4787 REQ-1"; without an RFC where there is none
    asks: str
    here: str
    tests: tuple[str, ...]


def rows() -> list[Row]:
    found, rfc = [], ""
    for line in (ROOT / "docs" / "standards.md").read_text().splitlines():
        if heading := re.match(r"## (.*?):", line):
            rfc = heading[1]
        elif line.startswith("## "):
            rfc = ""
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|") or cells[0] in ("number", "---|---|---|---"):
            continue
        number, asks, here, tests = cells
        number = f"{rfc} {number}" if re.match(r"RFC \d+$", rfc) else number
        found.append(Row(number, asks, here, tuple(re.findall(r"`([^`]+::[^`]+)`", tests))))
    return found


ROWS = rows()
REFERENCES = [(row.number, test) for row in ROWS for test in row.tests]


@cache
def module(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def text_of(reference: str) -> str:
    """The test's name and source, and what its class says; KeyError when there is no such test."""
    file, *names = reference.split("::")
    path = TESTS / file
    node: ast.AST = module(path)
    said = ""
    for name in names:
        inside = {n.name: n for n in node.body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
        node = inside[name]
        said += f" {ast.get_docstring(node) or ''}" if isinstance(node, ast.ClassDef) else ""
    lines = path.read_text().splitlines()
    return f"{said} {' '.join(lines[node.lineno - 1 : node.end_lineno])}"


def quoted(number: str, text: str) -> bool:
    rfc, _, rest = number.removeprefix("RFC ").partition(" ")
    plain = re.sub(r"[#\s]+", " ", text)
    if not rest:
        return f"RFC {rfc}" in plain
    return bool(re.search(rf"RFC {rfc}[^;]*? {re.escape(rest)}(?![\w.]*\d|[a-z])", plain))


@pytest.mark.parametrize("number, test", REFERENCES, ids=lambda value: value)
def test_a_row_names_a_test_that_is_there_and_quotes_it(number, test):
    text = text_of(test)
    if number.startswith("RFC"):
        assert quoted(number, text), f"{test} does not say {number}"


def test_every_row_is_whole():
    assert len(ROWS) > 80
    for row in ROWS:
        assert row.asks, row
        assert row.here, row
        assert row.tests, row
        assert (
            not row.number.startswith("RFC")
            or row.number.count(" ") == 1
            or NUMBER.search(row.number)
        )
    assert len({row.number for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("rfc", WHOLE)
def test_no_number_of_the_nat_rfcs_is_missing(rfc):
    said = {row.number for row in ROWS}
    assert {f"RFC {rfc} REQ-{n}" for n in range(1, WHOLE[rfc] + 1)} <= said
    beyond = [
        n for n in said if (m := re.match(rf"RFC {rfc} REQ-(\d+)", n)) and int(m[1]) > WHOLE[rfc]
    ]
    assert not beyond


def test_a_number_that_is_not_quoted_is_noticed():
    assert quoted("RFC 4787 REQ-1", "RFC 4787 REQ-1: so")
    assert quoted("RFC 4787 REQ-8", "RFC 4787 REQ-1, REQ-8")
    assert not quoted("RFC 4787 REQ-1", "RFC 4787 REQ-12")
    assert not quoted("RFC 4787 REQ-1", "RFC 4787 REQ-1a")
    assert not quoted("RFC 4787 REQ-1", "RFC 5382 REQ-1")
    assert not quoted("RFC 1812 section 4.3.2", "RFC 1812 section 4.3.2.7")
    with pytest.raises(KeyError):
        text_of("unit/test_standards.py::test_that_is_not_there")
