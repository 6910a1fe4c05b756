"""Every message of the controller link, each once. Order of fields is the wire: append only.

A message is a MessagePack array `[tag, field, ...]` behind the version byte (`codec.py`). Tags
below 16 go up, from gateway to controller; the others come down. A field is never removed nor
given another meaning without a new `limits.VERSION`; a receiver ignores fields it does not know.

    gateway                    ROUTER/DEALER                    controller
      Hello           ------------------------------------------>
                      <------------------------------------------  Welcome, or Refused
      Resync(digest)  ------------------------------------------>
                      <-----------------------  Current, Nothing, or Begin, Chunk, Chunk ...
      Credit          ------------------------------------------>  ... Chunk, Chunk
      Realised, Status ----------------------------------------->
      Leases          ------------------------------------------>
                      <------------------------------------------  LeasesHeard

                               SUB/XPUB
                      <------------------------------------------  Delta, Heartbeat

*Epoch* names one life of a controller. *Revision* counts the states of one gateway within an
epoch, one up for each, so that it is the sequence number of deltas as well; 0 is "none yet".
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from pcg.model.kinds import Id, Label
from pcg.wire import limits

Count = Annotated[int, msgspec.Meta(ge=0)]
Digest = Annotated[bytes, msgspec.Meta(max_length=32)]  # SHA-256 of a snapshot; b"": have none
Path = Annotated[str, msgspec.Meta(max_length=limits.MAX_PATH)]
Text = Annotated[str, msgspec.Meta(max_length=limits.MAX_TEXT)]
Fact = bool | int | float | str


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Base of what messages are made of: a value, on the wire an array of its fields."""


class Put(Part, tag=1):
    """Add the object, or replace the one of the same key. Also: the whole of `firewall`, ..."""

    kind: str  # a field of Desired
    object: msgspec.Raw  # MessagePack, of the type that the field has


class Delete(Part, tag=2):
    kind: str
    key: str  # as desired.KEYS names it


Change = Put | Delete


class ObjectError(Part):
    """One object that is not as desired, and why."""

    path: Path  # "ports[vm-1]", "nat[web].translated"
    text: Text
    backend: str = ""  # who failed: "datapath", "nft", ...; "" the document is at fault


# -- up: gateway to controller ---------------------------------------------------------------


class Hello(Part, tag=1):
    gateway: Id  # must be the name that the controller has for our key
    program: str = ""  # version, for people


class Resync(Part, tag=2):
    """Send me the whole, unless it is what I have."""

    request: Count  # the answers repeat it; a new request supersedes the last one
    digest: Digest  # of what we hold
    credit: Count  # chunks that may be sent before the first Credit


class Credit(Part, tag=3):
    request: Count
    upto: Count  # chunks with a lower index may be sent; counted from the start, so idempotent


class Realised(Part, tag=4):
    """What the gateway made of its desired state. Repeated until a Heartbeat has its number."""

    number: Count = 0  # of this report, counts up; given by the link
    epoch: Count = 0  # of `revision`
    revision: Count = 0  # in force
    errors: Annotated[tuple[ObjectError, ...], msgspec.Meta(max_length=limits.MAX_ERRORS)] = ()
    left_out: Count = 0  # errors beyond that many
    refused: Count = 0  # revision refused whole, `errors` say why; 0: none; given by the link


class Shortage(Part):
    """A workload that gets no session for want of something that all share, told as it begins.
    "" where there is nothing to name."""

    number: Count  # of the gateway's life, counts up from 1
    at: float  # seconds since 1970
    workload: Label
    address: Annotated[str, msgspec.Meta(max_length=15)]
    vrf: Label
    reason: Label  # of the datapath's
    rule: Label  # NAT rule
    public_address: Label
    refused: Count  # sessions, for all its reasons; 0: they stand with another of them

    @property
    def text(self) -> str:
        by = f"; NAT rule {self.rule}" if self.rule else ""
        of = f", public address {self.public_address}" if self.public_address else ""
        who = f"{self.workload or 'workload'} ({self.address}, VRF {self.vrf})"
        what = f"{self.refused} sessions" if self.refused else "some of its sessions"
        return f"{who} was refused {what}: {self.reason}{by}{of}"


