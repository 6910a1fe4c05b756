"""The control loop: desired, actual, plan, apply; again and again, whatever happened in between.

Level-triggered: an event only says *when* to look, never *what* to do. Each backend has its turn
when something it depends on changed, when the last try failed (later each time), and every
`resync_s` anyway. A turn that finds everything as desired changes nothing.

The order of a round never lets the kernel answer for an address that is the datapath's: first
what nft keeps from the kernel and should no longer, then interfaces, datapath, what nft keeps
from now on, and last the removal of interface addresses. On a fresh boot nft comes first of all,
with its default drop, since there is nothing yet that it could take from anybody. Later it never
goes ahead of the others: steering.py.

Everything in here runs in one thread. This is the one place where BackendErrors end.
"""

from collections.abc import Callable, Iterable

from pcg.drivers.datapath import Datapath
from pcg.drivers.kea import Fleet
from pcg.drivers.neighbours import Neighbours, Seen
from pcg.drivers.netlink import Link, Netlink
from pcg.drivers.nft import Nft
from pcg.gateway.grants import Grants
from pcg.gateway.health import Health
from pcg.gateway.nexthops import NextHops
from pcg.gateway.state import Numbered, Store
from pcg.gateway.steering import Steerer
from pcg.model.desired import Desired
from pcg.model.errors import BackendError
from pcg.reconcile import host
from pcg.reconcile.compiler import Compiler

FORWARDING = ("netlink", "datapath", "nft")
BACKENDS = (*FORWARDING, "dhcp")
CHECK_S = 1.0  # is the datapath still the one we programmed; are next hops still there
COMMIT_S = 0.1  # DESIGN section 6.3: at most ten commits a second, coalesced
EVENTS_S = 0.05  # the kernel's events come in groups: wait for the rest of one
SAVE_S = 1.0  # write the state file at most that often
DHCP_S = 0.1  # the DHCP servers are at it: ask again then


