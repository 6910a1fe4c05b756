"""Kernel settings of one interface, under /proc/sys/net of the calling thread's namespace."""

import errno
from pathlib import Path

from pcg.model.errors import BackendError

NOT_ALLOWED = (errno.EPERM, errno.EACCES, errno.EROFS)
CONF = Path("/proc/sys/net/ipv4/conf")

# Why each: what the kernel would do otherwise.
INTERFACE = {
    "forwarding": 0,  # route the workloads' packets past the datapath's policy
    "arp_ignore": 1,  # answer on one interface for the address of another
    "arp_announce": 2,  # ask with another interface's address, which the cloud drops
    "rp_filter": 2,  # drop what came in here because the main table points elsewhere
    "promote_secondaries": 1,  # remove all addresses of a subnet together with the first
    "accept_redirects": 0,  # let a neighbour move our routes
    "send_redirects": 0,
}


def ensure(interface: str, settings: dict[str, int] = INTERFACE) -> bool:
    """Write what differs. Returns whether anything did; BackendError when it cannot be written."""
    changed = False
    for name, value in settings.items():
        path = CONF / interface / name
        try:
            if path.read_text().strip() != str(value):
                path.write_text(str(value))
                changed = True
        except OSError as e:
            mend = "run as root, with /proc/sys writable" if e.errno in NOT_ALLOWED else ""
            raise BackendError(f"interface {interface}", f"{path}: {e.strerror}", mend) from None
    return changed
