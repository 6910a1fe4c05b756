"""Who got no session for want of something that all share: one event an episode, naming them.

The datapath counts refusals by workload address. An episode of an address, reason and rule goes on
while refusals come; it is over after QUIET_S without any, and the next one is told again.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pcg.gateway.facts import Facts

REASONS = frozenset(
    ("QUOTA_SESSIONS", "QUOTA_PORTS", "NAT_PORTS_EXHAUSTED", "NAT_MAPPINGS_FULL", "SESSIONS_FULL")
)
QUIET_S = 60.0


class Refusal(NamedTuple):
    """What an event says; names where there are any, "" where there is nothing to name."""

    workload: str
    address: str
    vrf: str
    reason: str
    rule: str
    public_address: str
    refused: int  # since the one before

    @property
    def text(self) -> str:
        by = f"; NAT rule {self.rule}" if self.rule else ""
        of = f", public address {self.public_address}" if self.public_address else ""
        who = f"{self.workload or 'workload'} ({self.address}, VRF {self.vrf})"
        return f"{who} was refused {self.refused} sessions: {self.reason}{by}{of}"


def refusals(drops: Mapping[str, int]) -> int:
    """Of all workloads; while it stands still there is nothing to ask for."""
    return sum(n for reason, n in drops.items() if reason in REASONS)


class FairUse:
    def __init__(self) -> None:
        self._counted: dict[tuple[int, str], int] = {}
        self._open: dict[tuple, float] = {}  # episode -> its last refusal

    def look(self, usage: Iterable[dict[str, Any]], facts: Facts, now: float) -> list[Refusal]:
        """`usage`: records of the datapath's table, in words. What began since the last look."""
        self._open = {key: at for key, at in self._open.items() if now - at < QUIET_S}
        found = []
        for row in usage:
            who = row["vrf"], row["address"]
            before = self._counted.get(who, 0)
            self._counted[who] = row["refused"]
            # an address that was removed and came back, or a new datapath, counts from zero
            grew = row["refused"] - (before if before <= row["refused"] else 0)
            if not grew:
                continue
            episode = (*who, row["reason"], row["nat_id"])
            if episode not in self._open:
                found.append((row, grew))
            self._open[episode] = now
        if not found:
            return []
        owners = _owners(facts, {(r["vrf"], r["address"]) for r, _ in found})
        return [_refusal(row, grew, owners, facts) for row, grew in found]


def _owners(facts: Facts, wanted: set[tuple[int, str]]) -> dict[tuple[int, str], str]:
    """VRF's number and address -> id of the workload's port; one walk over all ports."""
    if facts.desired is None:
        return {}
    vrfs = {s.id: facts.numbers.vrfs.get(s.vrf, -1) for s in facts.desired.segments}
    leased = {
        (facts.numbers.vrfs.get(vrf, -1), address): port for vrf, address, port in facts.leased
    }
    return {key: leased[key] for key in wanted & leased.keys()} | {
        (vrfs.get(port.segment, -1), address): port.id
        for port in facts.desired.ports
        for address in port.addresses
        if (vrfs.get(port.segment, -1), address) in wanted
    }


def _refusal(row: dict[str, Any], grew: int, owners: dict, facts: Facts) -> Refusal:
    vrfs = {r.index: r.name for r in facts.policy.get("vrfs", ())}
    publics = {r.index: r.name for r in facts.policy.get("publics", ())}
    rules = {number: name for name, number in facts.numbers.nat.items()}
    return Refusal(
        workload=owners.get((row["vrf"], row["address"]), ""),
        address=row["address"],
        vrf=vrfs.get(row["vrf"], str(row["vrf"])),
        reason=row["reason"],
        rule=rules.get(row["nat_id"], ""),
        public_address=publics.get(row["public_index"], ""),
        refused=grew,
    )
