"""Who got no session for want of something that all share: one event an episode, naming them.

The datapath counts refusals by workload address. An episode of an address, reason and rule goes on
while refusals come; it is over after QUIET_S without any, and the next one is told again.

Of an address the table has the latest reason alone. What else it was refused for since the last
look is known as far as the ledger of drops has an example of it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pcg.gateway.facts import Facts
from pcg.wire.messages import Shortage

REASONS = frozenset(
    ("QUOTA_SESSIONS", "QUOTA_PORTS", "NAT_PORTS_EXHAUSTED", "NAT_MAPPINGS_FULL", "SESSIONS_FULL")
)
QUIET_S = 60.0


def refusals(drops: Mapping[str, int]) -> int:
    """Of all workloads; while it stands still there is nothing to ask for."""
    return sum(n for reason, n in drops.items() if reason in REASONS)


class FairUse:
    def __init__(self) -> None:
        self._counted: dict[tuple[int, str], int] = {}  # at the last look, of those that are there
        self._example_ns = 0
        self._open: dict[tuple, float] = {}  # episode -> its last refusal
        self._told = 0

    def begin(self, usage: Iterable[dict[str, Any]]) -> None:
        """What these were refused until now is old, and no event."""
        self._counted = {(row["vrf"], row["address"]): row["refused"] for row in usage}

    def look(
        self,
        usage: Iterable[dict[str, Any]],
        facts: Facts,
        now: float,
        ledger: Iterable[dict[str, Any]] = (),
        offset_s: float = 0.0,
    ) -> list[Shortage]:
        """What began since the last look.

        usage, ledger  all records of the datapath's table that have refusals, all drops; in words
        now, offset_s  monotonic seconds, and what leads from there to the time since 1970
        """
        self._open = {key: at for key, at in self._open.items() if now - at < QUIET_S}
        others = self._others(ledger)
        found = []
        for row, grew in self._grown(usage):
            who = row["vrf"], row["address"]
            more = [row | o for o in others.get(who, ()) if o["reason"] != row["reason"]]
            for one, n in ((row, grew), *((other, 0) for other in more)):
                episode = (*who, one["reason"], one["nat_id"])
                if episode not in self._open:
                    found.append((one, n))
                self._open[episode] = now
        if not found:
            return []
        owners = _owners(facts, {(r["vrf"], r["address"]) for r, _ in found})
        first, self._told = self._told + 1, self._told + len(found)
        return [
            _shortage(n, now + offset_s, row, grew, owners, facts)
            for n, (row, grew) in enumerate(found, first)
        ]

    def _grown(self, usage: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], int]]:
        """Rows, and by how much since the last look. Whoever is in none is forgotten."""
        before, self._counted = self._counted, {}
        for row in usage:
            who = row["vrf"], row["address"]
            was = before.get(who, 0)
            self._counted[who] = row["refused"]
            # an address that was removed and came back, or a new datapath, counts from zero
            grew = row["refused"] - (was if was <= row["refused"] else 0)
            if grew:
                yield row, grew

    def _others(self, ledger: Iterable[dict[str, Any]]) -> dict[tuple, list[dict[str, Any]]]:
        """By VRF and address of the workload that sent it: reason and rule of each example since
        the last look. Which public address was asked is not known of them."""
        new = [d for d in ledger if d["reason"] in REASONS and d["at_ns"] > self._example_ns]
        self._example_ns = max([self._example_ns, *(d["at_ns"] for d in new)])
        found: dict[tuple, list[dict[str, Any]]] = {}
        for d in new:
            why = {"reason": d["reason"], "nat_id": d["nat_id"], "public_index": None}
            if d["role"] == "downlink":
                found.setdefault((d["vrf"], d["src"]), []).append(why)
        return found


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


def _shortage(
    number: int, at_s: float, row: dict[str, Any], grew: int, owners: dict, facts: Facts
) -> Shortage:
    vrfs = {r.index: r.name for r in facts.policy.get("vrfs", ())}
    publics = {r.index: r.name for r in facts.policy.get("publics", ())}
    rules = {number: name for name, number in facts.numbers.nat.items()}
    return Shortage(
        number=number,
        at=at_s,
        workload=owners.get((row["vrf"], row["address"]), ""),
        address=row["address"],
        vrf=vrfs.get(row["vrf"], str(row["vrf"])),
        reason=row["reason"],
        rule=rules.get(row["nat_id"], ""),
        public_address=publics.get(row["public_index"], ""),
        refused=grew,
    )
