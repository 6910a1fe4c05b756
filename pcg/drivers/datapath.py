"""Backend datapath: what the C path holds, and making it hold what it should.

What it holds is read once and then followed, since we are the only one who writes. Its own count
of changes tells when that is not so (it was restarted, somebody else wrote): then it is read anew.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from pcg.drivers.netlink import Link
from pcg.drivers.objects import named
from pcg.model.errors import BackendError
from pcg.reconcile.compiler import Tables
from pcg.reconcile.numbers import Numbers, numbers_of
from pcg.reconcile.plan import Plan, apply, plan, plan_keys
from pcg.reconcile.records import POLICY, SINGLE
from pcg.reconcile.touches import touches

log = logging.getLogger(__name__)

KEYS: dict[str, Callable[[Any], Any]] = {
    "teps": lambda r: r.address_be,
    "ports": lambda r: (r.vrf, r.address_be),
    "nexthops": lambda r: r.address_be,
    "clients": lambda r: (r.vni, r.mac),
}
FOLLOWED = ("ports", "clients")  # as many as there are workloads: only what was touched is compared
IN_ORDER = ("nat", "firewall")  # the first match decides; the other tables are sets
MARKS = ("changes", "commits", "revision", "ports", "teps")  # of totals(): move with any write


class Client(Protocol):
    """What we need of pcg.datapath.client.Client."""

    def read(self, table: str) -> list: ...
    def put(self, table: str, rows: Sequence) -> None: ...
    def delete(self, table: str, rows: Sequence) -> None: ...
    def commit(self, policy: dict[str, list], revision: int, touches: Sequence) -> None: ...
    def totals(self) -> dict[str, int]: ...
    def nics(self) -> list[dict[str, Any]]: ...


class Held(NamedTuple):
    single: dict[str, dict]  # table -> key -> record
    policy: dict[str, list]
    numbers: Numbers


class Datapath:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.held: Held | None = None  # None: must be read
        self._mark: tuple[int, ...] = ()
        self._whole = True  # compare all of FOLLOWED once; afterwards only what was touched
        self._pending: dict[str, set] = {t: set() for t in FOLLOWED}  # touched, not written yet

    def check(self) -> bool:
        """Whether it still holds what we believe; else it is read at the next occasion."""
        if self.held and self._read_mark() != self._mark:
            log.info("the datapath was changed or restarted; reading what it holds")
            self.held = None
        return self.held is not None

    def read(self) -> Held:
        """What it holds, from our memory when that is sure."""
        if self.held is None:
            mark = self._read_mark()
            single = {t: {KEYS[t](r): r for r in self.client.read(t)} for t in SINGLE}
            policy = {t: self.client.read(t) for t in POLICY}
            policy = {t: rs if t in IN_ORDER else sorted(rs) for t, rs in policy.items()}
            self.held, self._mark = Held(single, policy, numbers_of(policy)), mark
            self._whole = True
        return self.held

    def apply(self, want: Tables, revision: int, may_commit: bool = True) -> list[BackendError]:
        """Write the difference. Returns what failed; that is planned again next time.

        Additions first, so that no rule points to what is not there yet, removals last. The
        policy is one transaction, and so is each table's write. Without `may_commit` the policy
        waits for a later call.
        """
        held = self.read()
        plans = {t: plan(getattr(want, t), held.single[t]) for t in ("teps", "nexthops")}
        for t, touched in ("ports", want.touched), ("clients", want.touched_clients):
            self._pending[t] |= touched
            pending, wanted, has = self._pending[t], getattr(want, t), held.single[t]
            plans[t] = plan(wanted, has) if self._whole else plan_keys(pending, wanted, has)
        commit = may_commit and want.policy != held.policy
        if commit or any(plans.values()):
            failed = self._write(plans, want.policy if commit else None, revision)
            if failed:
                self.held = None  # what a failed call left behind is not ours to guess
                return failed
            self._mark = self._read_mark()
        for pending in self._pending.values():
            pending.clear()
        self._whole = False
        return []

    def write_ports(self, write: Mapping[Any, Any], remove: Iterable[Any]) -> None:
        """Beside apply(): ports whose addresses are leased, at once. Raises BackendError.

        The caller sees to it that what apply() is given next has them too.
        """
        if self.held is None:
            raise BackendError("datapath", "what it holds is not known yet")
        changes = Plan([key for key in remove if key in self.held.single["ports"]], dict(write))
        try:
            if changes.write:
                self._put("ports", changes)
            if changes.remove:
                self._delete("ports", changes)
            self._follow_mark()
        except BackendError:
            self.held = None
            raise

    def misplaced(self, links: Mapping[str, Link]) -> list[BackendError]:
        """What is wrong with the interfaces that it has taken; `links` are those it should have,
        by role. It opened them when it started, and knows nothing of names or of what came later.
        """
        errors = []
        for nic in self.client.nics():
            link = links.get(nic["role"])
            if link is None or nic["driver"] == "mem":
                continue
            thing = f"{nic['role']} {link.name}"
            if nic["name"] != link.name:
                mend = "name one interface in gateway.interfaces and in the datapath's settings"
                errors.append(BackendError(thing, f"the datapath has taken {nic['name']}", mend))
            elif nic["ifindex"] != link.index:
                why, mend = "was replaced since the datapath opened it", "restart the datapath"
                errors.append(BackendError(thing, why, mend))
        return errors

    def _write(
        self, plans: dict[str, Plan], policy: dict[str, list] | None, revision: int
    ) -> list[BackendError]:
        steps: list[Callable[[], None]] = [
            lambda t=t, p=p: self._put(t, p) for t, p in plans.items() if p.write
        ]
        if policy is not None:
            steps.append(lambda: self._commit(policy, revision))
        steps += [lambda t=t, p=p: self._delete(t, p) for t, p in plans.items() if p.remove]
        failed = []
        for step in steps:
            try:
                step()
            except BackendError as e:
                failed.append(e)
        return failed

    def _put(self, table: str, changes: Plan) -> None:
        self.client.put(table, list(changes.write.values()))
        apply(Plan(write=changes.write), self.held.single[table])

    def _delete(self, table: str, changes: Plan) -> None:
        single = self.held.single[table]
        self.client.delete(table, [single[key] for key in changes.remove])
        apply(Plan(remove=changes.remove), single)

    def _commit(self, policy: dict[str, list], revision: int) -> None:
        concerned = touches(self.held.policy, policy)
        try:
            self.client.commit(policy, revision, concerned)
        except BackendError as e:
            raise named(e, policy) from None
        self.held = self.held._replace(policy=policy, numbers=numbers_of(policy))
        log.info("policy of revision %d is in force", revision)

    def _follow_mark(self) -> None:
        """After a write of ports: nothing else may have moved, else it is another datapath."""
        mark = self._read_mark()
        before, now = (dict(zip(MARKS, m, strict=True)) for m in (self._mark, mark))
        same = all(before[name] == now[name] for name in ("commits", "revision", "teps"))
        if not same or now["ports"] != len(self.held.single["ports"]):
            raise BackendError("datapath", "it was restarted, or somebody else wrote")
        self._mark = mark

    def _read_mark(self) -> tuple[int, ...]:
        totals = self.client.totals()
        return tuple(totals[name] for name in MARKS)
