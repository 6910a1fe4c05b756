"""The sizes that we hold files and functions to. When one hurts, say so here, with the reason."""

import ast
import re
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).resolve().parents[2]
C_MAX, PYTHON_MAX, FUNCTION_MAX = 350, 300, 100
LARGER = {
    "datapath_c/src/session.c": 450,  # the session table carries its theory block
}
C_FILES = [*sorted(ROOT.glob("datapath_c/src/*.[ch]")), *sorted(ROOT.glob("bench/*.c"))]
PYTHON_FILES = [*sorted(ROOT.glob("pcg/**/*.py")), *sorted(ROOT.glob("bench/*.py"))]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def c_functions(path: Path) -> dict[str, int]:
    """Name -> lines. Kernel style: the body's braces stand alone in the first column."""
    found, start = {}, None
    text = lines(path)
    for i, line in enumerate(text):
        if line == "{" and i and text[i - 1].rstrip().endswith(")"):
            start = i
        elif line == "}" and start is not None:
            head = re.findall(r"(\w+)\(", " ".join(text[max(0, start - 3) : start]))
            found[f"{name(path)}:{head[-1] if head else start}"] = i - start + 2
            start = None
    return found


def python_functions(path: Path) -> dict[str, int]:
    tree = ast.parse(path.read_text())
    return {
        f"{name(path)}:{node.name}": node.end_lineno - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("path", C_FILES + PYTHON_FILES, ids=name)
def test_a_file_fits_in_your_head(path):
    limit = LARGER.get(name(path), PYTHON_MAX if path.suffix == ".py" else C_MAX)
    assert len(lines(path)) <= limit


LANGUAGES = {
    "C": [c_functions(path) for path in C_FILES],
    "Python": [python_functions(path) for path in PYTHON_FILES],
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_functions_are_short(language):
    sizes = {function: n for each in LANGUAGES[language] for function, n in each.items()}
    assert len(sizes) > 100, "they were not found"
    assert {f: n for f, n in sizes.items() if n > FUNCTION_MAX} == {}
    assert median(sizes.values()) <= 15
    assert quantiles(sizes.values(), n=10)[-1] <= 50


@pytest.mark.parametrize("path", C_FILES, ids=name)
def test_c_says_its_licence_and_what_it_is(path):
    first, second = lines(path)[:2]
    assert "SPDX-License-Identifier: Apache-2.0" in first
    assert second.startswith(f"// {path.name} - ")
