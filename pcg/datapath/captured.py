"""What a capture brings: frames with what became of them, as the rings of the path hold them."""

from collections.abc import Iterator
from typing import NamedTuple

from pcg.datapath import border, pack

RX = 1  # enum pcgdp_capture_direction
NONE = 0xFFFFFFFF


class Flow(NamedTuple):
    """How far a capture has come, in frames: downlink, uplink."""

    seen: tuple[int, int] = (0, 0)  # held against the filter
    taken: tuple[int, int] = (0, 0)
    lost: tuple[int, int] = (0, 0)  # they fitted and there was no room

    def plus(self, other: "Flow") -> "Flow":
        """
        >>> Flow((5, 1), (3, 0)).plus(Flow((1, 1), (1, 0), (0, 2)))
        Flow(seen=(6, 2), taken=(4, 0), lost=(0, 2))
        """
        both = zip(self, other, strict=True)
        return Flow(*((a[0] + b[0], a[1] + b[1]) for a, b in both))


class Captured(NamedTuple):
    """One frame: where and when, what became of its packet, and its bytes."""

    at_ns: int  # monotonic
    packet: int
    role: str
    incoming: bool
    length: int  # on the wire; `frame` may be cut
    inner: int  # where the frame inside the tunnel begins; 0: no tunnel
    verdict: str
    reason: str  # "": not dropped
    stage: str  # the last it met
    session: int | None
    nat_id: int
    fw_id: int
    made: bool
    answer: bool
    new: bool
    worker: int
    lost: int  # frames of its worker that were lost just before it
    frame: bytes


def split(data: bytes) -> Iterator[Captured]:
    """The frames of one read, in the order of their workers."""
    layout, at = pack.layout("captured"), 0
    roles, verdicts = border.words("pcgdp_role"), border.words("pcgdp_verdict")
    reasons, stages = border.reason_names(), border.stage_names()
    lib = border.lib()
    while at < len(data):
        c = layout.record._make(layout.codec.unpack_from(data, at))
        at += layout.codec.size
        yield Captured(
            at_ns=c.at_ns,
            packet=c.packet,
            role=roles[c.role].lower(),
            incoming=c.direction == RX,
            length=c.length,
            inner=c.inner,
            verdict=verdicts[c.verdict].lower(),
            reason=reasons[c.reason] if c.verdict == lib.PCGDP_DROPPED else "",
            stage=stages[c.stage],
            session=None if c.session == NONE else c.session,
            nat_id=c.nat_id,
            fw_id=c.fw_id,
            made=bool(c.flags & lib.PCGDP_CAPTURE_MADE),
            answer=bool(c.flags & lib.PCGDP_CAPTURE_ANSWER),
            new=bool(c.flags & lib.PCGDP_CAPTURE_NEW),
            worker=c.worker,
            lost=c.lost,
            frame=data[at : at + c.captured],
        )
        at += -(-c.captured // 8) * 8
