"""All metrics of one gateway, for Prometheus: made when they are asked for, in the asker's thread.

Labels are bounded: reasons, stages, interfaces and counters by what the programs know, objects of
the operator by families.OBJECTS_MAX. No address, port or tuple is ever a label.
"""

from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Any

from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from pcg.gateway import metrics_datapath, metrics_dhcp
from pcg.gateway.facts import Facts, interfaces
from pcg.gateway.families import bounded, counter, gauge
from pcg.gateway.metrics_dhcp import Figures
from pcg.model.errors import BackendError

NO_RULE = "(none)"  # no name has brackets
WHERE = ("interface", "role", "counter")


class Metrics(Collector):
    def __init__(
        self,
        client: metrics_datapath.Client,
        facts: Callable[[], Facts],
        watched: Callable[[], dict[str, Any]],
        session_logs: Callable[[], dict[str, int]] = dict,
        dhcp: Callable[[], Figures] = Figures,
        shortages: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """client   of the datapath, for this thread alone
        facts    what the control loop last told
        watched  Watcher.view
        session_logs  SessionLog.counts; nothing when there is no such log
        dhcp     Dhcp.figures
        shortages  NAT rule -> how many began, as UsageWatch.by_rule
        """
        self._client, self._facts, self._watched = client, facts, watched
        self._session_logs, self._dhcp, self._shortages = session_logs, dhcp, shortages

    def describe(self) -> list[Metric]:
        """Nothing to find out when it is registered: the datapath may not be there yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        facts = self._facts()
        build = {"version": metadata.version("pcg"), "gateway": _gateway(facts)}
        yield InfoMetricFamily("pcg_build", "Which release runs on which gateway.", value=build)
        yield from control(facts)
        yield from kernel(facts, self._watched())
        text = "Session events that are in no log, or not in this one, by what kept them out."
        kept_out = [((why,), n) for why, n in self._session_logs().items()]
        yield counter("pcg_session_log_missed_events", text, ("why",), kept_out)
        yield short(facts, self._shortages())
        yield from metrics_dhcp.collect(self._dhcp())
        yield from self._datapath(facts)

    def _datapath(self, facts: Facts) -> Iterator[Metric]:
        """All of it or, when it does not answer in between, none."""
        try:
            found = list(metrics_datapath.collect(self._client, facts))
        except BackendError:
            found = []
        yield gauge("pcg_datapath_up", "1: the datapath answers.", (), [((), bool(found))])
        yield from found


def _gateway(facts: Facts) -> str:
    return facts.desired.gateway.id if facts.desired else ""


def control(facts: Facts) -> Iterator[Metric]:
    """Of the control loop."""
    one = ((), ())
    yield counter("pcg_control_rounds", "Rounds of the control loop.", (), [(one[0], facts.rounds)])
    for name, text, value in (
        ("connected", "1: the controller is heard.", facts.connected),
        ("revision", "Revision of the desired state.", facts.revision),
        ("lag_seconds", "For so long something has not been as desired.", facts.lag_s),
        (
            "last_step_timestamp_seconds",
            "When the control loop last looked at what there is to do.",
            facts.stepped_at,
        ),
    ):
        yield gauge(f"pcg_control_{name}", text, (), [((), value)])
    yield from _backends(facts)


def _backends(facts: Facts) -> Iterator[Metric]:
    def column(field: str) -> list:
        return [((name,), getattr(turns, field)) for name, turns in facts.backends.items()]

    label = ("backend",)
    yield counter("pcg_control_turns", "Turns that a backend had.", label, column("turns"))
    text = "Turns of a backend after which something was not as desired."
    yield counter("pcg_control_failed_turns", text, label, column("failed"))
    text = "Errors of a backend now."
    yield gauge("pcg_control_errors", text, label, column("errors"))
    text = "When a backend was last as desired; 0: never."
    yield gauge("pcg_control_applied_timestamp_seconds", text, label, column("applied_at"))


def short(facts: Facts, by_rule: Mapping[str, int]) -> Metric:
    """Each rule has its series from the start: of one that begins at 1 no rate is to be had."""
    named = {"": (NO_RULE,)} | {name: (name,) for name in facts.numbers.nat}
    rows = bounded(named, [{"id": rule, "began": n} for rule, n in by_rule.items()])
    text = "Times that a workload began to get no more sessions, by the NAT rule it asked."
    began = [(labels, found.get("began", 0)) for labels, found in rows.items()]
    return counter("pcg_nat_rule_shortages", text, ("rule",), began)


def kernel(facts: Facts, watched: dict[str, Any]) -> Iterator[Metric]:
    """What ends outside the datapath."""
    roles = {name: role for role, name in interfaces(facts).items()}

    def rows(source: str) -> list:
        return [
            ((c["where"], roles.get(c["where"], "none"), c["name"]), c["packets"])
            for c in watched["counters"]
            if c["source"] == source
        ]

    text = "Frames that ended in an interface, by the kernel's name of the counter."
    yield counter("pcg_interface_drops", text, WHERE, rows("interface"))
    text = "Frames that ended in a driver, by its own name of the counter."
    yield counter("pcg_driver_drops", text, WHERE, rows("driver"))
    text = "Packets that the cloud queued or dropped since a limit of the instance was exceeded."
    yield counter(
        "pcg_cloud_allowance_exceeded_packets", text, (*WHERE[:2], "allowance"), rows("cloud")
    )
    yield from _nftables(watched)
    text = "Packets that this host's own IP stack lost, by the names that nstat uses."
    lost = [((c["name"],), c["packets"]) for c in watched["counters"] if c["source"] == "kernel"]
    yield counter("pcg_kernel_drops", text, ("counter",), lost)
    ok = not watched["error"]
    yield gauge("pcg_counters_readable", "1: kernel and nftables tell.", (), [((), ok)])


def _nftables(watched: dict[str, Any]) -> Iterator[Metric]:
    def rows(ends: bool) -> list:
        return [
            ((c["name"],), c["packets"])
            for c in watched["counters"]
            if c["source"] == "nftables" and c["ends"] is ends
        ]

    text = "Frames that ended beside the datapath, as nftables counts them."
    yield counter("pcg_nftables_drops", text, ("counter",), rows(True))
    text = "Frames of the datapath that were kept from the kernel; they are no loss."
    yield counter("pcg_nftables_steered_packets", text, ("counter",), rows(False))
