"""The pictures of the page. A colour means the same everywhere: blue is this gateway."""

from collections.abc import Iterator
from statistics import mean

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from bench.published import CYCLES, KERNEL, OVS, SETUP, VPP
from bench.rows import CYCLES_MAX, OURS, sizes_of

INK, FAINT, GRID = "#1b2733", "#66788a", "#e6ebf0"
BLUE, BAND = "#1267d6", "rgba(18,103,214,0.16)"
COLOURS = {OURS: BLUE, VPP: "#c2571a", OVS: "#7a4bb0", KERNEL: "#8a6d1f"}
FLOOR, BAR = "#9aa8b5", "#1c8a4a"
WAYS = {"north": "north: tunnel → SNAT → plain", "south": "south: plain → DNAT → tunnel"}
WAYS |= {"east": "east: tunnel → route → tunnel", "mixed": "mixed: north and south in turn"}
TICKS = [1_000, 10_000, 100_000, 1_000_000, 10_000_000]
TICK_TEXT = ["1 k", "10 k", "100 k", "1 M", "10 M"]
CYCLE_TEXT = ["25", "50", "100", "200", "500", "1 k", "2 k", "5 k", "10 k"]
HEIGHT = 380


def styled(figure: go.Figure, height: int = HEIGHT, **layout) -> go.Figure:
    figure.update_layout(
        height=height,
        template="plotly_white",
        font={"family": "Inter, 'DejaVu Sans', system-ui, sans-serif", "size": 13, "color": INK},
        margin={"l": 56, "r": 24, "t": 36, "b": 48},
        hoverlabel={"bgcolor": "white"},
        legend={"orientation": "h", "y": 1.14, "x": 0, "xanchor": "left"},
        **layout,
    )
    figure.update_xaxes(gridcolor=GRID, linecolor=FAINT, ticks="outside", tickcolor=GRID)
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    return figure


def legend_below(figure: go.Figure, entries: int) -> go.Figure:
    """Where a picture is half as wide as the page, a legend above lies over its lines."""
    room = 21 * entries
    figure.update_layout(
        legend={"orientation": "v", "yref": "container", "y": 0, "yanchor": "bottom"}
    )
    return figure.update_layout(height=HEIGHT + room, margin={"t": 16, "b": 62 + room})


# ---- cycles by sessions ----


