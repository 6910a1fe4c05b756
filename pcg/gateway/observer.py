"""What is shown of this gateway to the outside, in threads beside the control loop."""

from pcg.datapath.client import Client
from pcg.drivers.counters import Count
from pcg.gateway import nat_log
from pcg.gateway.away import Away
from pcg.gateway.destinations import Destinations
from pcg.gateway.dhcp import Dhcp
from pcg.gateway.exposition import Exposition
from pcg.gateway.facts import Facts, interfaces, management_address
from pcg.gateway.first_seen import FirstSeen
from pcg.gateway.json_log import JsonLog
from pcg.gateway.metrics import Metrics
from pcg.gateway.names import Names
from pcg.gateway.rule_log import RuleLog
from pcg.gateway.session_log import Log, Part, SessionLog
from pcg.gateway.usage_watch import UsageWatch
from pcg.gateway.watcher import Watcher
from pcg.model.errors import BackendError
from pcg.model.settings import GatewaySettings
from pcg.wire.local import listens
from pcg.wire.messages import Shortage

PATIENCE_S = 2.0  # with a datapath that does not answer a scrape
CONNECT_S = 0.2


class Observer:
    def __init__(self, settings: GatewaySettings, dhcp: Dhcp) -> None:
        """Raises BackendError."""
        self._facts = Facts()
        self._client = Client(settings.datapath, timeout_s=PATIENCE_S, connect_s=CONNECT_S)
        self._away = Away(lambda: listens(settings.datapath), self._programmed)
        self.watcher = Watcher(
            lambda: interfaces(self._facts).values(),
            lambda: [*dhcp.counts(), *self._away.counts(), *self._ports()],
        )
        self._usage = UsageWatch(self._client, lambda: self._facts)
        metrics = Metrics(
            self._client,
            lambda: self._facts,
            self.watcher.view,
            self._counts,
            dhcp.figures,
            lambda: self._usage.by_rule,
        )
        self._exposition = Exposition(metrics, settings.metrics)
        logs = self._logs(settings)
        self._sessions = SessionLog(self._client, *logs) if logs else None
        self._away.start()
        self.watcher.start()
        self._usage.start()
        if self._sessions:
            self._sessions.start()

    def _logs(self, settings: GatewaySettings) -> list[Log]:
        names, logs = Names(lambda: self._facts), []
        if wanted := settings.first_seen:
            known = Destinations(wanted.destinations, wanted.per_workload)
            first_seen = FirstSeen(settings.id, known, wanted.per_second, names)
            logs.append(Part(first_seen, JsonLog(wanted.log, wanted.log_mib << 20)))
        if wanted := settings.rule_log:
            rules = RuleLog(settings.id, wanted.per_second, names)
            logs.append(Part(rules, JsonLog(wanted.log, wanted.log_mib << 20)))
        if settings.nat_log:
            logs.append(nat_log.made(settings.nat_log, settings.id, names))
        return logs

    def _programmed(self) -> bool:
        """Whether the datapath has a policy: without one it takes no frames."""
        try:
            return self._client.totals()["commits"] > 0
        except BackendError:
            return False

    def _ports(self) -> list[Count]:
        """What the datapath's rings lost; nothing while it does not answer."""
        try:
            nics = self._client.nics()
        except BackendError:
            return []
        return [Count("port", nic["name"], "rx_missed", nic["rx_missed"]) for nic in nics]

    def _counts(self) -> dict[str, int]:
        return self._sessions.counts() if self._sessions else {}

    def shortages(self) -> tuple[Shortage, ...]:
        """The latest; at most limits.MAX_SHORTAGES."""
        return self._usage.latest

    def tell(self, facts: Facts, now: float) -> None:
        """Of the control loop, after each of its steps; never blocks. `now`: monotonic seconds."""
        self._facts = facts
        self._exposition.follow(management_address(facts), now)

    def close(self) -> None:
        self._exposition.close()
        self.watcher.close()
        self._away.close()
        if self._sessions:
            self._sessions.close()
        self._usage.close()
        self._client.close()
