"""Backend nft, and when it may follow: never ahead of the interfaces and of the datapath.

What nft keeps from the kernel must be answered by somebody. So the tables in force stay while an
interface that the desired state names is missing, or while the datapath is not as desired; only
what is no longer owned is given back to the kernel first. A host that has no tables of ours yet
gets its firewall at once, whatever else is missing.
"""

import logging
from collections.abc import Callable, Container

from pcg.drivers.nft import Nft
from pcg.model.errors import BackendError
from pcg.reconcile import host
from pcg.reconcile.host import Steering

log = logging.getLogger(__name__)


class Steerer:
    def __init__(self, nft: Nft) -> None:
        self.nft = nft
        self.waits = False  # for what follow() was told
        self._held: Steering | None = None  # that nft was last seen to hold, or given

    def first(self, new: Steering, interfaces: Callable[[], Container[str]]) -> None:
        """Before anything else: what is no longer owned; without tables of ours, all that can be.

        interfaces   names of those that there are
        """
        if self._held is None and not self.nft.exists():
            self._put(new._replace(ingress=_possible(new, interfaces())))
        elif self._held is not None and (less := host.common(self._held, new)) != self._held:
            self._put(less)

    def follow(self, new: Steering, obstacle: str, interfaces: Container[str]) -> None:
        """Hold `new`; with an obstacle, what was held. Raises BackendError: that is not `new`."""
        self.waits = False
        if self.nft.holds(new):
            self._held = new
            return
        want = self._held if obstacle else new
        # A table that lost a hook with its interface is left alone until that one is back.
        if want and _possible(want, interfaces):
            if want == new or not self.nft.holds(want):
                self._replace(want)
            if want == new:
                return
        self.waits = True
        raise BackendError("nftables", f"our tables stay as they were: {obstacle}")

    def _replace(self, steering: Steering) -> None:
        if steering == self._held:
            log.warning("nft: our tables were changed by somebody; replacing them")
        self._put(steering)

    def _put(self, steering: Steering) -> None:
        self.nft.apply(steering)
        self._held = steering


def _possible(steering: Steering, interfaces: Container[str]) -> bool:
    """Whether every hook on ingress has its interface."""
    hooks = (steering.uplink, steering.downlink) if steering.ingress else ()
    return all(name in interfaces for name in hooks)
