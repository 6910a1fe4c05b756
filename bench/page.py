"""The report as a page: pictures, and every figure that has a bar. It needs no network to be read.

python -m bench.page [report.json]      writes report.html beside it

What peers came to is of another run, maybe of another revision: the page says which.
"""

import html
import json
import sys
from pathlib import Path

import plotly.graph_objects as go

from bench import plots, plots_choices
from bench.rows import OURS, SHAPE

STYLE = """
:root { --ink: #1b2733; --faint: #66788a; --line: #e3e9ef; --good: #1c8a4a; --bad: #c02f2f; }
* { box-sizing: border-box }
body { margin: 0; background: #f5f7f9; color: var(--ink);
  font: 15px/1.5 Inter, 'DejaVu Sans', system-ui, sans-serif }
main { max-width: 1240px; margin: 0 auto; padding: 36px 24px 64px }
h1 { font-size: 27px; line-height: 1.25; margin: 0 0 6px; letter-spacing: -0.01em }
h2 { font-size: 18px; margin: 0 0 2px }
p { margin: 0 0 8px; color: var(--faint); max-width: 84ch }
.card { background: white; border: 1px solid var(--line); border-radius: 10px;
  padding: 20px 22px; margin-top: 18px; min-width: 0 }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 18px }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px;
  margin-top: 20px }
.tile { background: white; border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px }
.tile b { display: block; font-size: 25px; line-height: 1.2 }
.tile span { color: var(--faint); font-size: 13px }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 600; color: var(--faint); font-size: 13px }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); vertical-align: top }
td.n, th.n { text-align: right; white-space: nowrap }
td.name { white-space: nowrap } td.note { color: var(--faint); font-size: 13px }
.chip { border-radius: 99px; padding: 1px 9px; font-size: 12px; font-weight: 600 }
.met { color: var(--good); background: #e4f4ea } .missed { color: var(--bad); background: #fbe6e6 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 8px 0 0;
  font-size: 14px } dt { color: var(--faint) } dd { margin: 0 }
"""
# A picture is drawn while its neighbour is not there yet, and would stay as wide as both.
RESIZE = "<script>addEventListener('load', () => dispatchEvent(new Event('resize')))</script>"
CARDS = (
    # picture, heading, what to see
    (
        *(plots.cycles, "Cycles per packet by number of sessions"),
        "64-byte inner packets, one core, every packet of a random session. Lower quartile of the"
        " passes; the shade reaches from the fastest pass to the upper quartile. Peers dashed: as"
        " published for the reference machine. In turns: by `make bench-peers`, a run of its own,"
        " in which PCG and the peer took turns; only these two may be compared.",
    ),
    (
        plots.setup,
        "New sessions",
        "The whole decision for a first packet, one core; peers as published.",
    ),
    (plots.sizes, "Packet sizes", "At 100,000 sessions. A tunnel's checksum covers each byte."),
    (plots.latency, "Latency", "Over veth pairs, from sending to arrival, through the gateway."),
    (
        *(plots.memory_ratios, "Open vSwitch with DPDK, in memory"),
        "The same packets in turns, one core, both on 4 KiB pages. What Open vSwitch needs to"
        " receive and drop is taken off its figure.",
    ),
    (
        *(plots.veth_ratios, "Peers over veth pairs"),
        "The same packets in turns; receiving, forwarding and sending on one core.",
    ),
    (
        *(plots_choices.classifiers, "Which rule fits first"),
        "Three algorithms on the same rules; packets that fit the last one. Ours: tuple space.",
    ),
    (
        plots_choices.ablations,
        "What each habit is worth",
        "100,000 sessions; fastest passes compared.",
    ),
)
PEERS = "peers.json"
WIDE = (plots.cycles, plots_choices.ablations)


def render(report: dict) -> str:
    """The page; `report` as run.py writes it."""
    rows, machine, cards, library = report["rows"], report["machine"], [], True
    for picture, heading, text in CARDS:
        figure = picture(rows)
        if not _has_data(figure):
            continue
        options = {"include_plotlyjs": library, "full_html": False, "default_width": "100%"}
        drawn = figure.to_html(**options, config={"displayModeBar": False, "responsive": True})
        library = False
        cards.append((picture in WIDE, f"<h2>{heading}</h2><p>{text}</p>{drawn}"))
    body = (
        _headline(rows, machine, report.get("peers", ""))
        + _laid_out(cards)
        + _bars(rows)
        + _machine(machine)
    )
    head = "<meta charset=utf-8><meta name=viewport content='width=device-width'>"
    title = f"<title>PCG bench, {html.escape(machine['revision'])}</title>"
    page = f"<!doctype html><html lang=en><head>{head}{title}<style>{STYLE}</style></head>"
    return f"{page}<body><main>{body}</main>{RESIZE}</body></html>"


def _has_data(figure: go.Figure) -> bool:
    """Something of ours, not only what was published."""
    ours = [t for t in figure.data if "published" not in (t.name or "")]
    return any(t.y is not None and len(t.y) for t in ours)


def _laid_out(cards: list[tuple[bool, str]]) -> str:
    """Wide ones alone, the others two abreast."""
    out, pair = [], []
    for wide, card in cards:
        section = f"<section class=card>{card}</section>"
        if not wide:
            pair.append(section)
        if wide or len(pair) == 2:
            out += [f"<div class=pair>{''.join(pair)}</div>"] if pair else []
            pair = []
        if wide:
            out.append(section)
    return "".join(out) + (f"<div class=pair>{''.join(pair)}</div>" if pair else "")


# ---- words and numbers ----


