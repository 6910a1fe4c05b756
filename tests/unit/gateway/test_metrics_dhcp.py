"""Metrics of DHCP: bounded labels, sums by reason."""

from pcg.gateway import metrics_dhcp
from pcg.gateway.families import OBJECTS_MAX
from pcg.gateway.metrics_dhcp import Figures
from pcg.proto.relay_words import WORDS


def samples(figures):
    return {
        (s.name, *s.labels.values()): s.value
        for family in metrics_dhcp.collect(figures)
        for s in family.samples
    }


def test_figures_are_there_under_their_names():
    figures = Figures(
        refused={("web", "HOPS"): 2, ("app", "HOPS"): 3, ("", "STRANGER"): 1},
        messages={("DISCOVER", "in"): 4, ("OFFER", "out"): 3},
        leases={"web": 9},
    )
    none = {("pcg_dhcp_refused_total", reason): 0 for reason in WORDS}
    assert samples(figures) == none | {
        ("pcg_dhcp_messages_total", "DISCOVER", "in"): 4,
        ("pcg_dhcp_messages_total", "OFFER", "out"): 3,
        ("pcg_dhcp_refused_total", "HOPS"): 5,
        ("pcg_dhcp_refused_total", "STRANGER"): 1,
        ("pcg_dhcp_leases", "web"): 9,
    }


def test_segments_beyond_the_bound_share_a_series():
    leases = {f"s{n:04}": 2 for n in range(OBJECTS_MAX + 3)}
    found = {k: v for k, v in samples(Figures(leases=leases)).items() if k[0] == "pcg_dhcp_leases"}
    assert len(found) == OBJECTS_MAX + 1
    assert found["pcg_dhcp_leases", "(others)"] == 6
