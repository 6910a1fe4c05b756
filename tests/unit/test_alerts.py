"""When alerts fire, and when not yet: promtool plays made-up samples, one each 15 seconds."""

from typing import NamedTuple

import pytest
import yaml

from tests.unit.test_monitoring import RULES, promtool

EVERY_S = 15


class Case(NamedTuple):
    """One series (or more, of the same labels) and from when on the alert stands, if ever."""

    alert: str
    series: dict[str, str]  # name -> values as promtool writes them: first+step x how many more
    labels: dict[str, str]
    fires_s: int | None  # it does at this time, and EVERY_S earlier it did not
    look_s: int = 0  # and of what never fires, where it would
    role: str = ""  # label of the series that the alert has not


DROPS = "pcg_datapath_drops_total"
EXHAUSTED = {"reason": "NAT_PORTS_EXHAUSTED"}
TTL = {"reason": "TTL_EXPIRED", "role": "downlink"}
POOL = {"rule": "out-t1"}
UNMADE_ALL = "pcg_datapath_unmade_all_packets_total"
UNMADE_SOURCE = "pcg_datapath_unmade_source_packets_total"
CASES = [
    Case("PcgDatapathDown", {"pcg_datapath_up": "1x3 0x9"}, {}, 75),
    Case("PcgDatapathDown", {"pcg_datapath_up": "1x3 0 1x9"}, {}, None, 75),
    Case("PcgControlLoopStale", {"pcg_control_last_step_timestamp_seconds": "0x9"}, {}, 45),
    Case("PcgControllerSilent", {"pcg_control_connected": "1 0x40"}, {}, 15 + 300),
    Case(
        "PcgNatPoolFilling",
        {"pcg_nat_rule_ports_used": "81x20", "pcg_nat_rule_ports": "100x20"},
        POOL,
        120,
    ),
    Case(
        "PcgNatPoolFilling",
        {"pcg_nat_rule_ports_used": "80x20", "pcg_nat_rule_ports": "100x20"},
        POOL,
        None,
        300,
    ),
    Case("PcgNatPoolExhausted", {DROPS: "7x3 8x9"}, EXHAUSTED, 60, role="downlink"),
    Case("PcgNatPoolExhausted", {DROPS: "7x40"}, EXHAUSTED, None, 600, "downlink"),
    Case("PcgTableFull", {DROPS: "0x3 1x9"}, {"reason": "SESSIONS_FULL"}, 60, role="downlink"),
    Case("PcgWorkloadShort", {"pcg_nat_rule_shortages_total": "0x3 1x9"}, POOL, 60),
    Case("PcgWorkloadShort", {"pcg_nat_rule_shortages_total": "4x40"}, POOL, None, 600),
    Case("PcgQuotaReached", {DROPS: "0+1x60"}, {"reason": "QUOTA_PORTS"}, 315, role="downlink"),
    # 20 a second from the start: more than 10 on average of 5 minutes after 165 s, then `for`
    Case("PcgDropsRising", {DROPS: "0+300x400"}, TTL, 165 + 300),
    # The same for more than an hour is no rise, nor are 30 a second after an hour of 20
    Case("PcgDropsRising", {DROPS: "0+300x400"}, TTL, None, 6000),
    Case("PcgDropsRising", {DROPS: "0+300x240 72000+450x100"}, TTL, None, 4800),
    # 30 after an hour of 2: 10.3 on average 90 s later
    Case("PcgDropsRising", {DROPS: "0+30x240 7200+450x100"}, TTL, 3615 + 90 + 300),
    # 2 a second: more than 1 on average of 5 minutes after 165 s, then `for`
    Case("PcgErrorsNotMade", {UNMADE_ALL: "0+30x80"}, {}, 165 + 300),
    # As many of one noisy source
    Case("PcgErrorsNotMade", {UNMADE_ALL: "0x80", UNMADE_SOURCE: "0+30x80"}, {}, None, 900),
    Case("PcgSessionEventsLost", {"pcg_session_log_missed_events_total": "0x3 9x9"}, {}, None, 90),
    Case(
        "PcgSessionEventsLost",
        {"pcg_session_log_missed_events_total": "0x3 9x9"},
        {"why": "unread"},
        60,
    ),
]


def name_of(case: Case) -> str:
    return f"{case.alert} {'quiet' if case.fires_s is None else case.fires_s}"


def played(case: Case) -> dict:
    """As `promtool test rules` has it."""
    labels = {"instance": "gw-a", **case.labels}
    of_series = labels | ({"role": case.role} if case.role else {})
    inside = ",".join(f'{name}="{value}"' for name, value in of_series.items())
    series = [{"series": f"{n}{{{inside}}}", "values": v} for n, v in case.series.items()]
    (rule,) = [r for group in RULES["groups"] for r in group["rules"] if r["alert"] == case.alert]
    stands = [{"exp_labels": labels | rule["labels"]}]
    if case.fires_s is None:
        asked = [(case.look_s, [])]
    else:
        asked = [(case.fires_s - EVERY_S, []), (case.fires_s, stands)]
    tests = [
        {"eval_time": f"{at}s", "alertname": case.alert, "exp_alerts": what} for at, what in asked
    ]
    return {"interval": f"{EVERY_S}s", "input_series": series, "alert_rule_test": tests}


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_when_it_fires(case, tmp_path):
    bare = [{**r, "annotations": {}} for group in RULES["groups"] for r in group["rules"]]
    groups = {"groups": [{"name": "all", "interval": f"{EVERY_S}s", "rules": bare}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(groups))
    wanted = {"rule_files": ["rules.yml"], "evaluation_interval": f"{EVERY_S}s"}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(wanted | {"tests": [played(case)]}))
    promtool("test", "rules", tmp_path / "tests.yml")
