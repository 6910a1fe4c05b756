"""What the control loop tells its other threads: one value, made anew with each of its steps.

Everything in it is either immutable or replaced whole by the loop, never changed in place.
"""

from collections.abc import Mapping
from typing import NamedTuple

from pcg.gateway.lease_views import Owners
from pcg.gateway.loop import Gateway
from pcg.model.desired import Desired
from pcg.reconcile.numbers import Numbers


class Turns(NamedTuple):
    """Of one backend."""

    turns: int
    failed: int
    errors: int  # now
    applied_at: float  # wall clock; 0: never


class Facts(NamedTuple):
    desired: Desired | None = None
    policy: Mapping[str, list] = {}  # records that the datapath holds
    numbers: Numbers = Numbers()
    gone: Numbers = Numbers()  # of rules that are no more
    epoch: int = 0
    revision: int = 0
    rounds: int = 0
    lag_s: float = 0.0  # for so long something has not been as desired
    connected: bool = False  # to the controller
    stepped_at: float = 0.0  # wall clock
    backends: Mapping[str, Turns] = {}
    leased: Owners = ()  # the same object while no lease came or ended


def facts_of(gateway: Gateway, connected: bool, now: float) -> Facts:
    held = gateway.datapath.held
    late = gateway.late_since
    return Facts(
        desired=gateway.desired,
        policy=held.policy if held else {},
        numbers=held.numbers if held else Numbers(),
        gone=gateway.compiler.gone,
        epoch=gateway.epoch,
        revision=gateway.revision,
        rounds=gateway.rounds,
        lag_s=0.0 if late is None else max(0.0, now - late),
        connected=connected,
        stepped_at=gateway.wall(),
        backends={
            name: Turns(h.turns, h.failed_turns, len(h.errors), h.applied_at)
            for name, h in gateway.health.items()
        },
        leased=gateway.grants.owners(),
    )


def interfaces(facts: Facts) -> dict[str, str]:
    """Role -> name; empty without a desired state."""
    if facts.desired is None:
        return {}
    known = facts.desired.gateway.interfaces
    return {role: getattr(known, role).name for role in ("uplink", "downlink", "management")}


def management_address(facts: Facts) -> str:
    """The first of the management interface; "": there is none."""
    if facts.desired is None or not facts.desired.gateway.interfaces.management.addresses:
        return ""
    return facts.desired.gateway.interfaces.management.addresses[0].partition("/")[0]
