"""The pictures hold what the rows say, peers measured here beside the published ones."""

import json

import plotly.graph_objects as go
import pytest

from bench import page, plots
from bench.rows import SHAPE, Row
from bench.switch import SWITCH

MACHINE = {"revision": "r", "cpu": "c", "cores": 2, "begun": "now"}
US = {"50": 40.0, "90": 50.0, "99": 60.0, "99.9": 70.0}
CYCLES = {"cycles_min": 100.0, "cycles_p75": 130.0, "mpps": 20.0}
MEMORY = {"where": "memory", "times": 5.0}
VETHS = {"where": "veths", "times": 3.0}


def peer(driver: str, more: dict, **given) -> Row:
    return Row("peer north", SWITCH, driver, 64, 1_000, more=more, **given)


MADE = [
    Row("north", sessions=1_000, cycles_per_packet=120.0, floor=25.0, **CYCLES),
    peer("dpdk net_pcap", MEMORY, cycles_per_packet=900.0, **CYCLES),
    Row(
        "peer setup north", SWITCH, "dpdk net_pcap", 64, 1_000, mpps=0.25, more={"where": "memory"}
    ),
    peer("af_packet", VETHS, mpps=0.1),
    peer("dpdk af_packet", VETHS, mpps=0.2),
    Row("latency 10 %", driver="af_xdp", value=40.0, floor=10.0, more={"load": 10, "us": US}),
]
ROWS = [row.as_json() for row in MADE]


def traces(figure: go.Figure) -> dict[str, go.Scatter | go.Bar]:
    return {trace.name: trace for trace in reversed(figure.data)}  # the first panel's


def test_cycles_show_ours_the_floor_and_peers_of_this_run():
    drawn = traces(plots.cycles(ROWS))
    assert list(drawn["PCG"].y) == [120.0]
    assert list(drawn["floor: touch the headers"].y) == [25.0]
    assert list(drawn[f"{SWITCH} with DPDK, in turns"].y) == [900.0]
    assert drawn["VPP 26.06, published"].line.dash == "dash"


def test_ratios_in_memory_and_over_veths_are_apart():
    assert {n: list(t.y) for n, t in traces(plots.memory_ratios(ROWS)).items()} == {
        f"{SWITCH}, dpdk net_pcap": [5.0]
    }
    over = traces(plots.veth_ratios(ROWS))
    assert [list(trace.y) for trace in over.values()] == [[3.0], [3.0]]
    assert len({trace.marker.color for trace in over.values()}) == 2


def test_new_sessions_have_the_peer_of_this_run():
    (bars,) = plots.setup(ROWS).data
    assert dict(zip(bars.y, bars.x, strict=True))[f"{SWITCH}, here, outwards"] == 0.25


def test_latency_has_its_floor():
    drawn = traces(plots.latency(ROWS))
    floor = next(trace for name, trace in drawn.items() if name.startswith("floor"))
    assert (list(floor.x), list(floor.y)) == (["10 %"], [10.0])


@pytest.mark.parametrize("heading", ["in memory", "Latency", "Peers over veth pairs"])
def test_the_page_has_a_card_for_each(heading):
    assert heading in page.render({"rows": ROWS, "machine": MACHINE})


OURS = {"shape": SHAPE, "rows": ROWS[:1], "machine": MACHINE}
THEIRS = {"shape": SHAPE, "rows": ROWS[1:5], "machine": MACHINE | {"revision": "older"}}
# fmt: off
BESIDE = [
    # peers.json holds               and the page says of it                      peers shown
    (json.dumps(THEIRS),             "revision older on c, now; this page is of", True),
    (json.dumps(THEIRS | OURS),      "Peers in turns with PCG: revision r on c, now.", False),
    (json.dumps(THEIRS | {"shape": 1}), "of another form, that of revision older",   False),
    (json.dumps({"rows": [{}]}),     "No peers are shown: peers.json is no report",  False),
    ("[]",                           "No peers are shown: peers.json is no report",  False),
    ("{",                            "No peers are shown: peers.json is no report",  False),
]
# fmt: on


@pytest.mark.parametrize("peers, said, shown", BESIDE)
def test_peers_of_another_run_are_told_by_their_revision_or_left_out(tmp_path, peers, said, shown):
    (tmp_path / "report.json").write_text(json.dumps(OURS))
    (tmp_path / "peers.json").write_text(peers)
    drawn = page.write(tmp_path / "report.json").read_text()
    assert said in drawn
    assert ("Peers over veth pairs" in drawn) is shown


def test_a_report_of_another_form_is_refused(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(OURS | {"shape": SHAPE - 1}))
    with pytest.raises(ValueError, match="report.json is of another form, that of revision r"):
        page.write(tmp_path / "report.json")