def _headline(rows: list[dict], machine: dict, peers: str) -> str:
    judged = [r for r in rows if r["met"] is not None]
    met = sum(r["met"] for r in judged)
    tiles = [(f"{met} of {len(judged)}", "bars met")]
    for way, sessions in (("north", 1_000), ("north", 1_000_000), ("south", 1_000_000)):
        for r in rows:
            if plots._plain(r, way) and r["sessions"] == sessions:
                size = {1_000: "1 k", 1_000_000: "1 M"}[sessions]
                tiles.append((f"{r['mpps']:.1f} Mpps", f"{way}, {size} sessions, one core"))
    for r in rows:
        if r["workload"] == "setup rules" and r["mpps"]:
            tiles.append((f"{r['mpps']:.2f} M/s", "new sessions with 1,000 rules"))
    drawn = "".join(f"<div class=tile><b>{b}</b><span>{text}</span></div>" for b, text in tiles)
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['begun']}"
    return (
        f"<h1>How fast the packet path is</h1><p>Revision {html.escape(machine['revision'])} on "
        f"{html.escape(where)}</p><p>{html.escape(peers)}</p><div class=tiles>{drawn}</div>"
    )


def _bars(rows: list[dict]) -> str:
    drawn = ("us", "what", "algorithm")  # in `more`: they have pictures
    lines = "".join(_line(r) for r in rows if not any(key in r["more"] for key in drawn))
    names = ("figure", "driver", "sessions", "bytes", "Mpps", "value", "bar", "× floor")
    heads = "".join(f"<th{' class=n' if i > 1 else ''}>{n}</th>" for i, n in enumerate(names))
    return (
        "<section class=card><h2>Every figure</h2><p>Value: cycles per packet where no unit is "
        f"given.</p><table><tr>{heads}<th></th><th></th></tr>{lines}</table></section>"
    )


def _line(r: dict) -> str:
    value = r["value"] if r["cycles_per_packet"] is None else r["cycles_per_packet"]
    sign = {"at most": "≤", "at least": "≥"}.get(r["bar_is"], "")
    chip = {True: "met", False: "missed", None: ""}[r["met"]]
    name = " ".join((r["workload"], r["system"] if r["system"] != OURS else "")).strip()
    name += f", {r['workers']} workers" if r["workers"] > 1 else ""
    numbers = (
        f"{r['sessions']:,}" if r["sessions"] else "",
        r["packet_size"] if r["mpps"] else "",
        f"{r['mpps']:.2f}" if r["mpps"] else "",
        f"{_number(value)} {r['unit']}" if value is not None else "",
        f"{sign} {r['bar']:g} {_unit(r)}" if r["bar"] is not None else "",
        f"{r['times_floor']:.1f}" if r["times_floor"] else "",
    )
    cells = "".join(f"<td class=n>{html.escape(str(n))}</td>" for n in numbers)
    mark = f"<td>{f'<span class={chr(34)}chip {chip}{chr(34)}>{chip}</span>' if chip else ''}</td>"
    words = f"<td class=name>{html.escape(name)}</td><td>{html.escape(r['driver'])}</td>"
    return f"<tr>{words}{cells}{mark}<td class=note>{html.escape(r['note'])}</td></tr>"


def _unit(r: dict) -> str:
    """Of its bar, where it is not that of the value beside it: new sessions a second."""
    return "M/s" if r["workload"].startswith("setup") else ""


def _number(value: float) -> str:
    """Three digits that matter.

    >>> [_number(x) for x in (0.0812, 1.987, 168.2, 7393.4)]
    ['0.0812', '1.99', '168', '7393']
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _machine(machine: dict) -> str:
    shown = {k: v for k, v in machine.items() if v not in ("", [])}
    words = "".join(
        f"<dt>{html.escape(k.replace('_', ' '))}</dt><dd>{html.escape(_said(v))}</dd>"
        for k, v in shown.items()
    )
    return f"<section class=card><h2>The machine</h2><dl>{words}</dl></section>"


def _said(value) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}: {'yes' if v is True else v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def write(report: Path) -> Path:
    """Beside it; the rows of a bench of peers that lies there are on the page too."""
    page, peers, shown = report.with_suffix(".html"), report.with_name(PEERS), load(report)
    if peers.exists() and peers != report:
        rows, shown["peers"] = peers_of(peers, shown["machine"])
        shown["rows"] += rows
    page.write_text(render(shown))
    return page


def load(report: Path) -> dict:
    """Raises ValueError for what this page cannot show, and says why."""
    try:
        whole = json.loads(report.read_text())
        shape, revision = whole.get("shape"), whole["machine"]["revision"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{report.name} is no report of the bench: {error!r}") from None
    if shape != SHAPE:
        raise ValueError(f"{report.name} is of another form, that of revision {revision}")
    return whole


def peers_of(file: Path, machine: dict) -> tuple[list[dict], str]:
    """Its rows, and whose they are; no rows if they cannot be read."""
    try:
        other = load(file)
    except ValueError as error:
        return [], f"No peers are shown: {error}. `make bench-peers` measures them anew."
    theirs = other["machine"]
    other_one = any(theirs[key] != machine[key] for key in ("revision", "cpu"))
    text = f"Peers in turns with PCG: revision {theirs['revision']} on {theirs['cpu']}, "
    text += f"{theirs['begun']}{'; this page is of another revision or machine' * other_one}."
    return other["rows"], text


if __name__ == "__main__":
    from bench.run import REPORT

    try:
        print(f"written: {write(Path(sys.argv[1]) if len(sys.argv) > 1 else REPORT)}")
    except ValueError as unreadable:
        sys.exit(str(unreadable))
