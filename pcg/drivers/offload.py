"""Offloads of an interface, by ethtool's ioctl.

The datapath takes frames as they are on the wire. What merges them (GRO, LRO), hands them over
unsplit (TSO, GSO) or with an unfinished checksum (a veth's "offload" is to leave that to nobody)
must be off on an interface it takes.
"""

from pcg.drivers.ethtool import FEATURES, tool
from pcg.model.errors import BackendError

MERGE_OR_SPLIT = ("gro", "lro", "segmentation", "gso")
HARMLESS = ("tx-gso-robust", "tx-gso-partial")  # say how segmenting is done, not that it is
CHECKSUM = "tx-checksum-"


def unwanted(feature: str, veth: bool) -> bool:
    """
    >>> unwanted("rx-gro", False), unwanted("tx-checksum-ip-generic", False)
    (True, False)
    """
    if feature in HARMLESS:
        return False
    parts = feature.split("-")
    return any(p in MERGE_OR_SPLIT for p in parts) or (veth and feature.startswith(CHECKSUM))


def active_offloads(interface: str, veth: bool) -> list[str]:
    """Names of those that are on and should not be."""
    with tool(interface) as it:
        names = it.names(FEATURES)
        _, active = it.features(len(names))
        return [n for i, n in enumerate(names) if active >> i & 1 and unwanted(n, veth)]


def switch_off(interface: str, veth: bool) -> bool:
    """Switch off and verify. Returns whether anything was on; BackendError when it stays on."""
    with tool(interface) as it:
        names = it.names(FEATURES)
        changeable, active = it.features(len(names))
        bits = sum(1 << i for i, name in enumerate(names) if unwanted(name, veth))
        if not active & bits:
            return False
        it.switch_off(active & bits & changeable, len(names))
        _, active = it.features(len(names))
        left = [n for i, n in enumerate(names) if (active & bits) >> i & 1]
    if left:
        why = f"offloads that merge or split frames stay on: {', '.join(left)}"
        raise BackendError(f"interface {interface}", why, "use another driver or interface")
    return True
