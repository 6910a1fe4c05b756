"""metrics.py: names by convention, bounded labels, nothing twice, and what happens without."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pcg.datapath.captured import Flow
from pcg.drivers.counters import Count
from pcg.gateway import families
from pcg.gateway.book import Book
from pcg.gateway.facts import Facts, Turns, interfaces, management_address
from pcg.gateway.metrics import Metrics
from pcg.model.errors import BackendError
from pcg.reconcile import records as r
from pcg.reconcile.numbers import Numbers
from tests.unit.reconcile.examples import DESIRED

ZERO = bytes(4)
SIDES = ("downlink", "uplink")


def segment(vni: int, name: str, kind: int = 0) -> r.Segments:
    return r.Segments(vni, 0, kind, ZERO, ZERO, 8943, 24, 0, bytes(6), name)


POLICY = {
    "vrfs": [r.Vrfs(0, 0, 0, "t1")],
    "segments": [segment(7, "web"), segment(9, "t1", kind=1), segment(8, "t1")],
    "publics": [r.Publics(0, 0, ZERO, ZERO, "eip-out")],
}
FACTS = Facts(
    desired=DESIRED,
    policy=POLICY,
    numbers=Numbers(nat={"out": 1}, firewall={"no-telnet": 1}),
    revision=42,
    rounds=5,
    lag_s=1.5,
    connected=True,
    stepped_at=1000.0,
    backends={"nft": Turns(9, 2, 1, 990.0)},
)


class FakeClient:
    away = False

    def totals(self):
        if self.away:
            raise BackendError("datapath", "is not there")
        names = (
            "rx",
            "tx",
            "made",
            "unmade",
            "punt",
            "held",
            "joined",
            "sessions",
            "sessions_max",
            "peers",
        )
        names += ("mappings", "mappings_max", "ports", "ports_max", "teps", "revision", "commits")
        names += ("sessions_made", "sessions_ended", "sessions_cut", "decisions")
        names += ("unmade_source", "unmade_all", "unmade_no_way")
        names += ("resets_waiting", "resets_late", "resets_unheard")
        return dict.fromkeys(names, 3)

    def drops_by_side(self):
        return {("NO_ROUTE", "downlink"): 7, ("NO_ROUTE", "several"): 2}

    def captures(self):
        return True, Flow(seen=(9, 8), taken=(7, 6), lost=(5, 4))

    def read(self, table):
        return {"path_mtu": ["one", "another"]}[table]

    def reasons(self):
        return {"NO_ROUTE": "no route for it", "NO_NAT": "no rule for it"}

    def stages(self):
        return {"parse_outer": 4}

    def nics(self):
        counts = dict.fromkeys(("rx_packets", "rx_bytes", "tx_packets", "tx_bytes"), 6)
        return [{"name": "up0", "role": "uplink", "up": True, "rx_missed": 2, **counts}]

    def counters(self, table):
        carried = {"in_packets": 5, "in_bytes": 700, "out_packets": 3, "out_bytes": 200}
        row = {**carried, "sessions": 2, "hits": 4, "ports": 64_512, "ports_used": 100}
        row["overflow"] = 1
        ids = {"segments": (7, 9), "nat": (1,), "firewall": (1, 2), "publics": (0,), "vrfs": (0, 1)}
        return [{"id": number, **row} for number in ids[table]]


def watched(error: str = "") -> dict:
    book = Book()
    counts = [
        Count("interface", "up0", "rx_dropped", 3),
        Count("cloud", "up0", "pps", 8),
        Count("driver", "down0", "rx_queue_drops", 1),
        Count("nftables", "input", "input_uplink", 2),
        Count("kernel", "host", "IpInAddrErrors", 6),
        Count("nftables", "downlink", "downlink_tunnel", 99, ends=False),
    ]
    book.note(counts, 1.0, 1.0)
    return {"counters": book.view(), "error": error}


@pytest.fixture
def client():
    return FakeClient()


@pytest.fixture
def text(client):
    """The page as Prometheus gets it; called when the test has set its world up."""
    state = {"facts": FACTS, "error": ""}

    def page(**given) -> str:
        state.update(given)
        registry = CollectorRegistry()
        told = (lambda: state["facts"], lambda: watched(state["error"]))
        registry.register(Metrics(client, *told, shortages=lambda: {"out": 4, "gone": 2}))
        return generate_latest(registry).decode()

    return page


def values(page: str) -> dict[str, float]:
    """ "name{labels}" -> value."""
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    assert len(lines) == len({line.rsplit(" ", 1)[0] for line in lines})
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_names_follow_the_convention(text):
    for family in text_string_to_metric_families(text()):
        assert family.name.startswith("pcg_"), family.name
        assert family.documentation.endswith("."), family.name
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
        words = ("millisecond", "_ms", "_kb")
        assert not any(word in family.name for word in words)


def test_values_by_the_operators_names(text):
    seen = values(text())
    drops = {(reason, role): 0 for reason in ("NO_ROUTE", "NO_NAT") for role in SIDES}
    drops |= {("NO_ROUTE", "downlink"): 7, ("NO_ROUTE", "several"): 2}
    for (reason, role), n in drops.items():
        assert seen[f'pcg_datapath_drops_total{{reason="{reason}",role="{role}"}}'] == n
    assert len([name for name in seen if name.startswith("pcg_datapath_drops")]) == len(drops)
    assert seen['pcg_segment_packets_total{direction="in",segment="web",vrf="t1"}'] == 5
    assert seen['pcg_segment_bytes_total{direction="out",segment="t1 (transit)",vrf="t1"}'] == 200
    assert seen['pcg_segment_packets_total{direction="in",segment="t1",vrf="t1"}'] == 0
    assert seen['pcg_nat_rule_sessions_total{rule="out"}'] == 2
    assert seen['pcg_firewall_rule_hits_total{rule="no-telnet"}'] == 4
    assert 'pcg_firewall_rule_hits_total{rule="(others)"}' not in seen  # of a rule that is gone
    assert seen['pcg_firewall_default_hits_total{direction="in",vrf="t1"}'] == 4
    assert seen['pcg_nat_pool_ports_used{public_address="eip-out"}'] == 100
    assert seen['pcg_nat_rule_ports_used{rule="out"}'] == 100
    assert seen['pcg_nat_rule_ports{rule="out"}'] == 64_512
    assert seen['pcg_port_receive_packets_total{interface="up0",role="uplink"}'] == 6
    assert seen["pcg_sessions"] == 3
    assert seen["pcg_control_lag_seconds"] == 1.5
    assert seen['pcg_control_failed_turns_total{backend="nft"}'] == 2


def test_what_captures_took_and_lost(text):
    seen = values(text())
    assert seen["pcg_capture_running"] == 1
    found = [
        [seen[f'pcg_capture_{what}packets_total{{role="{role}"}}'] for role in SIDES]
        for what in ("", "lost_")
    ]
    assert found == [[7, 6], [5, 4]]


def test_path_mtus_that_were_learned(text):
    assert values(text())["pcg_tunnel_endpoints_narrow"] == 2


def test_what_ends_outside_the_datapath(text):
    seen = values(text())
    where = 'interface="up0",role="uplink"'
    assert seen[f'pcg_interface_drops_total{{counter="rx_dropped",{where}}}'] == 3
    allowance = f'pcg_cloud_allowance_exceeded_packets_total{{allowance="pps",{where}}}'
    assert seen[allowance] == 8
    down = 'counter="rx_queue_drops",interface="down0",role="downlink"'
    assert seen[f"pcg_driver_drops_total{{{down}}}"] == 1
    assert seen['pcg_nftables_drops_total{counter="input_uplink"}'] == 2
    assert seen['pcg_kernel_drops_total{counter="IpInAddrErrors"}'] == 6
    assert seen['pcg_nftables_steered_packets_total{counter="downlink_tunnel"}'] == 99


def test_who_is_short_by_rule(text):
    """Every rule has its series before anybody is: what appears as 1 has no increase. One that is
    gone has none: what it counted is no increase of anybody's."""
    seen = values(text(facts=FACTS._replace(numbers=Numbers(nat={"out": 1, "in": 2}))))
    found = {name: n for name, n in seen.items() if name.startswith("pcg_nat_rule_shortages")}
    told = {"(none)": 0, "out": 4, "in": 0}
    assert found == {f'pcg_nat_rule_shortages_total{{rule="{k}"}}': n for k, n in told.items()}


