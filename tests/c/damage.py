"""Frames with one thing wrong: a byte, a length, an end too early; the checksums of the headers
before it made right again or not.
"""

from pcg.model.sizes import FRAME_MAX
from tests.c.worlds import Picks
from tests.oracle.checksum import checksum, pseudo

IP_AT = {"uplink": 14, "downlink": 72}  # of the packet to be forwarded
OUTER = 14
HEADERS = {"uplink": 14 + 60, "downlink": 72 + 60}
# Where a tunnel frame's headers say what they are, how long, and to whom.
FIELDS = [0, 12, 14, 17, 20, 23, 30, 36, 39, 40, 42, 43, 44, 48, 51, 52, 53, 58, 71, 72, 75, 78, 80]
FIELDS += [81, 82, 88, 97, 104]
ARP = b"\x08\x06"  # it is not damage, and no twin knows it


def with_sum(frame: bytes, at: int) -> bytes:
    """The IPv4 header at `at`, as long as it says."""
    end = at + max(5, frame[at] & 15) * 4 if at < len(frame) else at
    if end > len(frame) or end == at:
        return frame
    head = frame[at : at + 10] + bytes(2) + frame[at + 12 : end]
    return frame[: at + 10] + checksum(head).to_bytes(2) + frame[at + 12 :]


def with_outer_sum(frame: bytes) -> bytes:
    at = OUTER + 20
    udp = frame[at : at + 6] + bytes(2) + frame[at + 8 :]
    start = pseudo(frame[OUTER + 12 : OUTER + 16], frame[OUTER + 16 : OUTER + 20], 17, len(udp))
    return frame[: at + 6] + (checksum(udp, start) or 0xFFFF).to_bytes(2) + frame[at + 8 :]


class Damage:
    def __init__(self, p: Picks) -> None:
        self.how = p.of(["byte"] * 8 + ["cut", "cut inside", "longer", "longer inside"])
        self.at, self.n = p.of([*FIELDS * 7, *range(1, 140, 3)]), p.of(range(1, 200))
        self.bits = p.of([1, 255, 2, 4, 8, 16, 32, 64, 128, 15, 240])
        self.header, self.outer = (
            p.of([True, True, True, False]),
            p.of(["none", "right", "as it was"]),
        )

    def of(self, role: str, frame: bytes) -> bytes:
        if self.how == "cut":
            return frame[: self.n % len(frame)]
        if self.how == "longer":
            return (frame + bytes(self.n))[:FRAME_MAX]  # no port hands over a longer one
        if self.how == "byte":
            at = self.at % min(len(frame), HEADERS[role])
            frame = frame[:at] + bytes([frame[at] ^ self.bits]) + frame[at + 1 :]
        elif role == "downlink":
            frame = self.other_end(frame)
        if ARP in (frame[12:14], role == "downlink" and frame[70:72]):
            return b""
        return self.mended(role, frame)

    def other_end(self, frame: bytes) -> bytes:
        """The tunnel packet ends elsewhere than what is in it."""
        n = self.n % max(1, len(frame) - 60)
        frame = frame[:-n] if self.how == "cut inside" and n else (frame + bytes(n))[:FRAME_MAX]
        length = len(frame) - OUTER
        frame = frame[: OUTER + 2] + length.to_bytes(2) + frame[OUTER + 4 :]
        return frame[: OUTER + 24] + (length - 20).to_bytes(2) + frame[OUTER + 26 :]

    def mended(self, role: str, frame: bytes) -> bytes:
        if not self.header:
            return frame
        frame = with_sum(frame, IP_AT[role])
        if role == "uplink" or len(frame) < OUTER + 28:
            return frame
        if self.outer == "none":
            frame = frame[: OUTER + 26] + bytes(2) + frame[OUTER + 28 :]
        elif self.outer == "right":
            frame = with_outer_sum(frame)
        return with_sum(frame, OUTER)
