"""Pictures of what choices are worth: habits of the path, ways to classify."""

import plotly.graph_objects as go

from bench.classifiers import LAST
from bench.plots import BLUE, FLOOR, legend_below, scatter, styled


def ablations(rows: list[dict]) -> go.Figure:
    """What each habit is worth."""
    found = [r for r in rows if r["workload"] == "ablation" and r["value"] is not None]
    figure = go.Figure()
    for way, colour in (("south", "#5b9bea"), ("north", BLUE)):  # from below
        mine = [r for r in reversed(found) if r["more"]["workload"] == way]
        x, y = [r["value"] for r in mine], [r["more"]["what"] for r in mine]
        text = [f"{value:+.0f} %" for value in x]
        figure.add_bar(name=way, x=x, y=y, text=text, orientation="h", marker_color=colour)
    figure.update_traces(textposition="outside", cliponaxis=False, textfont_size=11)
    figure.update_xaxes(title="slower than the path as it is, %", ticksuffix=" %")
    figure = styled(figure, 130 + 17 * len(found), barmode="group", bargap=0.22, margin_l=230)
    return figure.update_layout(legend={"y": 1.06, "traceorder": "reversed"})


def classifiers(rows: list[dict]) -> go.Figure:
    """Look-ups by number of rules, of packets that only the last one fits."""
    figure = go.Figure()
    found = [r for r in rows if r["more"].get("packets") == LAST]
    looks = {"linear": (FLOOR, "top left"), "tuple space": (BLUE, "top right")}
    looks |= {"bit vectors": ("#e07b00", "bottom left")}
    for name, (colour, at) in looks.items():
        mine = [r for r in found if r["more"]["algorithm"] == name]
        x, y = [r["more"]["rules"] for r in mine], [r["value"] for r in mine]
        text = [f"{value:,.0f}" for value in y]
        look = {"line": {"color": colour}, "marker": {"color": colour}, "text": text}
        look |= {"textposition": at, "textfont": {"color": colour}}
        figure.add_trace(scatter(name, x, y, "lines+markers+text", **look))
    figure.update_xaxes(title="rules", type="log", dtick=1, tickformat=",d")
    figure.update_yaxes(title="cycles a look-up", type="log", dtick=1, tickformat=",d")
    return legend_below(styled(figure), len(figure.data))