class Gateway:
    def __init__(
        self,
        resync_s: float,
        *,
        datapath: Datapath,
        nft: Nft,
        netlink: Netlink,
        neighbours: Neighbours,
        store: Store,
        dhcp: Fleet,
        grants: Grants,
        wall: Callable[[], float],
        metrics: int = 0,
    ) -> None:
        """`metrics`: TCP port that management serves them on; 0: none."""
        self.resync_s, self.wall, self.metrics = resync_s, wall, metrics
        self.datapath, self.netlink = datapath, netlink
        self.neighbours, self.store = neighbours, store
        self.dhcp, self.grants = dhcp, grants
        self.desired: Desired | None = None
        self.epoch = self.revision = 0
        self.source = "none"  # of `desired`: "disk" or "controller"
        self.rounds = 0
        self.late_since: float | None = None  # monotonic; None: all is as desired
        self.health = {name: Health(name) for name in (*BACKENDS, "state")}
        self.compiler = Compiler()
        self._next_hops = NextHops(neighbours)
        self._links: dict[str, Link] = {}
        self._steerer = Steerer(nft)
        self._ways_due = True
        self._resync_at = self._check_at = 0.0
        self._commit_at = 0.0
        self._policy_waits = False

    # ---- what happens to us ----

    def adopt(
        self, desired: Desired, epoch: int, revision: int, now: float, source: str = "controller"
    ) -> None:
        """A new desired state, valid as a whole."""
        old, self.desired = self.desired, desired
        self.epoch, self.revision, self.source = epoch, revision, source
        if desired is old:
            return
        self.late_since = now if self.late_since is None else self.late_since
        self.health["datapath"].want(now)
        self.health["dhcp"].want(now)
        if old is None or old.gateway != desired.gateway:
            self.health["netlink"].want(now)
        if old is None or _steering_inputs(old) != _steering_inputs(desired):
            self.health["nft"].want(now)
        if old is None or old.teps is not desired.teps or old.routes is not desired.routes:
            self._ways_due = True
        if source == "disk":
            self.health["state"].done((), now, self.wall())
        else:
            self.health["state"].want(now + SAVE_S)

    def seen(self, seen: Seen, now: float) -> None:
        """The kernel told us something."""
        if seen.neighbours and self._next_hops.gather():
            self.health["datapath"].want(now)
        if seen.kernel:
            self.health["netlink"].want(now + EVENTS_S)
        if seen.links:
            self.health["nft"].want(now + EVENTS_S)

    def next_turn(self) -> float:
        """Monotonic time at which round() has something to do, events aside."""
        if self.desired is None:
            return float("inf")
        return min(self._check_at, self._resync_at, *(h.due for h in self.health.values()))

    # ---- one round ----

    def round(self, now: float) -> None:
        """Give each backend whose turn it is its turn. Raises nothing that a retry could mend."""
        if self.desired is None:
            return
        self.rounds += 1
        self._timers(now)
        if self._is_due("nft", now):
            self._turn("nft", self._steer_first, now, last=False)
        set_up = self._is_due("netlink", now)
        if set_up:
            self._turn("netlink", self._set_up, now)
        if self._is_due("datapath", now):
            self._turn("datapath", lambda: self._program(now), now)
            if self._policy_waits:
                self.health["datapath"].want(self._commit_at)
                self.health["nft"].wait(self._commit_at)
        if self._is_due("nft", now) or self._may_steer():
            self._turn("nft", self._steer, now)
        if set_up and not any(self.health[name].errors for name in FORWARDING):
            self._turn("netlink", self._clear, now)
        if self._is_due("dhcp", now):
            self._hand_out(now)
        if self._is_due("state", now):
            self._turn("state", self._save, now)
        self._watch_lag(now)

    def _watch_lag(self, now: float) -> None:
        if self.settled() and not self.errors():
            self.late_since = None
        elif self.late_since is None:
            self.late_since = now

    def _is_due(self, name: str, now: float) -> bool:
        return self.health[name].is_due(now)

    def _timers(self, now: float) -> None:
        if now >= self._resync_at:
            self._resync_at = now + self.resync_s
            self._ways_due = True
            for name in BACKENDS:
                self.health[name].want(now)
        if now >= self._check_at:
            self._check_at = now + CHECK_S
            self.neighbours.refresh()
            # What could not be written waits longer each time; a datapath that is away, or has
            # taken another interface, is looked at every second.
            if self.datapath.held is not None or not self.health["datapath"].errors:
                self.health["datapath"].want(now)
            if self.dhcp.errors() != list(self.health["dhcp"].errors):
                self.health["dhcp"].want(now)

    def _turn(
        self,
        name: str,
        work: Callable[[], Iterable[BackendError] | None],
        now: float,
        last: bool = True,
    ) -> None:
        """Run one backend's work. Not `last`: success is told by what follows."""
        try:
            errors = tuple(work() or ())
        except BackendError as e:
            errors = (e,)
        if errors or last:
            self.health[name].done(errors, now, self.wall())

    def _set_up(self) -> list[BackendError]:
        failed = self.netlink.add(host.setups(self.desired))
        self._links = self.netlink.read().links
        self._ways_due = True
        self.health["datapath"].want(0.0)
        return failed

    def _clear(self) -> None:
        self.netlink.clear(host.setups(self.desired))

    def _program(self, now: float) -> list[BackendError]:
        with self.grants.lock:  # leases are written beside us, by the relay
            return self._program_all(now)

    def _program_all(self, now: float) -> list[BackendError]:
        self._policy_waits = False
        self.datapath.check()
        held = self.datapath.read()
        if self._ways_due:
            self._next_hops.look_up(self.desired, self._links, held.single)
            self._ways_due = False
        want = self.compiler.tables(self.desired, self._next_hops.hops, held.numbers)
        want = self.grants.follow(self.desired, want, held.single["ports"])
        differs = want.policy != held.policy
        may_commit = now >= self._commit_at
        failed = self.datapath.apply(want, self.revision, may_commit)
        if differs and may_commit:
            self._commit_at = now + COMMIT_S
        self._policy_waits = differs and not may_commit
        return failed + self.datapath.misplaced(self._taken_links())

    def _taken_links(self) -> dict[str, Link]:
        """Those of the datapath's ports, as the kernel has them now."""
        interfaces = self.desired.gateway.interfaces
        names = {"uplink": interfaces.uplink.name, "downlink": interfaces.downlink.name}
        return {role: self._links[name] for role, name in names.items() if name in self._links}

    def _steer_first(self) -> None:
        self._steerer.first(self._wanted(), lambda: self.netlink.read().links)

    def _may_steer(self) -> bool:
        """What it waited for has come."""
        return self._steerer.waits and not self._policy_waits and not self._obstacle()

    def _steer(self) -> None:
        self._steerer.follow(self._wanted(), self._obstacle(), self._links)

    def _wanted(self) -> host.Steering:
        return host.steering(self.desired, self.metrics)

    def _obstacle(self) -> str:
        """Why nft may not take what is new from the kernel; "": it may."""
        missing = [s.name for s in host.setups(self.desired) if s.name not in self._links]
        if missing:
            return f"there is no interface {missing[0]}"
        return "the datapath is not as desired" if self.health["datapath"].errors else ""

    def _hand_out(self, now: float) -> None:
        """Its work is done elsewhere, and tried again there: here we say what, and hear how."""
        self.dhcp.follow(self.desired)
        if self.dhcp.busy():
            self.health["dhcp"].due = now + DHCP_S
        else:
            self._turn("dhcp", self.dhcp.errors, now)

    def _save(self) -> None:
        numbered = Numbered(self.compiler.numbers, self.compiler.gone)
        self.store.save(self.desired, self.epoch, self.revision, numbered)

    def save_now(self) -> None:
        """Before we end: what was to be written later."""
        if self.desired is not None and self.health["state"].due != float("inf"):
            self._turn("state", self._save, 0.0)

    # ---- what became of it ----

    def errors(self) -> list[tuple[str, BackendError]]:
        """(backend, error) of all that is not as desired."""
        return [(name, e) for name in BACKENDS for e in self.health[name].errors]

    def settled(self) -> bool:
        """Whether every backend had its turn for the present state."""
        return all(self.health[n].tried and not self._waits(n) for n in BACKENDS)

    def _waits(self, name: str) -> bool:
        health = self.health[name]
        return health.due != float("inf") and not health.errors


def _steering_inputs(desired: Desired) -> tuple:
    return desired.gateway, desired.public_addresses, desired.segments
