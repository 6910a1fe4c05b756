"""Alert rules and the dashboard ask for metrics that there are; both are well formed."""

import json
import re
from pathlib import Path

import msgspec
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from pcg.datapath import border
from pcg.drivers.counters import NFTABLES
from pcg.gateway.metrics import Metrics
from pcg.model.settings import GatewaySettings
from pcg.proto import relay_words
from tests.unit.gateway.test_metrics import FACTS, FakeClient, watched

CONFIGS = Path(__file__).parents[2] / "configs"
RULES = yaml.safe_load((CONFIGS / "prometheus" / "pcg.rules.yml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((CONFIGS / "grafana" / "pcg-gateway.json").read_text())
TARGETS = [(panel, target) for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.fixture(scope="module")
def served() -> dict[str, set[str]]:
    """Name of a sample -> names of its labels, as the gateway serves them."""
    registry = CollectorRegistry()
    registry.register(Metrics(FakeClient(), lambda: FACTS, watched, lambda: {"unread": 3}))
    page = generate_latest(registry).decode()
    found = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            name, labels = re.match(r"(\w+)(?:\{(.*)\})?", line).groups()
            found[name] = set(re.findall(r"(\w+)=", labels or ""))
    return found


def labels_of(expression: str, served: dict[str, set[str]]) -> set[str]:
    """Every label that a result may have; fails for a metric that is not served."""
    names = re.findall(r"\bpcg_\w+", expression)
    assert set(names) <= served.keys(), expression
    return {"instance", "job"}.union(*(served[name] for name in names))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_asks_for_what_is_served(alert, served):
    known = labels_of(alert["expr"], served)
    texts = " ".join(alert["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", texts)) <= known
    chosen = re.findall(r"(\w+)=~?\"", alert["expr"])
    assert set(chosen) <= known
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert alert["annotations"]["description"].endswith(".")


def test_alerts_name_counters_of_nftables_that_there_are():
    text = " ".join(a["expr"] for a in ALERTS if "pcg_nftables_drops_total" in a["expr"])
    named = {one for some in re.findall(r'counter=~?"([^"]+)"', text) for one in some.split("|")}
    assert named
    assert named <= NFTABLES.keys()


def test_alerts_name_reasons_that_there_are():
    text = " ".join(alert["expr"] for alert in ALERTS)
    named = {one for chosen in re.findall(r'reason=~?"([^"]+)"', text) for one in chosen.split("|")}
    assert len(named) > 5
    assert named <= set(border.reason_names()) | relay_words.WORDS.keys()


@pytest.mark.parametrize("panel, target", TARGETS, ids=lambda one: one.get("title"))
def test_a_panel_asks_for_what_is_served(panel, target, served):
    known = labels_of(target["expr"], served)
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known


NOT_DONE = ("pcg_datapath_unmade_packets_total", "pcg_session_log_missed_events_total")


@pytest.mark.parametrize("name", NOT_DONE)
def test_what_the_gateway_left_undone_is_told_and_shown(name):
    """Nobody else counts it: neither an error that was not sent nor an event that no log has."""
    assert any(name in alert["expr"] for alert in ALERTS)
    assert any(name in target["expr"] for _, target in TARGETS)


def test_every_event_that_is_in_no_log_is_told_by_one_alert():
    """However it was kept out: the choices of `why` exclude each other and leave none."""
    missed = [a["expr"] for a in ALERTS if "missed_events" in a["expr"]]
    chosen = [re.search(r'why(!?=)"(\w+)"', expression).groups() for expression in missed]
    assert sorted(chosen) == [("!=", "unread"), ("=", "unread")]


def test_panels_do_not_lie_on_each_other():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_names_of_alerts_and_panels_are_their_own():
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS) > 10
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_example_scrapes_the_port_that_is_served():
    scrape = yaml.safe_load((CONFIGS / "prometheus" / "scrape.yml").read_text())
    (target,) = scrape["scrape_configs"][0]["static_configs"][0]["targets"]
    desired = yaml.safe_load((CONFIGS / "desired" / "gw-a.yaml").read_text())
    management = desired["gateway"]["interfaces"]["management"]["addresses"][0]
    (port,) = [f.default for f in msgspec.structs.fields(GatewaySettings) if f.name == "metrics"]
    assert target == f"{management.partition('/')[0]}:{port}"