def test_an_operators_names_make_no_more_series_than_allowed(text, client, monkeypatch):
    monkeypatch.setattr(families, "OBJECTS_MAX", 10)
    numbers = Numbers(nat={f"rule-{i}": i for i in range(1, 1000)})
    row = client.counters("nat")[0]
    nat = [{**row, "id": i} for i in range(1, 1000)]
    monkeypatch.setattr(client, "counters", lambda table: nat if table == "nat" else [])
    seen = values(text(facts=FACTS._replace(numbers=numbers)))
    rules = {name: n for name, n in seen.items() if name.startswith("pcg_nat_rule_sessions")}
    assert len(rules) == 11
    assert rules['pcg_nat_rule_sessions_total{rule="(others)"}'] == 2 * 989


def test_without_its_datapath_the_rest_is_told(text, client):
    client.away = True
    seen = values(text(error="netlink: no permission"))
    assert seen["pcg_datapath_up"] == 0
    assert "pcg_sessions" not in seen
    assert seen["pcg_control_revision"] == 42
    assert seen["pcg_counters_readable"] == 0


def test_before_anything_is_known(text):
    seen = values(text(facts=Facts()))
    assert seen["pcg_control_connected"] == 0
    assert interfaces(Facts()) == {}
    assert management_address(Facts()) == ""


def test_where_they_are_served():
    assert management_address(FACTS) == "10.0.0.10"
    assert interfaces(FACTS)["uplink"] == "up0"
