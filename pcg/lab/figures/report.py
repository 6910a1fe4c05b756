"""The figures as tables for a person and as JSON for a program."""

import json
import os
import platform
import subprocess
import time
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from pcg.lab.figures.rtt import Rtt
from pcg.lab.figures.tcp import Tcp, medians
from pcg.lab.layout import ROOT

PATH = ROOT / "build" / "figures.json"
OURS, PEER = "PCG", "OVS"
ADDED_MS_MAX = 0.2  # over kernel routing
RATIO_MAX = 0.5  # of the peer's CPU time per Gbit
CHARGED = (
    "CPU time of the gateway's process alone: what it sends is received at the receivers' expense, "
    "what it receives is delivered at the senders' (pcg/lab/figures/cpu.py)"
)


def conditions() -> dict:
    """What one must know to compare two runs: of which source, on what machine, how busy."""
    changed = _git("status", "--porcelain", "--", "datapath_c", "pcg").splitlines()
    return {
        "begun": time.ctime(),
        "revision": _git("rev-parse", "--short", "HEAD").strip(),
        "changed_since": [line[3:] for line in changed],
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load_before": load(),
    }


def load() -> float:
    """Of the last minute."""
    return round(os.getloadavg()[0], 2)


def _git(*args: str) -> str:
    done = subprocess.run(("git", "-C", ROOT, *args), capture_output=True, text=True, check=False)
    return done.stdout


# ---- for a person ----


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _judged(value: float, limit: float, form: str = ".2f") -> str:
    colour = "green" if value <= limit else "red"
    return f"[{colour}]{value:{form}}[/]"


def print_trips(console: Console, trips: list[Rtt]) -> None:
    title = "round trip at 100 packets/s, ms (added: at most 0.2)"
    table = _table(title, "path", "median", "90 %", "added", "echoes", "lost")
    for trip in trips:
        added = trip.median - trips[0].median
        shown = _judged(added, ADDED_MS_MAX, ".3f") if trip.path == OURS else f"{added:.3f}"
        row = (f"{trip.median:.3f}", f"{trip.high:.3f}", shown, str(trip.echoes), str(trip.lost))
        table.add_row(trip.path, *row)
    console.print(table)


def print_transfers(console: Console, transfers: list[Tcp]) -> None:
    """Medians, and a line that compares under each pair."""
    found = medians(transfers)
    title = f"TCP through the gateway, medians of {found[0].rounds} rounds in turns; {CHARGED}"
    console.print(title)
    columns = ("Gbit/s", "core-s/Gbit", "user", "system", "lowest", "highest", "cores")
    table = _table("", "MTU, way", "gateway", *columns)
    for ours, peer in _pairs(found):
        for t in (ours, peer):
            costs = [run.core_s_per_gbit for run in transfers if run.key == t.key]
            shown = (t.core_s_per_gbit, t.user, t.system, min(costs), max(costs))
            row = [f"{t.gbit_s:.2f}", *(f"{c:.3f}" for c in shown), f"{t.cores:.2f}"]
            table.add_row(f"{t.mtu} {t.way}", t.gateway, *row)
        ratio = ours.core_s_per_gbit / peer.core_s_per_gbit
        shown = (f"{ours.gbit_s / peer.gbit_s:.2f}", _judged(ratio, RATIO_MAX))
        table.add_row("", f"{OURS}/{PEER}", *shown, end_section=True)
    console.print(table)


def _pairs(found: list[Tcp]) -> list[tuple[Tcp, Tcp]]:
    by_key = {t.key: t for t in found}
    return [(t, by_key[(PEER, *t.key[1:])]) for t in found if t.gateway == OURS]


# ---- for a program ----


def write(about: dict, trips: list[Rtt], transfers: list[Tcp]) -> None:
    found = medians(transfers)
    kernel = trips[0].median
    ratios = [
        {
            "mtu": ours.mtu,
            "way": ours.way,
            "gbit_s": ours.gbit_s / peer.gbit_s,
            "core_s_per_gbit": ours.core_s_per_gbit / peer.core_s_per_gbit,
        }
        for ours, peer in _pairs(found)
    ]
    document = {
        "about": about | {"cpu": CHARGED},
        "limits": {"added_ms": ADDED_MS_MAX, "core_s_per_gbit_ratio": RATIO_MAX},
        "rtt_ms": [asdict(trip) | {"added": trip.median - kernel} for trip in trips],
        "tcp": [asdict(t) for t in found],
        "tcp_ratio_to_peer": ratios,
        "tcp_runs": [asdict(t) for t in transfers],
    }
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(document, indent=1) + "\n")
