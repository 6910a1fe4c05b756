"""Imports point one way (DESIGN section 2): a package imports lower ranks, or itself."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
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
ONLY_DATAPATH = ("_pcgdp", "cffi")  # the border is opened in one place


def imported(path: Path) -> set[str]:
    """Modules that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module == "pcg" else {node.module}
            assert not node.level, f"{path}: a relative import"
    return found


FILES = sorted(ROOT.glob("pcg/*/**/*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    package = path.relative_to(ROOT / "pcg").parts[0]
    for module in imported(path):
        if module.startswith("pcg."):
            other = module.split(".")[1]
            allowed = other == package or RANKS[other] < RANKS[package]
            assert allowed, f"pcg/{package} (rank {RANKS[package]}) imports {module}"
        elif module.split(".")[0] in ONLY_DATAPATH:
            assert package == "datapath", f"only pcg/datapath may import {module}"
