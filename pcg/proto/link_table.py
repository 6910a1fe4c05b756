"""Controller link, the gateway's end: the table of the conversation, and what comes out of it."""

import enum
from dataclasses import dataclass

from pcg.model.desired import Desired
from pcg.wire import messages as m


class State(enum.Enum):
    GREETING = "greeting"  # saying Hello until somebody answers
    SYNCING = "syncing"  # waiting for the whole
    LIVE = "live"  # what we hold is `revision`; deltas apply, in order
    BEHIND = "behind"  # what we hold is older: `skip` is refused, or the controller has none


G, S, L, B = State.GREETING, State.SYNCING, State.LIVE, State.BEHIND

# The whole conversation: what may arrive in a state, and where it may lead. A pair that is not
# in this table is a ProtocolError. In GREETING the answers to older questions still arrive.
MOVES = {
    (G, m.Welcome): {S},
    (G, m.Refused): {G},
    (G, m.Again): {G},
    (G, m.Begin): {G},
    (G, m.Chunk): {G},
    (G, m.Current): {G},
    (G, m.Nothing): {G},
    (G, m.Delta): {G},
    (G, m.Heartbeat): {G},
    (G, m.LeasesHeard): {G},
    (S, m.Welcome): {S},  # of an Hello that we repeated; with a new epoch: ask anew
    (S, m.Refused): {G},
    (S, m.Again): {G},
    (S, m.Begin): {S, G},  # G, here and below: of another epoch
    (S, m.Chunk): {S, L, B},
    (S, m.Current): {L, B, S, G},
    (S, m.Nothing): {B, S, G},
    (S, m.Delta): {S, G},  # kept until the snapshot is here
    (S, m.Heartbeat): {S, G},
    (S, m.LeasesHeard): {S},
    (L, m.Welcome): {L, S},
    (L, m.Refused): {G},
    (L, m.Again): {G},
    (L, m.Delta): {L, S, B, G},  # applied; one is missing; invalid; another epoch
    (L, m.Heartbeat): {L, S, G},
    (L, m.LeasesHeard): {L},
    (B, m.Welcome): {B, S},
    (B, m.Refused): {G},
    (B, m.Again): {G},
    (B, m.Delta): {B, S, G},
    (B, m.Heartbeat): {B, S, G},
    (B, m.LeasesHeard): {B},
}


@dataclass(frozen=True, slots=True)
class Synced:
    """The whole. `desired` is the very object we held before when its content is the same."""

    desired: Desired
    epoch: int
    revision: int


@dataclass(frozen=True, slots=True)
class Changed:
    desired: Desired
    epoch: int
    revision: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """The controller has no desired state for us; what we hold stays."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Either side refused the other's; what we hold stays."""

    errors: tuple[m.ObjectError, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """Silent for too long. What we hold stays; we go on trying."""

    silent_s: float


@dataclass(frozen=True, slots=True)
class Reconnect:
    """For the owner of the sockets: what is connected leads nowhere, connect anew."""


Event = Synced | Changed | Waiting | Refused | Lost | Reconnect