def cycles(rows: list[dict]) -> go.Figure:
    """Four panels on one scale: ours with its quartiles, the floor, the bars, the peers."""
    figure = make_subplots(
        rows=2,
        cols=2,
        subplot_titles=list(WAYS.values()),
        shared_yaxes=True,
        horizontal_spacing=0.05,
        vertical_spacing=0.14,
    )
    named: set[str] = set()
    for number, way in enumerate(WAYS):
        at = {"row": number // 2 + 1, "col": number % 2 + 1}
        own = [r for r in rows if _plain(r, way)]
        for trace in [*_panel(way, own), *_peers(way, rows)]:
            trace.showlegend = trace.name not in named and trace.showlegend is not False
            named.add(trace.name)
            figure.add_trace(trace, **at)
    figure.update_xaxes(type="log", tickvals=TICKS, ticktext=TICK_TEXT, range=[2.85, 7.15])
    figure.update_yaxes(type="log", tickvals=[25, 50, 100, 200, 500, 1000, 2000, 5000, 10_000])
    figure.update_yaxes(range=[1.3, 4.1], ticktext=CYCLE_TEXT)
    figure.update_yaxes(title="cycles per packet", col=1)
    figure.update_xaxes(title="sessions (east: flows)", row=2)
    return styled(figure, 840).update_layout(legend={"y": 1.15}, margin={"t": 124})


def _plain(r: dict, way: str) -> bool:
    ours = r["system"] == OURS and r["driver"] == "mem" and r["workers"] == 1
    return ours and r["workload"] == way and r["packet_size"] == 64 and bool(r["cycles_per_packet"])


def _panel(way: str, rows: list[dict]) -> list[go.Scatter]:
    rows = sorted(rows, key=lambda r: r["sessions"])
    x = [r["sessions"] for r in rows]
    traces = [_line(peer, points) for peer, points in CYCLES[way].items()]
    floor = {"color": FLOOR, "width": 2, "dash": "dot"}
    name = "floor: touch the headers"
    traces.append(scatter(name, x, [r["floor"] for r in rows], "lines", line=floor))
    tables = [(r["sessions"], r["more"]["floor_table"]) for r in rows if "floor_table" in r["more"]]
    look = {"color": FLOOR, "width": 2, "dash": "dashdot"}
    x_table, y_table = [x for x, _ in tables], [y for _, y in tables]
    traces.append(scatter("floor: and a session's two lines", x_table, y_table, "lines", line=look))
    bars = {n: bar for (workload, n), bar in CYCLES_MAX.items() if workload == way}
    dash = {"symbol": "line-ew", "size": 26, "line": {"width": 3, "color": BAR}}
    traces.append(scatter("the bar", list(bars), list(bars.values()), "markers", marker=dash))
    band = [r["cycles_p75"] for r in rows] + [r["cycles_min"] for r in reversed(rows)]
    shade = {"fill": "toself", "fillcolor": BAND, "line": {"width": 0}, "showlegend": False}
    traces.append(scatter("fastest to upper quartile", x + x[::-1], band, "lines", **shade))
    mine = {"line": {"color": BLUE, "width": 3}, "marker": {"size": 8, "color": BLUE}}
    ours = [r["cycles_per_packet"] for r in rows]
    text = [f"{value:.0f}" for value in ours]
    more = {"text": text, "textposition": "top center", "textfont": {"color": BLUE}}
    return [*traces, scatter(OURS, x, ours, "lines+markers+text", **mine, **more)]


def _peers(way: str, rows: list[dict]) -> Iterator[go.Scatter]:
    """Those of bench-peers, in memory, source and sink with them; PCG of that run beside, since it
    may be another run than the others' and only what took turns can be compared.
    """
    found = [r for r in rows if r["workload"] == f"peer {way}" and r["cycles_per_packet"]]
    found = [r for r in found if r["system"] != OURS or r["driver"] == "mem"]
    for system in dict.fromkeys(r["system"] for r in found):
        mine = sorted((r for r in found if r["system"] == system), key=lambda r: r["sessions"])
        x, y = [r["sessions"] for r in mine], [r["cycles_per_packet"] for r in mine]
        text = [f"{value:.0f}" for value in y]
        colour = "#5b9bea" if system == OURS else colour_of(system)
        look = {"line": {"color": colour, "width": 2.4}, "marker": {"size": 7, "color": colour}}
        at = f"{'bottom' if system == OURS else 'top'} center"
        more = {"text": text, "textposition": at, "textfont": {"color": colour}}
        name = f"{system}, in turns" if system == OURS else f"{system} with DPDK, in turns"
        yield scatter(name, x, y, "lines+markers+text", **look, **more)


def colour_of(peer: str) -> str:
    return COLOURS[OVS] if "vSwitch" in peer else COLOURS.get(peer, COLOURS[KERNEL])


def _line(peer: str, points: dict[int, float]) -> go.Scatter:
    look = {"color": COLOURS[peer], "width": 1.4, "dash": "dash"}
    mark = {"size": 5, "color": COLOURS[peer]}
    return scatter(
        *(f"{peer}, published", list(points), list(points.values()), "lines+markers"),
        line=look,
        marker=mark,
    )


def scatter(name: str, x: list, y: list, mode: str, **look) -> go.Scatter:
    return go.Scatter(name=name, x=x, y=y, mode=mode, **look)


# ---- the others ----


def sizes(rows: list[dict]) -> go.Figure:
    """Packets of other sizes, at one number of sessions: what a byte costs."""
    figure = go.Figure()
    shades = dict(zip(WAYS, (BLUE, "#5b9bea", "#0b3f86", "#a9c9f3"), strict=True))
    ours = [r for r in rows if r["driver"] == "mem" and r["workers"] == 1 and r["floor"]]
    sized = {r["sessions"] for r in ours if r["packet_size"] != 64}
    for way in WAYS:
        found = [r for r in ours if r["workload"] == way and r["sessions"] in sized]
        found.sort(key=lambda r: mean(sizes_of(r["packet_size"])))
        x, y = [str(r["packet_size"]) for r in found], [r["cycles_per_packet"] for r in found]
        if found:
            text = [f"{value:.0f}" for value in y]
            figure.add_bar(name=way, x=x, y=y, text=text, marker_color=shades[way])
    figure.update_traces(textposition="outside", cliponaxis=False)
    figure.update_xaxes(title="bytes of the inner packet", type="category")
    figure.update_yaxes(title="cycles per packet")
    return styled(figure, barmode="group", bargap=0.25)


def setup(rows: list[dict]) -> go.Figure:
    """New sessions a second, the peers' published ones beside."""
    names, values, colours = [], [], []
    for peer, (outwards, inwards) in reversed(SETUP.items()):
        names += [f"{peer}, inwards", f"{peer}, outwards"]
        values += [inwards, outwards]
        colours += [COLOURS[peer]] * 2
    for name, pps in _new_sessions(rows):
        names.append(name)
        values.append(pps)
        colours.append(colour_of(name))
    for r in rows:
        if r["workload"].startswith("setup") and r["mpps"]:
            names.append("PCG, 1,000 rules" if "rules" in r["workload"] else "PCG, no rules")
            values.append(r["mpps"])
            colours.append(BLUE)
    look = {"text": [f"{value:.2f}" for value in values], "marker_color": colours}
    figure = go.Figure(go.Bar(x=values, y=names, orientation="h", **look))
    figure.update_traces(textposition="outside", cliponaxis=False)
    for bar, name, side in ((2, "bar, 1,000 rules", "right"), (3, "bar, none", "left")):
        figure.add_vline(bar, line={"color": BAR, "width": 2, "dash": "dash"}, layer="below")
        figure.add_annotation(x=bar, y=1.06, yref="paper", text=name, showarrow=False, xanchor=side)
    figure.update_annotations(font={"size": 12, "color": BAR})
    figure.update_xaxes(
        title="million new sessions a second, one core", range=[0, 1.2 * max(3, *values)]
    )
    return styled(figure, margin_l=190)


def _new_sessions(rows: list[dict]) -> Iterator[tuple[str, float]]:
    """Of peers on this machine, in memory; with the most sessions."""
    for way, words in (("south", "inwards"), ("north", "outwards")):
        found = [r for r in rows if r["workload"] == f"peer setup {way}" and r["system"] != OURS]
        if found:
            most = max(found, key=lambda r: r["sessions"])
            yield f"{most['system']}, here, {words}", most["mpps"]


def latency(rows: list[dict]) -> go.Figure:
    """Median and 99 % by load; a colour for each system and driver."""
    found = [r for r in rows if "us" in r["more"]]
    figure = go.Figure()
    kinds = dict.fromkeys((r["system"], r["driver"]) for r in found)
    colours = (BLUE, "#e07b00", "#7a4bb0", "#8a6d1f")
    for kind, colour in zip(kinds, colours, strict=False):
        mine = [r for r in found if (r["system"], r["driver"]) == kind]
        loads = [_load(r) for r in mine]
        for percent, dash in {"50": "solid", "99": "dot"}.items():
            y = [r["more"]["us"][percent] for r in mine]
            look = {"line": {"color": colour, "dash": dash}, "marker": {"color": colour}}
            label = f"{' '.join(kind)}, {'median' if percent == '50' else '99 %'}"
            figure.add_trace(scatter(label, loads, y, "lines+markers", **look))
    under = {_load(r): r["floor"] for r in found if r["floor"]}
    look = {"line": {"color": FLOOR, "dash": "dot", "width": 2}, "marker": {"color": FLOOR}}
    at = list(under), list(under.values())
    figure.add_trace(scatter("floor: handed on as it is, median", *at, "lines+markers", **look))
    figure.update_xaxes(title="load, of what can be forwarded", type="category")
    figure.update_yaxes(title="µs through the gateway", type="log", dtick=1, tickformat=",d")
    return legend_below(styled(figure), len(figure.data))


def _load(r: dict) -> str:
    return f"{r['more']['load']} %"


def memory_ratios(rows: list[dict]) -> go.Figure:
    """Peers of bench-peers in memory: how many times our cycles they need."""
    return _ratios(rows, "memory", "times PCG's cycles a packet", "")


def veth_ratios(rows: list[dict]) -> go.Figure:
    """Peers of bench-peers over veths: how many times as many packets we forward."""
    return _ratios(rows, "veths", "times its packets a second", "PCG against ")


def _ratios(rows: list[dict], where: str, title: str, prefix: str) -> go.Figure:
    found = [r for r in rows if r["more"].get("where") == where and r["more"].get("times")]
    kinds = dict.fromkeys((r["system"], r["driver"]) for r in found)
    shades: dict[str, list[str]] = {OVS: ["#7a4bb0", "#b79ad6"], KERNEL: [COLOURS[KERNEL]]}
    figure = go.Figure()
    for system, driver in kinds:
        mine = [r for r in found if (r["system"], r["driver"]) == (system, driver)]
        x, y = [_case(r) for r in mine], [r["more"]["times"] for r in mine]
        shade = shades[OVS if "vSwitch" in system else KERNEL]
        colour = shade.pop(0) if len(shade) > 1 else shade[0]
        text = [f"{value:.1f}×" for value in y]
        name = f"{prefix}{system}, {driver}"
        figure.add_bar(name=name, x=x, y=y, text=text, marker_color=colour)
    figure.update_traces(textposition="outside", cliponaxis=False)
    figure.add_hline(1, line={"color": FAINT, "dash": "dot"})
    figure.update_xaxes(title="sessions")
    figure.update_yaxes(title=title, rangemode="tozero")
    figure.update_layout(showlegend=True)
    return legend_below(styled(figure, barmode="group", bargap=0.3), len(figure.data))


def _case(r: dict) -> str:
    """
    >>> _case({"workload": "peer north", "sessions": 100_000})
    'north<br>100 k'
    """
    short = dict(zip(TICKS, TICK_TEXT, strict=True))
    return f"{r['workload'].removeprefix('peer ')}<br>{short.get(r['sessions'], r['sessions'])}"
