"""A Geneve header read by RFC 8926 alone: the slow twin of geneve.c."""

from typing import NamedTuple

OURS = (0x0104, 0x80)
OUR_DATA_LEN = 4
ETHERNET = 0x6558


class Tunnel(NamedTuple):
    """What stands in front of the inner frame, or the reason why nothing may follow."""

    reason: str | None
    vni: int = 0
    inner_at: int = 0


def _options(data: bytes) -> str | None:
    """Section 3.5: the lengths add up; a critical option that we do not know drops the packet."""
    while data:
        if len(data) < 4:
            return "GENEVE_OPTION_BAD"
        kind = int.from_bytes(data[:2]), data[2]
        length = 4 * (data[3] & 0x1F)
        if len(data) < 4 + length or (kind == OURS and length != OUR_DATA_LEN):
            return "GENEVE_OPTION_BAD"
        if kind != OURS and kind[1] & 0x80:
            return "GENEVE_CRITICAL"
        data = data[4 + length :]
    return None


def read(data: bytes, vnis: frozenset[int] | set[int]) -> Tunnel:
    """`data` begins at the Geneve header and comes from a known TEP."""
    if len(data) < 8:
        return Tunnel("GENEVE_SHORT")
    if data[0] >> 6:
        return Tunnel("GENEVE_VERSION")
    at = 8 + 4 * (data[0] & 0x3F)
    if len(data) < at:
        return Tunnel("GENEVE_SHORT")
    if data[1] & 0x80:
        return Tunnel("GENEVE_CONTROL")
    if int.from_bytes(data[2:4]) != ETHERNET:
        return Tunnel("GENEVE_PROTO")
    if bad := _options(data[8:at]):
        return Tunnel(bad)
    vni = int.from_bytes(data[4:7])
    return Tunnel(None, vni, at) if vni in vnis else Tunnel("VNI_UNKNOWN")
