"""The figures' pure parts: the peer's flows, medians, the tables."""

import io
import json

import pytest
from rich.console import Console

from pcg.lab.figures import gateways, report
from pcg.lab.figures.rtt import Rtt
from pcg.lab.figures.tcp import Tcp, medians
from pcg.lab.lab import example

PEER = gateways.flows(example())


def of(gateway: str, mtu: int, cost: float, gbit_s: float = 1.0) -> Tcp:
    return Tcp(gateway, mtu, "upload", gbit_s, cost, cost / 4, cost * 3 / 4, cost * gbit_s)


def test_the_peer_takes_only_what_a_known_endpoint_may_send():
    entries = [f for f in PEER if f"in_port={gateways.TUNNEL}," in f]
    assert all("tun_src=" in f and "nw_src=" in f and "tun_id=" in f for f in entries)
    assert sum("tun_src=10.99.2.21,nw_src=192.168.99.9," in f for f in entries) == 2  # both VNIs


def test_the_peer_maps_to_the_secondary_address_and_answers_its_arp():
    assert sum("nat(src=10.99.1.11)" in f for f in PEER) == 1
    assert sum("arp_tpa=10.99.1.11," in f for f in PEER) == 1


def test_the_peer_sends_our_option_into_the_segment():
    (south,) = [f for f in PEER if "+trk+est,nw_dst=192.168.99.9," in f]
    assert "set_field:9096->tun_id,set_field:7->tun_metadata0" in south
    assert "set_field:10.99.2.21->tun_dst" in south


def test_no_flow_of_the_peer_names_another_vrf():
    assert not any("9108" in f or "10.99.3.25" in f for f in PEER)


def test_medians_keep_gateways_mtus_and_ways_apart():
    runs = [of("PCG", 1500, c) for c in (0.3, 0.1, 0.2)] + [of("OVS", 1500, 0.8)]
    assert [(t.gateway, t.core_s_per_gbit, t.rounds) for t in medians(runs)] == [
        ("PCG", 0.2, 3),
        ("OVS", 0.8, 1),
    ]


@pytest.mark.parametrize("ours, colour", [(0.4, "32m"), (0.41, "31m")])
def test_half_of_the_peer_is_the_bar(ours: float, colour: str):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", width=120)
    report.print_transfers(console, [of("PCG", 9001, ours), of("OVS", 9001, 0.8)])
    (line,) = [row for row in out.getvalue().splitlines() if "PCG/OVS" in row]
    assert colour in line


def test_the_file_says_all_runs_and_the_ratio(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "PATH", tmp_path / "build" / "figures.json")
    trips = [Rtt("kernel routing", 0.1, 0.2, 450, 0), Rtt("PCG", 0.18, 0.3, 450, 0)]
    report.write({}, trips, [of("PCG", 9001, 0.2), of("PCG", 9001, 0.2), of("OVS", 9001, 0.8)])
    found = json.loads(report.PATH.read_text())
    assert [r["core_s_per_gbit"] for r in found["tcp_ratio_to_peer"]] == [0.25]
    assert len(found["tcp_runs"]) == 3
    assert found["rtt_ms"][1]["added"] == pytest.approx(0.08)
