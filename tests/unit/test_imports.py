"""Imports point one way (DESIGN section 2): lower ranks only, programs never import each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RANKS = {
    "model": 0,
    "wire": 1,
    "reconcile": 1,
    "proto": 2,
    "datapath": 2,
    "drivers": 2,
    "gateway": 3,
    "ha": 3,
    "controller": 3,
    "agent": 3,
    "manager": 3,
    "csm": 3,
    "cli": 4,
    "lab": 5,
}
CFFI_MODULES, CFFI_OWNER = {"_pcgdp", "cffi"}, "datapath"  # the border is opened in one place


def test_every_import_points_down():
    files = sorted((ROOT / "pcg").rglob("*.py"))
    assert files
    wrong = [w for f in files for w in violations(f.relative_to(ROOT), f.read_text())]
    assert wrong == []


# fmt: off
CASES = [
    # file               text                                what is wrong
    ("pcg/gateway/a.py", "from pcg.controller import serve", "3 may not import pcg.controller (3)"),
    ("pcg/model/a.py",   "import pcg.wire.codec",            "0 may not import pcg.wire (1)"),
    ("pcg/model/a.py",   "from pcg import wire, model",      "0 may not import pcg.wire (1)"),
    ("pcg/wire/a.py",    "from ..reconcile import plan",     "1 may not import pcg.reconcile (1)"),
    ("pcg/wire/a.py",    "if x:\n import pcg.proto.link",    "1 may not import pcg.proto (2)"),
    ("pcg/model/a.py",   "import_module('pcg.cli')",         "0 may not import pcg.cli (4)"),
    ("pcg/gateway/a.py", "from pcg.lab import ns",           "3 may not import pcg.lab (5)"),
    ("pcg/__init__.py",  "from pcg.model import desired",    "none may not import pcg.model (0)"),
    ("pcg/gateway/a.py", "from pcg.other import x",          "pcg.other has no rank"),
    ("pcg/other/a.py",   "",                                 "pcg.other has no rank"),
    ("pcg/loose.py",     "",                                 "pcg.loose has no rank"),
    ("pcg/drivers/a.py", "from pcg.datapath import _pcgdp",  "only pcg.datapath may import _pcgdp"),
    ("pcg/drivers/a.py", "import _pcgdp",                    "only pcg.datapath may import _pcgdp"),
    ("pcg/drivers/a.py", "from cffi import FFI",            "only pcg.datapath may import cffi"),
]
# fmt: on


@pytest.mark.parametrize("file, text, what", CASES)
def test_the_check_can_fail(file, text, what):
    assert any(what in wrong for wrong in violations(Path(file), text))


@pytest.mark.parametrize(
    "file, text",
    [
        ("pcg/gateway/loop.py", "from pcg.wire import codec\nfrom pcg.gateway import store"),
        ("pcg/gateway/loop.py", "from . import store\nfrom ..model import desired"),
        ("pcg/datapath/lib.py", "from pcg.datapath import _pcgdp\nimport _pcgdp"),
        ("pcg/lab/demo.py", "from pcg.cli import main\nimport os"),
        ("pcg/__init__.py", ""),
    ],
)
def test_what_is_allowed(file, text):
    assert violations(Path(file), text) == []


def violations(file: Path, text: str) -> list[str]:
    """One line for each import of `file` (relative to the root) that is not allowed."""
    ours = package_of(module_of(file))
    if ours and ours not in RANKS:
        return [f"{file}: pcg.{ours} has no rank"]
    found = []
    for line, name in imports(file, ast.parse(text, str(file))):
        theirs = package_of(name)
        if (cffi := CFFI_MODULES.intersection(name.split("."))) and ours != CFFI_OWNER:
            found.append(f"{file}:{line}: only pcg.{CFFI_OWNER} may import {min(cffi)}")
        elif name.split(".")[0] != "pcg" or theirs == ours or not theirs:
            continue
        elif theirs not in RANKS:
            found.append(f"{file}:{line}: pcg.{theirs} has no rank")
        elif RANKS[theirs] >= RANKS.get(ours, -1):
            rank = f"{RANKS.get(ours, 'none')} may not import pcg.{theirs} ({RANKS[theirs]})"
            found.append(f"{file}:{line}: rank {rank}")
    return found


def module_of(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def package_of(name: str) -> str:
    """ "wire" of "pcg.wire.codec"; "" of "pcg" and of what is not ours."""
    parts = name.split(".")
    ours = parts[1] if parts[0] == "pcg" and len(parts) > 1 else ""
    return "cli" if ours == "__main__" else ours  # `python -m pcg` is the command line's door


def imports(file: Path, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, wherever in the file, also by import_module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [parent(file, node.level), node.module]))
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
            literal = node.args[0] if node.args else None
            if isinstance(literal, ast.Constant) and isinstance(literal.value, str):
                yield node.lineno, literal.value


def called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def parent(file: Path, level: int) -> str:
    """The package that `level` dots of a relative import mean; "" for none."""
    return ".".join(file.parts[:-level]) if level else ""
