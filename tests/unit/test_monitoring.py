"""Alert rules and the dashboard ask for metrics that there are; Prometheus's promtool takes both.

When alerts fire is in test_alerts.py.
"""

import json
import re
import subprocess
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


def promtool(*words, stdin: str | None = None) -> str:
    """What it says; fails with it."""
    argv = ["promtool", *map(str, words)]
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def page() -> str:
    """What the gateway serves."""
    registry = CollectorRegistry()
    registry.register(Metrics(FakeClient(), lambda: FACTS, watched, lambda: {"unread": 3}))
    return generate_latest(registry).decode()


@pytest.fixture(scope="module")
def served(page) -> dict[str, set[str]]:
    """Name of a sample -> names of its labels."""
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


NOT_DONE = ("pcg_datapath_unmade_all_packets_total", "pcg_session_log_missed_events_total")
NOT_DONE += ("pcg_nat_rule_shortages_total",)


@pytest.mark.parametrize("name", NOT_DONE)
def test_what_the_gateway_left_undone_is_told_and_shown(name):
    """Nobody else counts it: an error that was not sent, an event that no log has, who is short."""
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


def checked(tmp_path, expressions: list[str]) -> str:
    rules = [{"record": f"panel:{n}", "expr": e} for n, e in enumerate(expressions)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    return promtool("check", "rules", path)


def test_prometheus_takes_the_rules():
    said = promtool("check", "rules", CONFIGS / "prometheus" / "pcg.rules.yml")
    assert f"{len(ALERTS)} rules found" in said


def test_prometheus_takes_every_expression_of_the_dashboard(tmp_path):
    """With what Grafana puts in for its variables."""
    asked = [target["expr"] for _, target in TARGETS]
    asked = [e.replace("$__rate_interval", "1m").replace("$instance", "gw.*") for e in asked]
    assert f"{len(asked)} rules found" in checked(tmp_path, asked)


@pytest.mark.parametrize("wrong", ["rate(pcg_x_total)", "pcg_x{a=}", "pcg_x > ", "sum(pcg_x"])
def test_it_would_refuse_what_is_no_expression(tmp_path, wrong):
    with pytest.raises(AssertionError, match="could not parse"):
        checked(tmp_path, [wrong])


def test_the_page_is_what_prometheus_reads(page):
    """Names, units, types, help: its own linter finds nothing to say."""
    assert promtool("check", "metrics", stdin=page) == ""


def test_rates_are_of_counters(page):
    """Of a gauge they would say something, but nothing true: promtool does not know the types."""
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE))
    expressions = [alert["expr"] for alert in ALERTS] + [target["expr"] for _, target in TARGETS]
    rated = re.findall(r"\b(?:rate|increase)\((\w+)", " ".join(expressions))
    assert len(rated) > 20
    assert {kinds[name] for name in rated} == {"counter"}