class Status(Part, tag=5):
    """The gateway's sign of life, one for each Heartbeat. Only the newest counts."""

    epoch: Count
    revision: Count
    facts: Annotated[dict[str, Fact], msgspec.Meta(max_length=limits.MAX_FACTS)]
    # the latest, in their order: each stands in many of these, until others push it out
    shortages: Annotated[tuple[Shortage, ...], msgspec.Meta(max_length=limits.MAX_SHORTAGES)] = ()


class Lease(Part):
    """An address that a workload has by DHCP."""

    vrf: Id
    segment: Id
    address: Annotated[str, msgspec.Meta(max_length=15)]
    mac: Annotated[str, msgspec.Meta(max_length=17)]
    client_id: Annotated[str, msgspec.Meta(max_length=2 * limits.MAX_CLIENT_ID)]  # hexadecimal
    hostname: Annotated[str, msgspec.Meta(max_length=limits.MAX_HOSTNAME)]
    port: Id
    instance: Label
    expires: float | None  # seconds since 1970; None: never


class Leases(Part, tag=6):
    """How some leases are now. Repeated until a LeasesHeard has its number."""

    number: Count  # counts up
    first: bool  # all that the controller had of us before is void
    held: Annotated[tuple[Lease, ...], msgspec.Meta(max_length=limits.MAX_LEASES)] = ()
    gone: Annotated[tuple[tuple[Id, str], ...], msgspec.Meta(max_length=limits.MAX_LEASES)] = ()


# -- down: controller to gateway -------------------------------------------------------------


class Welcome(Part, tag=16):
    epoch: Count
    heartbeat_s: Annotated[float, msgspec.Meta(gt=0, le=3600)]


class Refused(Part, tag=17):
    text: Text  # what is wrong and how to mend it


class Again(Part, tag=18):
    """I do not know you (any more): say Hello."""


class Begin(Part, tag=19):
    """A snapshot follows, as chunks of CHUNK_BYTES each but the last."""

    request: Count
    epoch: Count
    revision: Count
    size: Count  # bytes
    digest: Digest  # of all bytes


class Chunk(Part, tag=20):
    request: Count
    index: Count
    data: Annotated[bytes, msgspec.Meta(max_length=limits.CHUNK_BYTES)]


class Current(Part, tag=21):
    """What you hold is what I want of you: `revision` of `epoch`."""

    request: Count
    epoch: Count
    revision: Count


class Nothing(Part, tag=22):
    """I have no desired state for you. Keep what you have."""

    request: Count
    epoch: Count


class Delta(Part, tag=23):
    """From `revision - 1` to `revision`."""

    epoch: Count
    revision: Count
    changes: tuple[Change, ...]


class Heartbeat(Part, tag=24):
    epoch: Count
    revision: Count  # the last one: a gateway that is behind missed a Delta
    heard: Count = 0  # number of the last Realised that arrived


class LeasesHeard(Part, tag=25):
    """The Leases of that number arrived."""

    number: Count


ToController = Hello | Resync | Credit | Realised | Status | Leases
ToGateway = (
    Welcome | Refused | Again | Begin | Chunk | Current | Nothing | Delta | Heartbeat | LeasesHeard
)


def clip(errors: Iterable[ObjectError]) -> tuple[tuple[ObjectError, ...], int]:
    """Errors as a report may carry them, and how many had to be left out."""
    errors = list(errors)
    kept = tuple(
        ObjectError(e.path[: limits.MAX_PATH], e.text[: limits.MAX_TEXT], e.backend)
        for e in errors[: limits.MAX_ERRORS]
    )
    return kept, len(errors) - len(kept)
