"""The rows as a table for a person: each figure, its bar, and how far above the floor it is."""

from rich.console import Console
from rich.table import Table

from bench.rows import OURS, Row

ABLATION = "ablation"


def show(console: Console, rows: list[Row], machine: dict) -> None:
    console.print(f"{machine['cpu']}, {machine['cores']} cores, {machine['caches']}")
    console.print(
        f"Linux {machine['kernel']}, revision {machine['revision']}, {machine['took_s']} s"
    )
    missing = [name for name, got in machine["permitted"].items() if not got]
    if missing:
        console.print(f"[yellow]noisier than need be; not permitted: {', '.join(missing)}[/]")
    if packets := [r for r in rows if r.cycles_per_packet is not None]:
        console.print(_packets(packets))
    for title, wanted, made in PARTS:
        if found := [r for r in rows if r.cycles_per_packet is None and wanted(r)]:
            console.print(made(title, found))


def _packets(rows: list[Row]) -> Table:
    table = Table(title="cycles per packet: lower quartile of the passes", title_justify="left")
    table.add_column("workload")
    for name in ("sessions", "bytes", "Mpps", "cycles", "bar", "min", "median", "75 %", "x floor"):
        table.add_column(name, justify="right")
    if compared := any("times" in r.more for r in rows):
        table.add_column("x PCG", justify="right")
    for r in rows:
        numbers = (r.cycles_min, r.cycles_median, r.cycles_p75)
        table.add_row(
            label(r),
            f"{r.sessions:,}",
            str(r.packet_size),
            judged(r, "mpps", "5.2f"),
            judged(r, "cycles_per_packet", ".0f"),
            bar(r),
            *(f"{n:.0f}" for n in numbers),
            floors(r),
            *([f"{r.more['times']:.1f}" if "times" in r.more else ""] if compared else []),
        )
    return table


def _wired(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    for name in ("sessions", "bytes", "Mpps", "x floor", "Gbit/s"):
        table.add_column(name, justify="right")
    table.add_column("")
    for r in rows:
        gbit = f"{r.more['gbit_s']:.2f}" if "gbit_s" in r.more else ""
        numbers = f"{r.sessions:,}", str(r.packet_size), f"{r.mpps:.3f}", floors(r), gbit
        table.add_row(label(r), *numbers, r.note)
    return table


def _latencies(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    for name in ("load", "50 %", "x floor", "90 %", "99 %", "99.9 %", "lost"):
        table.add_column(name, justify="right")
    for r in rows:
        us, lost = r.more["us"], 100 * max(0, r.more["lost"]) / max(1, r.more["sent"])
        median, *tail = (f"{us[p]:.0f}" for p in ("50", "90", "99", "99.9"))
        what = f"{r.system} {r.driver}", f"{r.more['load']} %"
        table.add_row(*what, median, floors(r), *tail, f"{lost:.2f} %")
    return table


def _others(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    for name in ("sessions", "value", "", "bar"):
        table.add_column(name, justify="right")
    table.add_column("")
    for r in rows:
        value = "" if r.value is None else judged(r, "value", ".4g")
        table.add_row(
            label(r), f"{r.sessions:,}" if r.sessions else "", value, r.unit, bar(r), r.note
        )
    return table


def _ablations(title: str, rows: list[Row]) -> Table:
    ways = list(dict.fromkeys(r.more["workload"] for r in rows))
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    for way in ways:
        table.add_column(way, justify="right")
    for what in dict.fromkeys(r.more["what"] for r in rows):
        found = {r.more["workload"]: f"{r.value:+.0f}" for r in rows if r.more["what"] == what}
        table.add_row(what, *(found.get(way, "") for way in ways))
    return table


def _classifiers(title: str, rows: list[Row]) -> Table:
    """A line a number of rules and kind of packets, a column an algorithm."""
    names = list(dict.fromkeys(r.more["algorithm"] for r in rows))
    table = Table(title=title, title_justify="left")
    for name in ("rules", "packets"):
        table.add_column(name)
    for name in names:
        table.add_column(name, justify="right")
        table.add_column("KiB", justify="right")
        table.add_column("ms", justify="right")
    for case in dict.fromkeys((r.more["rules"], r.more["packets"]) for r in rows):
        cells = [f"{case[0]:,}", case[1]]
        for r in rows:
            if (r.more["rules"], r.more["packets"]) == case:
                kib, ms = r.more["bytes"] / 1024, r.more["built_us"] / 1e3
                cells += [f"{r.value:.0f}", f"{kib:.0f}", f"{ms:.2f}"]
        table.add_row(*cells)
    return table


def _profile(title: str, rows: list[Row]) -> Table:
    """A column a workload, a line a part of the path; "-": no packet came to it."""
    table = Table(title=title, title_justify="left")
    table.add_column("part")
    for i, r in enumerate(rows, 1):
        table.add_column(f"{r.workload.removeprefix('profile ')} ({i})", justify="right")
    for part in rows[0].more["parts"]:
        adds = (r.more["parts"][part] for r in rows)
        table.add_row(part, *("-" if n is None else f"{n:.1f}" for n in adds))
    table.add_section()
    table.add_row("whole", *(f"{r.value:.1f}" for r in rows))
    table.add_row("floor", *(f"{r.floor:.1f}" if r.floor else "" for r in rows))
    table.add_row("x floor", *(floors(r) for r in rows))
    table.caption = "\n".join(
        f"({i}) {r.sessions:,} sessions; {r.note}" for i, r in enumerate(rows, 1)
    )
    table.caption_justify = "left"
    return table


def _is_figure(r: Row) -> bool:
    return r.workload == ABLATION and r.value is not None


def _elsewhere(r: Row) -> bool:
    """It has a table of its own."""
    return r.mpps is not None or bool(OWN & r.more.keys()) or _is_figure(r)


OWN = {"us", "parts", "algorithm"}  # in `more`


PARTS = (
    ("over veth pairs", lambda r: r.mpps is not None, _wired),
    ("latency over veth pairs, us, by load", lambda r: "us" in r.more, _latencies),
    ("the rest", lambda r: not _elsewhere(r), _others),
    (
        "ways to classify: cycles a look-up, memory, time to lay out",
        lambda r: "algorithm" in r.more,
        _classifiers,
    ),
    ("ablations: per cent slower than the path as it is", _is_figure, _ablations),
    ("profile: cycles per packet, by part of the path", lambda r: "parts" in r.more, _profile),
)


def label(r: Row) -> str:
    parts = [r.workload]
    parts += [r.system] if r.system != OURS else []
    parts += [r.driver] if r.driver != "mem" else []
    parts += [f"{r.workers} workers"] if r.workers > 1 else []
    return " ".join(parts)


def floors(r: Row) -> str:
    times = r.times_floor()
    return f"{times:.1f}" if times else ""


def judged(r: Row, which: str, form: str) -> str:
    text = f"{getattr(r, which):{form}}"
    of = r.bar()
    if of is None or of[0] != which:
        return text
    return f"[{'green' if r.met() else 'red'}]{text}[/]"


def bar(r: Row) -> str:
    of = r.bar()
    if of is None or r.met() is None:
        return ""
    sign = "<=" if of[2] == "at most" else ">="
    return f"{sign} {of[1]:g} [{'green]met' if r.met() else 'red]missed'}[/]"
